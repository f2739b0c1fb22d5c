"""What the words in shared memory say of records after whoever wrote them is gone.

Rings hold market data and bookkeeping (PAD, GAP, STATUS and REPAIR records, and the further records of a group, which
is one event); only the former is what anybody misses.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from openbell.core import ring, snapshot
from openbell.core.snapshot import SnapshotReader
from openbell.memory.names import ring_name
from openbell.memory.segment import Kind
from openbell.record import RECORD_SIZE, Flag
from openbell.record import Kind as RecordKind

if TYPE_CHECKING:
    from openbell.memory.generation import Generation

_BOOKKEEPING = (RecordKind.PAD, RecordKind.GAP, RecordKind.STATUS, RecordKind.REPAIR)
_GROUPS = (RecordKind.LEVEL, RecordKind.TRADES)
_KIND_AT, _FLAGS_AT = 4, 6
_TRADES = [name for name, _ in snapshot.COLUMNS].index("trades")
_GAPS = [name for name, _ in snapshot.COLUMNS].index("extra")


def feed_rows(reader: SnapshotReader) -> tuple[int, int]:
    """Return how many applied records were bookkeeping, and how many gaps they told."""
    rows = array("q", (snapshot.feed_row(reader.data_rows, worker) for worker in range(reader.workers)))
    width = len(rows)
    copy = array("Q", bytes(8 * len(reader.columns) * width))
    reader.copy_rows(rows, copy)
    nobodys = sum(copy[_TRADES * width : (_TRADES + 1) * width])
    return nobodys + reader.extra(), sum(copy[_GAPS * width : (_GAPS + 1) * width])


def unapplied(generation: Generation) -> int:
    """Return how many market-data records are published and not applied: exactly, once nobody writes or applies."""
    return sum(waiting - bookkeeping for _, waiting, bookkeeping in _rings(generation))


def unpublished(generation: Generation) -> int:
    """Return how many market-data records the receivers counted as published, and no ring was ever shown.

    They are in the side queues, or behind the heads of the rings, of receivers that live; what those of a killed one
    held died with it. Exact as to the dead; of the living it counts what they are about to publish.
    """
    control = generation.open_control()
    reader = SnapshotReader(generation.open("snapshot", Kind.SNAPSHOT))
    applied = feed_rows(reader)
    while True:
        rings = _rings(generation)
        before, applied = applied, feed_rows(reader)
        if applied == before:
            break
        # A worker came upon bookkeeping meanwhile, which must count in the rings or in its row, not in both.
    shown = sum(head - bookkeeping for head, _, bookkeeping in rings) - applied[0]
    # Counted before it is shown, so read after.
    return sum(control.receiver_counters(index).published for index in range(control.receivers)) - shown


def _rings(generation: Generation) -> list[tuple[int, int, int]]:
    """Return of each ring its head, how many records wait in it, and how many of those are bookkeeping."""
    control = generation.open_control()
    found = []
    for receiver in range(control.receivers):
        for worker in range(control.workers):
            body = generation.open(ring_name(receiver, worker), Kind.RING)
            at = ring.positions(body)
            waiting = at["head"] - at["applied"]
            records, _ = ring.Tap(body, start=at["applied"]).read(max(2, waiting))
            kinds = records[_KIND_AT : waiting * RECORD_SIZE : RECORD_SIZE]
            flags = records[_FLAGS_AT : waiting * RECORD_SIZE : RECORD_SIZE]
            further = sum(kind in _GROUPS and not flag & Flag.FIRST for kind, flag in zip(kinds, flags, strict=True))
            found.append((at["head"], waiting, sum(map(kinds.count, _BOOKKEEPING)) + further))
    return found

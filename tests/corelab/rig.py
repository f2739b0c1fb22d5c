"""A worker with its rings, snapshot, bells and counters, all in the memory of one process."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from corelab.memory import memory
from corelab.oracle import Copy
from corelab.records import Record
from openbell.core import bars as core_bars
from openbell.core import histogram, ring, snapshot, words
from openbell.core.apply import Applier
from openbell.core.ring import RingWriter
from openbell.core.snapshot import SnapshotReader
from openbell.core.symbols import SymbolTable

C_BATCHES, C_PARKS, C_RECOVERED, C_MAX_BATCH = range(4)
SECOND = 1_000_000_000

# Where the ring and the snapshot keep what tests must set by hand.
AT_CLAIM, AT_HEAD, AT_APPLIED, AT_RECORDS = 128, 256, 384, 1024
AT_UNDO, UNDO_BYTES = 256, 768
NO_UNDO = 2**64 - 1


class Rig:
    """One worker of a feed with `receivers` rings.

    Parameters
    ----------
    rows : int
        Data rows, a multiple of 64.
    capacity : int
        Records of each ring.
    table : SymbolTable, optional
        Says which rows the worker has to take to a new session.
    bars : int
        One-minute bars kept a row.
    """

    def __init__(
        self,
        *,
        rows: int = 64,
        capacity: int = 1024,
        receivers: int = 1,
        workers: int = 1,
        worker: int = 0,
        wait: str = "adaptive",
        start: int = 0,
        book_levels: int = 0,
        table: SymbolTable | None = None,
        bars: int = 0,
    ) -> None:
        self.rows = rows
        self.table = table
        self.worker = worker
        self.wait = wait
        self.feed_row = snapshot.feed_row(rows, worker)
        self.snapshot = memory(snapshot.size(rows, workers, book_levels))
        snapshot.format(self.snapshot, rows, workers, book_levels)
        self.rings = [memory(ring.size(capacity)) for _ in range(receivers)]
        for ring_id, buffer in enumerate(self.rings):
            ring.format(buffer, capacity, ring_id, start)
        self.bell = memory(64)
        self.producer_bells = [memory(64) for _ in self.rings]
        self.counters = memory(512)
        self.histogram = memory(histogram.size())
        self.clock_offset = memory(64)
        self.bars = memory(core_bars.size(rows, bars)) if bars else None
        if self.bars is not None:
            core_bars.format(self.bars, rows, bars)
        self.writers = [
            RingWriter(buffer, self.bell, own) for buffer, own in zip(self.rings, self.producer_bells, strict=True)
        ]
        for writer in self.writers:
            writer.recover()
        self.reader = SnapshotReader(self.snapshot)
        self.applier = self.restarted()

    def restarted(self) -> Applier:
        """Return the applier of a worker that took over from the present one."""
        return Applier(
            self.snapshot,
            self.worker,
            self.rings,
            self.bell,
            self.producer_bells,
            self.counters,
            self.histogram,
            self.clock_offset,
            self.wait,
            self.table,
            bars=self.bars,
        )

    def publish(self, records: Iterable[Record], receiver: int = 0) -> None:
        """Put records into a ring and show them; they must fit."""
        writer = self.writers[receiver]
        for record in records:
            assert writer.append(record.pack()), "the ring is full"
        writer.publish()

    def feed(self, records: Iterable[Record], receiver: int = 0) -> None:
        """Publish records and have them applied, as many at a time as there is room for."""
        writer = self.writers[receiver]
        for record in records:
            if not writer.append(record.pack()):
                writer.publish()
                self.apply()
                assert writer.append(record.pack())
        writer.publish()
        self.apply()

    def apply(self) -> int:
        """Apply everything that is published."""
        applied = 0
        while self.applier.backlog():
            applied += self.applier.run(200_000)
        return applied

    def copy(self) -> Copy:
        """Return a consistent copy of all rows."""
        return Copy.all(self.reader)

    def applied(self, receiver: int = 0) -> int:
        """Return how far the worker has come in a ring."""
        return ring.positions(self.rings[receiver])["applied"]

    def counter(self, index: int) -> int:
        """Return a counter of the worker."""
        return words.load(self.counters, index * 8)

    # ---- by hand, what a crash leaves ----

    def cell(self, column: str, row: int) -> int:
        """Return the offset of a value in the snapshot."""
        return self.reader.column_offset(column) + row * 8

    def arm_undo(self, row: int, images: dict[str, bytes], word: int) -> None:
        """Write an undo area as a worker does in the steps before it touches the row."""
        names = [name for name, _ in snapshot.COLUMNS]
        base = AT_UNDO + self.worker * UNDO_BYTES
        mask = 0
        for name, image in images.items():
            index = names.index(name)
            mask |= 1 << (index - 1)
            at = base + 24 + index * 8
            self.snapshot[at : at + 8] = image
        self.snapshot[base + 8 : base + 24] = struct.pack("<QQ", row, mask)
        words.store(self.snapshot, base, word)

    def undo_word(self) -> int:
        """Return ring and position of the record last begun, or NO_UNDO."""
        return words.load(self.snapshot, AT_UNDO + self.worker * UNDO_BYTES)

    def put(self, column: str, row: int, value: float) -> None:
        """Store one value of the snapshot, past all versions."""
        kind = dict(snapshot.COLUMNS)[column]
        at = self.cell(column, row)
        self.snapshot[at : at + 8] = struct.pack("<d" if kind == "f8" else "<q", value)

    def image(self, column: str, row: int) -> bytes:
        """Return the bits of one value of the snapshot."""
        at = self.cell(column, row)
        found: bytes = self.snapshot[at : at + 8]
        return found

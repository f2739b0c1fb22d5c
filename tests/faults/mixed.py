"""A load of every kind of record, a function of its numbers, for a worker with two rings; and what must come of it."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from corelab.oracle import Oracle
from corelab.records import GAP, LEVEL, PAD, REPAIR, ROW_NONE, STATUS, TICKER, TRADES, Record, quote, trade

from openbell.record import MarketStatus

FIRST, LAST = 16, 32
EPOCH_NS = 1_763_688_600_000_000_000
EVERY = 40
"""So many units from one session to the next."""
KINDS = ("trade", "quote", "book", "merged", "ticker", "gap", "halt", "repair", "feed", "session")


class Unit(NamedTuple):
    """What is applied at once: a record, or a group."""

    receiver: int
    kind: str
    records: list[Record]

    def pack(self) -> bytes:
        """Return the records as bytes."""
        return b"".join(record.pack() for record in self.records)


def _marks(number: int, depth: int) -> int:
    return (FIRST if number == 0 else 0) | (LAST if number == depth - 1 else 0)


def _book(row: int, number: int) -> list[Record]:
    depth = 1 + number % 4
    found = []
    for level in range(depth):
        present = 15 if (number + level) % 5 else 3
        values = (100.0 + number - level, number + level + 1.0, 200.0 + number + level, number + 2.0 * level + 1)
        found.append(Record(row, LEVEL, level + 1, present | _marks(level, depth), 7 * number, 0, number, *values))
    return found


def time_of(number: int) -> int:
    """Return the venue's time of unit `number`: nine seconds from one to the next, and now and then one is late, by
    minutes that have a bar, or by hours."""
    mixed = number * 2654435761 % 2**32 // 77
    behind = (0, 0, 0, 0, 0, 0, 0, 40, 70, 130, 400, 9000)[mixed % 12]
    return EPOCH_NS + (9 * number - behind) * 10**9


def _merged(row: int, number: int) -> list[Record]:
    count = np.int64(number % 5).view(np.float64).item()
    time = time_of(number)
    head = Record(row, TRADES, 0, 15 | FIRST, time, 0, number, 10 + number % 9, number % 4, 9 + number % 7, count)
    high, low, volume, turnover = 20.0 + number % 3, 5.0 + number % 3, float(number % 11), float(number % 13)
    return [head, Record(row, TRADES, 0, 15 | LAST, time, 0, number, high, low, volume, turnover)]


def status(session: int, market: int, row: int = ROW_NONE) -> Record:
    """Return a status of the whole market, or of one row."""
    return Record(row, STATUS, 0, 3, a=session, b=market)


def unit(number: int, rows: list[int], kinds: tuple[str, ...] = KINDS[:-1]) -> Unit:
    """Return unit `number`; each row has a receiver of its own."""
    mixed = number * 2654435761 % 2**32
    kind = kinds[mixed // 7 % len(kinds)]
    index = mixed // 1009 % len(rows)
    row, receiver = rows[index], index % 2
    price, size = 10.0 + mixed % 50 / 4, float(mixed % 9)
    time = time_of(number)
    stamps = {"sequence": number, "exchange_ns": time}
    records: dict[str, list[Record]] = {
        "trade": [trade(row, price, size, None, **stamps)],
        "quote": [quote(row, price, size, None if mixed % 3 else price + 1, None, **stamps)],
        "book": _book(row, number),
        "merged": _merged(row, number),
        "ticker": [Record(row, TICKER, 0, 15 if mixed % 2 else 5, time, 0, number, price, 9.0, size, 77.0)],
        # Told for the first time, or a part of what was told before.
        "gap": [Record(row, GAP, mixed // 3 % 2)],
        "halt": [status(0, MarketStatus.HALTED, row)],
        # Newer than what the row has, or not: a repair has no ring of its own.
        "repair": [Record(row, REPAIR, 0, 131, time - mixed % 2 * 10**15, number, number, price, size)],
        "feed": [Record(ROW_NONE, (PAD, GAP)[number % 2], number % 4 // 2)],
    }
    return Unit(receiver, kind, records[kind])


def session(number: int) -> list[Unit]:
    """Return what two receivers tell of the change `number` of the market: each the same, the second one late."""
    record = status(20260105 + number // 2, MarketStatus.OPEN if number % 2 else MarketStatus.PRE_OPEN)
    return [Unit(0, "session", [record]), Unit(1, "session", [record])]


def expected(
    units: list[Unit],
    data_rows: int,
    feed_row: int,
    owned: list[int],
    levels: int,
    bars: int = 0,
    applied: tuple[int, int] | None = None,
) -> Oracle:
    """Return the model to which `units` were applied, each ring's in its order; up to the positions `applied` only."""
    model = Oracle(data_rows, feed_row, levels, owned, bars)
    positions = [0, 0]
    for one in units:
        if applied is not None and positions[one.receiver] >= applied[one.receiver]:
            continue
        model.apply_all(one.records, positions[one.receiver])
        positions[one.receiver] += len(one.records)
    return model


def named(word: int) -> tuple[int, int]:
    """Return ring and position of the record that an undo word names."""
    return word >> 56 & 0x7F, word & (1 << 56) - 1


def undo_word(snapshot: bytes, worker: int) -> int:
    """Return the undo word of a worker."""
    found: int = struct.unpack_from("<Q", snapshot, 256 + 768 * worker)[0]
    return found

"""Records as Python values: packed and unpacked here by ``struct``, apart from numpy and from the compiled core."""

from __future__ import annotations

import struct
from typing import NamedTuple

PAD, TRADE, QUOTE, TICKER, LEVEL, BAR, STATUS, GAP, TRADES, REPAIR = range(10)
HAS_A, HAS_B, HAS_C, HAS_D = 1, 2, 4, 8
ROW_NONE = 0xFFFFFFFF
SIZE = 64

_FLOATS = struct.Struct("<IBBHqqqdddd")
_WHOLES = struct.Struct("<IBBHqqqqqqq")


class Record(NamedTuple):
    """One record; `a` to `d` are ints for GAP and STATUS, floats otherwise."""

    row: int
    kind: int
    side: int = 0
    flags: int = 0
    exchange_ns: int = 0
    receive_ns: int = 0
    sequence: int = 0
    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0

    def pack(self) -> bytes:
        """Return the 64 bytes."""
        if self.kind in (GAP, STATUS):
            return _WHOLES.pack(*self[:7], *(int(value) for value in self[7:]))
        return _FLOATS.pack(*self)

    def value(self, index: int) -> float | None:
        """Return a, b, c or d (0 to 3), or None where its flag says that it is absent."""
        values = (self.a, self.b, self.c, self.d)
        return values[index] if self.flags & (1 << index) else None


def unpack(data: bytes) -> list[Record]:
    """Return the records in `data`."""
    assert len(data) % SIZE == 0
    found = []
    for at in range(0, len(data), SIZE):
        kind = data[at + 4]
        found.append(Record(*(_WHOLES if kind in (GAP, STATUS) else _FLOATS).unpack_from(data, at)))
    return found


def trade(
    row: int, price: float, size: float | None = None, turnover: float | None = None, sequence: int = 0, **more: int
) -> Record:
    """Return a TRADE; None: absent."""
    flags = HAS_A | (HAS_B if size is not None else 0) | (HAS_C if turnover is not None else 0)
    return Record(row, TRADE, flags=flags, sequence=sequence, a=price, b=size or 0.0, c=turnover or 0.0, **more)


def quote(
    row: int,
    bid: float | None = None,
    bid_size: float | None = None,
    ask: float | None = None,
    ask_size: float | None = None,
    sequence: int = 0,
    **more: int,
) -> Record:
    """Return a QUOTE; None: absent."""
    values = (bid, bid_size, ask, ask_size)
    flags = sum(1 << index for index, value in enumerate(values) if value is not None)
    # What is absent holds a value that would show if it were used.
    a, b, c, d = (-7.0 if value is None else value for value in values)
    return Record(row, QUOTE, flags=flags, sequence=sequence, a=a, b=b, c=c, d=d, **more)

"""What the snapshot must hold after a sequence of records, in plain Python, written from the documented semantics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from corelab.records import GAP, LEVEL, QUOTE, STATUS, TICKER, TRADE, Record
from openbell.core import snapshot

NAN = math.nan
SUMS = ("volume", "turnover")


@dataclass
class Row:
    """One row, column by column."""

    version: int = 0
    last: float = NAN
    size: float = 0.0
    open: float = NAN
    high: float = NAN
    low: float = NAN
    prev_close: float = NAN
    volume: float = 0.0
    turnover: float = 0.0
    trades: int = 0
    trade_exchange_ns: int = 0
    trade_sequence: int = 0
    bid: float = NAN
    bid_size: float = 0.0
    ask: float = NAN
    ask_size: float = 0.0
    quote_exchange_ns: int = 0
    quote_sequence: int = 0
    receive_ns: int = 0
    updated: int = 0
    session: int = 0
    gaps: int = 0
    status: int = 0
    extra: int = 0

    def trade(self, record: Record) -> None:
        """Last and session figures; no size counts as 0, no turnover as price times size."""
        price = record.a
        size = record.value(1) or 0.0
        turnover = record.value(2)
        self.last, self.size = price, size
        self.open = price if math.isnan(self.open) else self.open
        self.high = price if math.isnan(self.high) else max(self.high, price)
        self.low = price if math.isnan(self.low) else min(self.low, price)
        self.volume += size
        self.turnover += price * size if turnover is None else turnover
        self.trades += 1
        self.trade_exchange_ns, self.trade_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns

    def quote(self, record: Record) -> None:
        """Take what is present; what is absent stays as it was."""
        for index, name in enumerate(("bid", "bid_size", "ask", "ask_size")):
            value = record.value(index)
            if value is not None:
                setattr(self, name, value)
        self.quote_exchange_ns, self.quote_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns

    def ticker(self, record: Record) -> None:
        """The vendor's own figures: assigned, never added up."""
        self.last = record.a
        self.open = record.a if math.isnan(self.open) else self.open
        self.high = record.a if math.isnan(self.high) else max(self.high, record.a)
        self.low = record.a if math.isnan(self.low) else min(self.low, record.a)
        for index, name in ((1, "prev_close"), (2, "volume"), (3, "turnover")):
            value = record.value(index)
            if value is not None:
                setattr(self, name, value)
        self.trade_exchange_ns, self.trade_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns

    def book(self, record: Record) -> None:
        """A whole book of one level: what is absent is not there."""
        for index, name in enumerate(("bid", "bid_size", "ask", "ask_size")):
            value = record.value(index)
            setattr(self, name, (0.0 if "size" in name else NAN) if value is None else value)
        self.quote_exchange_ns, self.quote_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns

    def told(self, record: Record) -> None:
        """A gap or a status of this symbol alone."""
        self.extra += 1
        if record.kind == GAP:
            self.gaps += 1
        elif record.value(1) is not None:
            self.status = int(record.b)

    def other(self, record: Record) -> None:
        """Count what concerns no symbol."""
        self.trades += 1
        self.gaps += record.kind == GAP and not record.side
        self.extra += record.kind == GAP
        self.receive_ns = record.receive_ns or self.receive_ns


@dataclass
class Oracle:
    """The snapshot of one worker."""

    rows: int
    feed_row: int
    touched: dict[int, Row] = field(default_factory=dict)

    def apply(self, record: Record, position: int) -> None:
        """Apply the record at a ring position."""
        kinds = {
            TRADE: Row.trade,
            QUOTE: Row.quote,
            TICKER: Row.ticker,
            LEVEL: Row.book,
            GAP: Row.told,
            STATUS: Row.told,
        }
        known = record.row < self.rows and record.kind in kinds
        row = self.touched.setdefault(record.row if known else self.feed_row, Row())
        if not known:
            row.other(record)
        else:
            kinds[record.kind](row, record)
        row.updated = position + 1
        row.version += 2

    def apply_all(self, records: Iterable[Record], start: int = 0) -> None:
        """Apply records that follow one another in a ring from position `start`."""
        for offset, record in enumerate(records):
            self.apply(record, start + offset)

    def check(self, copy: Copy) -> None:
        """Compare every column of every row: sums to 1e-9, everything else to the bit."""
        empty = Row()
        for column in fields(Row):
            expected = [getattr(self.touched.get(row, empty), column.name) for row in range(copy.rows)]
            found = copy[column.name]
            if column.name in SUMS:
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0, err_msg=column.name)
            else:
                np.testing.assert_array_equal(found, np.array(expected, found.dtype), err_msg=column.name)


class Copy:
    """A consistent copy of rows, by column."""

    def __init__(self, bits: NDArray[np.uint64], undone: int) -> None:
        self._bits = bits
        self.rows = bits.shape[1]
        self.undone = undone

    def __getitem__(self, name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        for index, (known, kind) in enumerate(snapshot.COLUMNS):
            if known == name:
                found: NDArray[np.float64] | NDArray[np.int64] = self._bits[index].view(f"<{kind}")
                return found
        raise KeyError(name)

    def tobytes(self) -> bytes:
        """Return all bits."""
        return self._bits.tobytes()

    @classmethod
    def all(cls, reader: snapshot.SnapshotReader) -> Copy:
        """Copy every row by blocks."""
        bits = np.empty((len(snapshot.COLUMNS), reader.rows), np.uint64)
        return cls(bits, reader.copy_all(bits))

    @classmethod
    def of(cls, reader: snapshot.SnapshotReader, rows: Iterable[int]) -> Copy:
        """Copy some rows, one by one."""
        wanted = np.array(list(rows), np.intp)
        bits = np.empty((len(snapshot.COLUMNS), len(wanted)), np.uint64)
        return cls(bits, reader.copy_rows(wanted, bits))

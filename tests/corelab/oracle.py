"""What the snapshot must hold after a sequence of records, in plain Python, written from the documented semantics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelab.minutes import Minutes
from corelab.records import GAP, LEVEL, QUOTE, REPAIR, ROW_NONE, STATUS, TICKER, TRADE, TRADES, Record
from openbell.core import snapshot

NAN = math.nan
SUMS = ("volume", "turnover")
GROUP_MAX = 16
BOOK_PARTS = ("bid", "bid_size", "ask", "ask_size")


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
    repaired: int = 0
    levels: dict[str, list[float]] = field(default_factory=dict)

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

    def merged(self, group: list[Record]) -> None:
        """Take trades merged into one group, and the prices of tickers with them."""
        record, more = group
        self.last = record.a
        self.size = record.b if record.value(1) is not None else self.size
        unopened = math.isnan(self.open)
        self.open = record.c if unopened else self.open
        self.high = more.a if unopened else max(self.high, more.a)
        self.low = more.b if unopened else min(self.low, more.b)
        self.volume += more.c
        self.turnover += more.d
        self.trades += int.from_bytes(record.pack()[56:], "little")
        self.trade_exchange_ns, self.trade_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns
        self.extra += 1

    def book(self, group: list[Record]) -> None:
        """A whole book, best level first: what is absent is not there."""
        record = group[0]
        for index, name in enumerate(BOOK_PARTS):
            values = [level.value(index) for level in group]
            self.levels[name] = [(0.0 if "size" in name else NAN) if value is None else value for value in values]
            setattr(self, name, self.levels[name][0])
        self.quote_exchange_ns, self.quote_sequence = record.exchange_ns, record.sequence
        self.receive_ns = record.receive_ns
        self.extra += len(group) - 1

    def market(self, session: int | None, status: int | None, told: tuple[int, int]) -> bool:
        """A status of the whole market; return whether it changed the row."""
        before = (self.session, self.status)
        if session is not None and session > max(self.session, told[0]):
            self.prev_close = self.last
            self.open = self.high = self.low = NAN
            self.size = self.volume = self.turnover = 0.0
            self.trades = 0
            self.session = session
        elif session is not None and not self.session:
            self.session = max(session, told[0])
        late = session is not None and session < told[0]
        news = (session or 0) > told[0] or status != told[1]
        if status is not None and not late and (news or not self.status):
            self.status = status
        return before != (self.session, self.status)

    def told(self, record: Record) -> None:
        """A gap or a status of this symbol alone."""
        self.extra += 1
        if record.kind == GAP:
            self.gaps += not record.side
        elif record.value(1) is not None:
            self.status = int(record.b)

    def repair(self, record: Record) -> None:
        """The vendor's latest trade, asked for: only where it is newer, and in no sum."""
        self.extra += 1
        if record.exchange_ns > self.trade_exchange_ns:
            self.last, self.size = record.a, record.value(1) or 0.0
            self.trade_exchange_ns, self.trade_sequence = record.exchange_ns, record.sequence
            self.repaired = record.receive_ns

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
    levels: int = 0
    owned: Iterable[int] = ()
    bars: int = 0
    touched: dict[int, Row] = field(default_factory=dict)
    minutes: dict[int, Minutes] = field(default_factory=dict)

    def apply(self, group: list[Record], position: int) -> None:
        """Apply the record, or the whole group, that begins at a ring position."""
        record = group[0]
        kinds = {TRADE: Row.trade, QUOTE: Row.quote, TICKER: Row.ticker, REPAIR: Row.repair}
        kinds |= {GAP: Row.told, STATUS: Row.told}
        groups = {LEVEL: Row.book, TRADES: Row.merged}
        known = record.row < self.rows and record.kind in {**kinds, **groups}
        if not known and record.kind == STATUS:
            self._market(record)
        row = self.touched.setdefault(record.row if known else self.feed_row, Row())
        if known and self.bars:
            self._bar(group, row)
        if not known:
            row.other(record)
        elif record.kind in kinds:
            kinds[record.kind](row, record)
        elif not whole(group):
            row.extra += 1
        else:
            groups[record.kind](row, group)
        row.updated = position + len(group)
        row.version += 2

    def _bar(self, group: list[Record], row: Row) -> None:
        """Take a record of trades into the bars of its row, which has not seen it yet."""
        record = group[0]
        minutes = self.minutes.setdefault(record.row, Minutes())
        if record.kind == TRADE:
            minutes.trade(self.bars, record)
        elif record.kind == TRADES and whole(group):
            minutes.merged(self.bars, group)
        elif record.kind == TICKER:
            minutes.ticker(self.bars, record, row.last, row.volume, row.turnover, row.session)

    def _market(self, record: Record) -> None:
        session = None if record.value(0) is None else int(record.a)
        status = None if record.value(1) is None else int(record.b)
        feed = self.touched.setdefault(self.feed_row, Row())
        told = (feed.session, feed.status)
        for number in self.owned:
            row = self.touched.setdefault(number, Row())
            row.version += 2 * row.market(session, status, told)
        if session is None or session >= told[0]:
            feed.session = told[0] if session is None else session
            feed.status = told[1] if status is None else status

    def apply_all(self, records: Iterable[Record], start: int = 0) -> None:
        """Apply records that follow one another in a ring from position `start`."""
        given = list(records)
        at = 0
        while at < len(given):
            count = (
                next((n for n in range(1, GROUP_MAX + 1) if whole(given[at : at + n])), 1) if _begins(given[at]) else 1
            )
            self.apply(given[at : at + count], start + at)
            at += count

    def check(self, copy: Copy) -> None:
        """Compare every column of every row: sums to 1e-9, everything else to the bit."""
        empty = Row()
        columns = [column.name for column in fields(Row) if column.name != "levels"]
        for name in columns:
            expected = [getattr(self.touched.get(row, empty), name) for row in range(copy.rows)]
            self._compare(name, copy[name], expected)
        for part, level in itertools.product(BOOK_PARTS, range(self.levels)):
            absent = 0.0 if "size" in part else NAN
            books = [self.touched.get(row, empty).levels.get(part, []) for row in range(copy.rows)]
            expected = [book[level] if level < len(book) else absent for book in books]
            self._compare(f"book_{part}_{level + 1}", copy[f"book_{part}_{level + 1}"], expected)

    def _compare(self, name: str, found: NDArray[Any], expected: list[Any]) -> None:
        if name in SUMS:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(found, np.array(expected, found.dtype), err_msg=name)


def _begins(record: Record) -> bool:
    return record.kind in (LEVEL, TRADES) and bool(record.flags & 16)


def whole(group: list[Record]) -> bool:
    """Return whether `group` is one: records of one row and kind, the first marked FIRST, the last one alone LAST."""
    first = group[0]
    alike = all((record.row, record.kind) == (first.row, first.kind) for record in group)
    marks = [record.flags & (16 + 32) for record in group]
    right = [16 + 32] if len(group) == 1 else [16, *[0] * (len(group) - 2), 32]
    fits = first.kind == LEVEL or (first.kind == TRADES and len(group) == 2)
    return alike and fits and first.row != ROW_NONE and marks == right


class Copy:
    """A consistent copy of rows, by column."""

    def __init__(
        self, bits: NDArray[np.uint64], undone: int, columns: tuple[tuple[str, str], ...] = snapshot.COLUMNS
    ) -> None:
        self._bits = bits
        self._columns = columns
        self.rows = bits.shape[1]
        self.undone = undone

    def __getitem__(self, name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        for index, (known, kind) in enumerate(self._columns):
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
        bits = np.empty((len(reader.columns), reader.rows), np.uint64)
        return cls(bits, reader.copy_all(bits), reader.columns)

    @classmethod
    def of(cls, reader: snapshot.SnapshotReader, rows: Iterable[int]) -> Copy:
        """Copy some rows, one by one."""
        wanted = np.array(list(rows), np.intp)
        bits = np.empty((len(reader.columns), len(wanted)), np.uint64)
        return cls(bits, reader.copy_rows(wanted, bits), reader.columns)

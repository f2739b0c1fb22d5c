"""The oracle: the exact snapshot a correct handler must hold after what was sent.

It shares nothing with the handler it judges: made-up events are summed as integers (`openbell.simulator.tally`),
captured messages one by one as decimals. It is told only of what a transport accepted for at least one client.
"""

from __future__ import annotations

import decimal
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol, cast

import msgspec

from openbell.simulator.events import Book, Kind, Message, Quote, Ticker, Trade, nanoseconds
from openbell.simulator.options import MAX_LEVELS, SimulatorError

Row = dict[str, float | int]

EMPTY_ROW: Row = {
    "last": math.nan,
    "size": 0.0,
    "open": math.nan,
    "high": math.nan,
    "low": math.nan,
    "volume": 0.0,
    "turnover": 0.0,
    "trades": 0,
    "trade_exchange_ns": 0,
    "trade_sequence": 0,
    "bid": math.nan,
    "bid_size": 0.0,
    "ask": math.nan,
    "ask_size": 0.0,
    "quote_exchange_ns": 0,
    "quote_sequence": 0,
}
"""The columns the oracle states, with their values before anything arrived."""

# Sums must come out exact before they are rounded to a float once: 28 digits (the default) are not enough for a
# day's turnover with 16 decimals.
_EXACT = decimal.Context(prec=100, traps=[decimal.InvalidOperation])


@dataclass(slots=True)
class Counts:
    """Messages sent.

    Attributes
    ----------
    sent : int
        All of them: ``trades + quotes + books + tickers + ignored + other``.
    trades, quotes, books, tickers : int
        Those that change the snapshot.
    ignored : int
        Valid, but no price by rule: changes of order books, trades that are not market trades or have no positive
        price.
    other : int
        Anything else, as a REST answer in a capture.
    """

    sent: int = 0
    trades: int = 0
    quotes: int = 0
    books: int = 0
    tickers: int = 0
    ignored: int = 0
    other: int = 0


def book_columns(bids: Sequence[tuple[float, float]], asks: Sequence[tuple[float, float]], levels: int) -> Row:
    """Return the columns that a whole order book assigns.

    Parameters
    ----------
    bids, asks : sequence of (float, float)
        Price and size of each level, best first; NaN and 0 where there is none, as behind the last one.
    levels : int
        State so many levels a side, ``book_bid_1`` and so on; the best ones are ``bid`` and ``ask`` in any case.
    """
    row: Row = {}
    for name, side in (("bid", bids), ("ask", asks)):
        for level in range(max(levels, 1)):
            price, size = side[level] if level < len(side) else (math.nan, 0.0)
            if level == 0:
                row[name], row[f"{name}_size"] = price, size
            if levels:
                row[f"book_{name}_{level + 1}"], row[f"book_{name}_size_{level + 1}"] = price, size
    return row


class Oracle(Protocol):
    """What both oracles state."""

    counts: Counts

    def rows(self) -> dict[str, Row]:
        """Return a row for every symbol that anything was applied to; all other symbols must be empty."""
        ...


class MessageOracle:
    """Oracle of a capture: decimals, a message at a time."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._rows: dict[str, dict[str, Decimal | float | int]] = {}

    def apply(self, message: Message) -> None:
        """Apply one message that was sent."""
        counts, event = self.counts, message.event
        counts.sent += 1
        try:
            if isinstance(event, Trade):
                if event.is_market and self._trade(event):
                    counts.trades += 1
                else:
                    counts.ignored += 1
            elif isinstance(event, Quote) and self._quote(event):
                counts.quotes += 1
            elif isinstance(event, Book) and self._book(event):
                counts.books += 1
            elif isinstance(event, Ticker) and self._ticker(event):
                counts.tickers += 1
            elif message.kind is Kind.DEPTH:
                counts.ignored += 1
            else:
                counts.other += 1
        except (decimal.InvalidOperation, ValueError):
            # Not a number where one is due: a correct handler refuses the event and keeps the last good value.
            counts.other += 1

    def _trade(self, trade: Trade) -> bool:
        price, size = _EXACT.create_decimal(trade.price), _EXACT.create_decimal(trade.size or "0")
        if price.is_nan() or price <= 0:
            return False
        if not size >= 0:
            raise decimal.InvalidOperation(f"a size of {size}")
        exact_turnover = _EXACT.multiply(price, size)
        turnover = exact_turnover if trade.turnover is None else _EXACT.create_decimal(trade.turnover)
        row = self._rows.setdefault(trade.symbol, {})
        _see(row, price)
        row["size"] = size
        row["volume"] = _EXACT.add(cast(Decimal, row.get("volume", Decimal(0))), size)
        row["turnover"] = _EXACT.add(cast(Decimal, row.get("turnover", Decimal(0))), turnover)
        row["trades"] = row.get("trades", 0) + 1
        row["trade_exchange_ns"], row["trade_sequence"] = nanoseconds(trade.time), trade.sequence
        return True

    def _quote(self, quote: Quote) -> bool:
        # Nothing is summed here, and the float nearest to a decimal is what float() makes of its text.
        bid, bid_size, ask, ask_size = float(quote.bid), float(quote.bid_size), float(quote.ask), float(quote.ask_size)
        if not (0 < bid < math.inf and 0 < ask < math.inf and 0 <= bid_size < math.inf and 0 <= ask_size < math.inf):
            return False
        row = self._rows.setdefault(quote.symbol, {})
        row["bid"], row["bid_size"], row["ask"], row["ask_size"] = bid, bid_size, ask, ask_size
        row["quote_exchange_ns"], row["quote_sequence"] = nanoseconds(quote.time), quote.sequence
        return True

    def _book(self, book: Book) -> bool:
        bids, asks = ([(float(price), float(size or 0)) for price, size in side] for side in (book.bids, book.asks))
        if not all(0 < price < math.inf and 0 <= size < math.inf for price, size in (*bids, *asks)):
            return False
        row = self._rows.setdefault(book.symbol, {})
        row.update(book_columns(bids, asks, MAX_LEVELS))
        row["quote_exchange_ns"], row["quote_sequence"] = nanoseconds(book.time), book.sequence
        return True

    def _ticker(self, ticker: Ticker) -> bool:
        price, reference, volume, turnover = (
            _EXACT.create_decimal(text) for text in (ticker.price, ticker.reference, ticker.volume, ticker.turnover)
        )
        if not (price.is_finite() and reference.is_finite() and price > 0 and reference >= 0):
            return False
        if not (volume.is_finite() and turnover.is_finite()):
            return False
        row = self._rows.setdefault(ticker.symbol, {})
        _see(row, price)
        row["volume"], row["turnover"] = volume, turnover
        if reference:
            row["prev_close"] = reference
        row["trade_exchange_ns"], row["trade_sequence"] = nanoseconds(ticker.time), 0
        return True

    def rows(self) -> dict[str, Row]:
        """See `Oracle.rows`."""
        return {symbol: EMPTY_ROW | _numbers(row.items()) for symbol, row in self._rows.items()}


def _see(row: dict[str, Decimal | float | int], price: Decimal) -> None:
    """Let a price be the last one, and one of the day's."""
    row.setdefault("open", price)
    row["last"] = price
    row["high"], row["low"] = max(row.get("high", price), price), min(row.get("low", price), price)


def _numbers(values: Iterable[tuple[str, Decimal | float | int]]) -> Row:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in values}


def write_oracle(path: Path, vendor: str, oracle: Oracle) -> None:
    """Write what the oracle states as JSON ``{"vendor", "counts", "rows": {symbol: {column: value}}}``.

    NaN (nothing arrived) is written as null. The file is for the user alone (0600) and appears whole or not at all.

    Raises
    ------
    SimulatorError
        It cannot be written.
    """
    stated = {"vendor": vendor, "counts": oracle.counts, "rows": oracle.rows()}
    write_private(path, msgspec.json.encode(stated))


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that it appears whole or not at all; raise `SimulatorError` if that fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SimulatorError(f"{path}: cannot write it: {error.strerror or error}") from error

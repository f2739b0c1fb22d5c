"""The oracle of a made-up market: integers in numpy arrays, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openbell.simulator.books import BookBlock
from openbell.simulator.clock import Clock
from openbell.simulator.grid import Ints
from openbell.simulator.oracle import EMPTY_ROW, Counts, Row, book_columns
from openbell.simulator.tickers import TickerBlock
from openbell.simulator.trading import TradeBlock
from openbell.simulator.universe import Universe
from openbell.simulator.venue import Levels


class MarketOracle:
    """States what comes of what was sent.

    Parameters
    ----------
    symbols : sequence of str
    universe : Universe
        Its decimals say what a price and a volume are counted in.
    clock : Clock
        What the messages tell the time by.
    book_levels : int
        Levels a side of the order books that may be sent.

    Attributes
    ----------
    counts : Counts
    """

    def __init__(self, symbols: Sequence[str], universe: Universe, clock: Clock, book_levels: int = 0) -> None:
        count = len(symbols)
        self.counts = Counts()
        self._symbols, self._clock, self._levels = symbols, clock, book_levels
        self._price_unit, self._volume_unit = 10**universe.decimals, 10**universe.volume_decimals
        self._priced = np.zeros(count, dtype=np.bool_)
        self._last, self._size, self._open, self._high, self._low = np.zeros((5, count), dtype=np.int64)
        self._volume, self._turnover, self._trades, self._time, self._sequence = np.zeros((5, count), dtype=np.int64)
        self._reference, self._quote_time, self._quote_sequence = np.zeros((3, count), dtype=np.int64)
        self._quoted = np.zeros(count, dtype=np.bool_)
        # Bid prices, bid volumes, ask prices, ask volumes, level by level; a price of 0 is none.
        self._book = np.zeros((count, 4, max(book_levels, 1)), dtype=np.int64)
        self._is_book = False

    def apply_trades(self, block: TradeBlock, sent: Levels) -> None:
        """Apply those trades of a block for which `sent` is not 0."""
        chosen = np.flatnonzero(sent)
        if not len(chosen):
            return
        self.counts.sent += len(chosen)
        self.counts.trades += len(chosen)
        chosen, first, ends = grouped(block.symbol, chosen)
        row, last = block.symbol[chosen[first]], chosen[ends - 1]
        price = block.price[chosen]
        high, low = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
        self._range(row, price[first], high, low)
        self._last[row], self._size[row] = block.price[last], block.volume[last]
        self._time[row], self._sequence[row] = self._clock.told(block.intended_ns[last]), block.sequence[last]
        self._volume[row] += np.add.reduceat(block.volume[chosen], first)
        self._turnover[row] += np.add.reduceat(block.turnover[chosen], first)
        self._trades[row] += ends - first

    def apply_books(self, block: BookBlock, sent: Levels, quotes: bool = False) -> None:
        """Apply the books that were sent, as deep as `sent` says; or only their best bid and offer, as quotes."""
        chosen = np.flatnonzero(sent)
        if not len(chosen):
            return
        self.counts.sent += len(chosen)
        if quotes:
            self.counts.quotes += len(chosen)
        else:
            self.counts.books += len(chosen)
            self._is_book = True
        chosen, _, ends = grouped(block.symbol, chosen)
        last = chosen[ends - 1]
        row, books = block.symbol[last], block.books(last)
        step = np.arange(self._book.shape[2])
        for side, count, prices, volumes in (
            (0, books.bids, books.bid_price, books.bid_volume),
            (2, books.asks, books.ask_price, books.ask_volume),
        ):
            # A quote names a price on each side, whatever the day's limits are.
            there = step < (np.ones(len(last)) if quotes else np.minimum(count, sent[last]))[:, None]
            self._book[row, side] = np.where(there, prices[:, : len(step)], 0)
            self._book[row, side + 1] = np.where(there, volumes[:, : len(step)], 0)
        self._quoted[row] = True
        self._quote_sequence[row] = block.sequence[last]
        # Binance's best bid and offer tell no time.
        self._quote_time[row] = 0 if quotes else self._clock.told(block.intended_ns[last])

    def apply_tickers(self, block: TickerBlock, sent: Levels) -> None:
        """Apply the running figures that were sent: they are assigned, never added up."""
        for end in np.unique(block.intended_ns):
            chosen = np.flatnonzero((sent > 0) & (block.intended_ns == end))
            row, price = block.symbol[chosen], block.close[chosen]
            self.counts.sent += len(chosen)
            self.counts.tickers += len(chosen)
            self._range(row, price, price, price)
            self._last[row], self._reference[row] = price, block.open[chosen]
            self._volume[row], self._turnover[row] = block.volume[chosen], block.turnover[chosen]
            self._time[row], self._sequence[row] = self._clock.told(block.intended_ns[chosen]), 0

    def _range(self, row: npt.NDArray[np.intp], first: Ints, high: Ints, low: Ints) -> None:
        fresh = ~self._priced[row]
        self._open[row] = np.where(fresh, first, self._open[row])
        self._high[row] = np.where(fresh, high, np.maximum(high, self._high[row]))
        self._low[row] = np.where(fresh, low, np.minimum(low, self._low[row]))
        self._priced[row] = True

    def rows(self) -> dict[str, Row]:
        """See `Oracle.rows`."""
        rows = {}
        for i in np.flatnonzero(self._priced | self._quoted).tolist():
            row = dict(EMPTY_ROW)
            if self._priced[i]:
                row |= self._traded(i)
            if self._quoted[i]:
                row |= self._quotes(i)
            rows[self._symbols[i]] = row
        return rows

    def _quotes(self, i: int) -> Row:
        unit, volume_unit = self._price_unit, self._volume_unit
        bid, bid_size, ask, ask_size = (
            [value / (volume_unit if part % 2 else unit) for value in values]
            for part, values in enumerate(self._book[i].tolist())
        )
        row = book_columns(
            [(price or math.nan, size) for price, size in zip(bid, bid_size, strict=True)],
            [(price or math.nan, size) for price, size in zip(ask, ask_size, strict=True)],
            self._levels if self._is_book else 0,
        )
        row["quote_exchange_ns"] = int(self._quote_time[i]) * self._clock.unit_ns
        row["quote_sequence"] = int(self._quote_sequence[i])
        return row

    def _traded(self, i: int) -> Row:
        # A quotient of Python integers is the float nearest to the decimal, as parsing its text is.
        unit, volume_unit = self._price_unit, self._volume_unit
        row: Row = {
            "last": int(self._last[i]) / unit,
            "size": int(self._size[i]) / volume_unit,
            "open": int(self._open[i]) / unit,
            "high": int(self._high[i]) / unit,
            "low": int(self._low[i]) / unit,
            "volume": int(self._volume[i]) / volume_unit,
            "turnover": int(self._turnover[i]) / (unit * volume_unit),
            "trades": int(self._trades[i]),
            "trade_exchange_ns": int(self._time[i]) * self._clock.unit_ns,
            "trade_sequence": int(self._sequence[i]),
        }
        if self._reference[i]:
            row["prev_close"] = int(self._reference[i]) / unit
        return row


def grouped(symbol: npt.NDArray[np.intp], chosen: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], Ints, Ints]:
    """Return `chosen` by symbol, in order of time within each, and where each symbol's events begin and end."""
    # The stable sort keeps the order; of 16-bit numbers it is a radix sort.
    chosen = chosen[np.argsort(symbol[chosen].astype(np.uint16), kind="stable")]
    grouped = symbol[chosen]
    first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    return chosen, first, np.append(first[1:], len(grouped))

"""Running figures of the day, a second at a time: what a venue sends as summaries of a symbol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openbell.simulator.grid import Ints
from openbell.simulator.trading import TradeBlock

PERIOD_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TickerBlock:
    """Consecutive summaries, as equally long arrays: all of one period together, each of a symbol that traded in it.

    Attributes
    ----------
    symbol : ndarray of intp
        Index of the symbol in the universe.
    intended_ns : ndarray of int64
        The period's end, ns since the day's opening.
    close, open, high, low : ndarray of int64
        Prices of the day so far, in units of the universe's last decimal.
    volume, turnover : ndarray of int64
        Sums of the day so far.
    """

    symbol: npt.NDArray[np.intp]
    intended_ns: Ints
    close: Ints
    open: Ints
    high: Ints
    low: Ints
    volume: Ints
    turnover: Ints

    def __len__(self) -> int:
        """Return the number of summaries."""
        return len(self.symbol)


class Tickers:
    """Sums trades up and tells of them at the end of every second.

    Parameters
    ----------
    symbols : int
    """

    def __init__(self, symbols: int) -> None:
        self._close, self._open, self._high, self._volume, self._turnover = np.zeros((5, symbols), dtype=np.int64)
        self._low = np.full(symbols, np.iinfo(np.int64).max, dtype=np.int64)
        self._changed = np.zeros(symbols, dtype=np.bool_)
        self._end_ns = PERIOD_NS

    def take(self, block: TradeBlock, until_ns: int) -> TickerBlock:
        """Take a block of trades, the last ones until a moment, and return what became due by then."""
        parts: list[TickerBlock] = []
        position = 0
        while True:
            end = int(np.searchsorted(block.intended_ns, self._end_ns))
            self._add(block, slice(position, end))
            position = end
            if until_ns < self._end_ns:
                break
            parts.append(self._due())
            # Periods without a trade have nothing to tell.
            ahead_ns = int(block.intended_ns[position]) if position < len(block) else until_ns
            self._end_ns = (ahead_ns // PERIOD_NS + 1) * PERIOD_NS
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return TickerBlock(none.astype(np.intp), none, none, none, none, none, none, none)
        names = TickerBlock.__slots__
        return TickerBlock(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _add(self, block: TradeBlock, part: slice) -> None:
        symbol, price = block.symbol[part], block.price[part]
        # The first trade ever of a symbol is its open; of equal indexes the last one assigned stays.
        fresh = ~self._seen(symbol)
        self._open[symbol[fresh][::-1]] = price[fresh][::-1]
        self._close[symbol] = price
        np.maximum.at(self._high, symbol, price)
        np.minimum.at(self._low, symbol, price)
        np.add.at(self._volume, symbol, block.volume[part])
        np.add.at(self._turnover, symbol, block.turnover[part])
        self._changed[symbol] = True

    def _seen(self, symbol: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._open[symbol] > 0
        return found

    def _due(self) -> TickerBlock:
        symbol = np.flatnonzero(self._changed)
        self._changed[:] = False
        return TickerBlock(
            symbol,
            np.full(len(symbol), self._end_ns, dtype=np.int64),
            self._close[symbol],
            self._open[symbol],
            self._high[symbol],
            self._low[symbol],
            self._volume[symbol],
            self._turnover[symbol],
        )

"""The oracle of a made-up market: integers in numpy arrays, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openbell.simulator.clock import Clock
from openbell.simulator.oracle import EMPTY_ROW, Counts, Row
from openbell.simulator.trading import TradeBlock
from openbell.simulator.venue import Levels


class MarketOracle:
    """States what comes of what was sent.

    Parameters
    ----------
    symbols : sequence of str
    decimals : int
        Of a price; the unit of prices and turnovers is the last one.
    clock : Clock
        What the messages tell the time by.

    Attributes
    ----------
    counts : Counts
    """

    def __init__(self, symbols: Sequence[str], decimals: int, clock: Clock) -> None:
        self.counts = Counts()
        self._symbols, self._clock = symbols, clock
        self._unit = 10**decimals
        self._last, self._size, self._open, self._high, self._low = np.zeros((5, len(symbols)), dtype=np.int64)
        self._volume, self._turnover, self._trades, self._time, self._sequence = np.zeros(
            (5, len(symbols)), dtype=np.int64
        )

    def apply_trades(self, block: TradeBlock, sent: Levels) -> None:
        """Apply those trades of a block for which `sent` is not 0."""
        chosen = np.flatnonzero(sent)
        if not len(chosen):
            return
        self.counts.sent += len(chosen)
        self.counts.trades += len(chosen)
        # Grouped by symbol, in order of time within each: the stable sort keeps it.
        chosen = chosen[np.argsort(block.symbol[chosen].astype(np.uint16), kind="stable")]
        symbol = block.symbol[chosen]
        first = np.flatnonzero(np.concatenate(([True], symbol[1:] != symbol[:-1])))
        ends = np.append(first[1:], len(symbol))
        row, last = symbol[first], chosen[ends - 1]
        price = block.price[chosen]
        high, low = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
        fresh = self._trades[row] == 0
        self._open[row] = np.where(fresh, price[first], self._open[row])
        self._high[row] = np.where(fresh, high, np.maximum(high, self._high[row]))
        self._low[row] = np.where(fresh, low, np.minimum(low, self._low[row]))
        self._last[row], self._size[row] = block.price[last], block.volume[last]
        self._time[row], self._sequence[row] = self._clock.told(block.intended_ns[last]), block.sequence[last]
        self._volume[row] += np.add.reduceat(block.volume[chosen], first)
        self._turnover[row] += np.add.reduceat(block.turnover[chosen], first)
        self._trades[row] += ends - first

    def rows(self) -> dict[str, Row]:
        """See `Oracle.rows`."""
        return {self._symbols[i]: EMPTY_ROW | self._traded(i) for i in np.flatnonzero(self._trades).tolist()}

    def _traded(self, i: int) -> Row:
        # A quotient of Python integers is the float nearest to the decimal, as parsing its text is.
        return {
            "last": int(self._last[i]) / self._unit,
            "size": float(self._size[i]),
            "open": int(self._open[i]) / self._unit,
            "high": int(self._high[i]) / self._unit,
            "low": int(self._low[i]) / self._unit,
            "volume": float(self._volume[i]),
            "turnover": int(self._turnover[i]) / self._unit,
            "trades": int(self._trades[i]),
            "trade_exchange_ns": int(self._time[i]) * self._clock.unit_ns,
            "trade_sequence": int(self._sequence[i]),
        }

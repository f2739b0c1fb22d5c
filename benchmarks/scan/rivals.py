"""What a scan is compared with: the same in numpy on private arrays, and over a dict of objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openbell.market import Snapshot

EXPRESSION = "change_pct > 3 and turnover > 1e7 and spread_bps < 20"
COLUMNS = ("last", "prev_close", "bid", "ask", "turnover")


class Quote:
    """One symbol, as a careful user keeps it."""

    __slots__ = ("ask", "bid", "last", "prev_close", "turnover")

    def __init__(self, last: float, prev_close: float, bid: float, ask: float, turnover: float) -> None:
        self.last = last
        self.prev_close = prev_close
        self.bid = bid
        self.ask = ask
        self.turnover = turnover


class Arrays:
    """The columns that the scan needs, each an array of one's own."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.last, self.prev_close, self.bid, self.ask, self.turnover = (snapshot[name].copy() for name in COLUMNS)

    def scan(self) -> NDArray[np.intp]:
        """Return the rows, as one writes it with numpy."""
        change_pct = (self.last - self.prev_close) / self.prev_close * 100
        spread_bps = (self.ask - self.bid) / ((self.bid + self.ask) / 2) * 1e4
        return np.flatnonzero((change_pct > 3) & (self.turnover > 1e7) & (spread_bps < 20))


class Objects:
    """A dict of one slotted object a symbol."""

    def __init__(self, snapshot: Snapshot) -> None:
        values = zip(*(snapshot[name].tolist() for name in COLUMNS), strict=True)
        self.quotes = {symbol: Quote(*each) for symbol, each in zip(snapshot.symbols, values, strict=True)}

    def scan(self) -> list[str]:
        """Return the symbols: one comprehension, no division, and what rarely holds is looked at first."""
        return [
            symbol
            for symbol, each in self.quotes.items()
            if each.last > each.prev_close * 1.03
            and each.turnover > 1e7
            and each.ask - each.bid < (each.bid + each.ask) * 0.001
        ]

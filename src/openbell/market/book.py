"""One symbol's order book, as it was at one instant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.row import Row


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """A consistent copy of the last known order book of one symbol; all arrays are yours.

    Only levels that are there: a side nobody is on (no bids at the lower limit of a day, no asks at the upper) has
    length 0, and the two sides may differ in length.

    Attributes
    ----------
    symbol : str
    row : int
        Its row in the live columns.
    bids, bid_sizes : numpy.ndarray of float64, shape (levels there,)
        Best (highest) first.
    asks, ask_sizes : numpy.ndarray of float64, shape (levels there,)
        Best (lowest) first.
    levels : int
        How many levels a side the feed keeps, its ``book_levels``. 0: none, and what is here is the top of the book.
    exchange_ns : int
        The venue's time of it, ns since the epoch; 0 if the venue sends none, or nothing has come.
    receive_ns : int
        When the symbol's last event of any kind came, a trade too; ns since the epoch, 0 for never.
    sequence : int
        The venue's number of it, as sent; 0 where it has none.
    bid, bid_size, ask, ask_size : float
        The best bid and offer. Where a venue sends them apart from whole books they may be newer than the first level.
        Prices are NaN, and sizes 0, for a side nobody is on.
    """

    symbol: str
    row: int
    bids: NDArray[np.float64]
    bid_sizes: NDArray[np.float64]
    asks: NDArray[np.float64]
    ask_sizes: NDArray[np.float64]
    levels: int
    exchange_ns: int
    receive_ns: int
    sequence: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float

    @classmethod
    def of(cls, row: Row) -> Book:
        """Return the book in a row: its levels or, of a feed or a symbol without them, the best bid and offer."""
        values = np.array(row.book, np.float64).reshape(-1, 4)
        # None are kept, or of this symbol: a vendor may send books of some and best bids and offers of others.
        if np.isnan(values[:1, [0, 2]]).all():
            values = np.array([(row.bid, row.bid_size, row.ask, row.ask_size)], np.float64)
        bids, asks = (int(np.count_nonzero(~np.isnan(values[:, side]))) for side in (0, 2))
        return cls(
            row.symbol,
            row.row,
            values[:bids, 0].copy(),
            values[:bids, 1].copy(),
            values[:asks, 2].copy(),
            values[:asks, 3].copy(),
            len(row.book),
            row.quote_exchange_ns,
            row.receive_ns,
            row.quote_sequence,
            row.bid,
            row.bid_size,
            row.ask,
            row.ask_size,
        )

    @property
    def mid(self) -> float:
        """Halfway between the best bid and the best ask; NaN unless there are both."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """From the best bid to the best ask; NaN unless there are both."""
        return self.ask - self.bid

    @property
    def imbalance(self) -> float:
        """Share of the bids in all sizes of the levels that are here, from 0 to 1; NaN if there are none."""
        bids, asks = float(self.bid_sizes.sum()), float(self.ask_sizes.sum())
        return bids / (bids + asks) if bids + asks > 0 else math.nan

    def __repr__(self) -> str:
        sides = f"{len(self.bids)} bids, {len(self.asks)} asks"
        return f"<Book of {self.symbol!r}: {self.bid:.10g} / {self.ask:.10g}, {sides}>"

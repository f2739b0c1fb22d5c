"""Order books of the made-up market: derived from where a price stands, never stored level by level.

A block keeps a position on the price grid and a random word for each book; levels come of them when they are written
or when the oracle wants the last one. A book of ten levels a side would else take six hundred bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openbell.simulator.grid import Ints

Indexes = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]

# The sizes of a book's levels are hashes of its one random word: multiplied by odd numbers that have nothing to do with
# each other, of which the upper bits are used (Knuth's multiplicative hashing).
_FACTORS = (np.arange(1, 41, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
SIZE_BITS = 14


@dataclass(frozen=True, slots=True)
class Book:
    """Books as arrays, a row a book; what is behind the number of levels of a side means nothing.

    Attributes
    ----------
    bids, asks : ndarray of int64, shape (n,)
        How many levels each side has; 0 for a side that is not there.
    bid_price, bid_volume, ask_price, ask_volume : ndarray of int64, shape (n, levels)
        Best level first; prices in units of the universe's last decimal.
    """

    bids: Ints
    asks: Ints
    bid_price: Ints
    bid_volume: Ints
    ask_price: Ints
    ask_volume: Ints


class BookModel:
    """Turns positions and random words into books.

    Parameters
    ----------
    grid : ndarray of int64
        All admitted prices.
    lowest, highest : ndarray of intp
        Per symbol, the positions of its limits of the day: no order lies outside.
    lot : ndarray of int64
        Per symbol, in shares.
    lots : ndarray of int64, shape (2**SIZE_BITS,)
        The distribution of sizes, in lots.
    levels : int
        Of a side, at most.
    """

    def __init__(self, grid: Ints, lowest: Indexes, highest: Indexes, lot: Ints, lots: Ints, levels: int) -> None:
        self._grid, self._lowest, self._highest = grid, lowest, highest
        self._lot, self._lots = lot, lots
        self.levels = levels

    def books(self, symbol: Indexes, at: Indexes, word: Words) -> Book:
        """Return the books of symbols whose last prices stand `at` these positions.

        The last trade was at the best bid or at the best ask, and in one of four books there is a tick between the
        two. A price at its upper limit is bid for and nobody offers; at the lower one it is the other way round.
        """
        lowest, highest = self._lowest[symbol], self._highest[symbol]
        at_ask = (word & np.uint64(1)).astype(np.intp)
        at_ask = np.where(at == lowest, 1, np.where(at == highest, 0, at_ask))
        wide = (word & np.uint64(6)) == 0
        bid = at - at_ask
        # A spread does not reach over the limit: a side is empty only where the price itself is at the limit.
        ask = np.where(at == highest, highest + 1, np.minimum(bid + 1 + wide, highest))
        bids = np.clip(bid - lowest + 1, 0, self.levels)
        asks = np.clip(highest - ask + 1, 0, self.levels)
        step = np.arange(self.levels)
        sizes = self._lots[(word[:, None] * _FACTORS[: 2 * self.levels]) >> np.uint64(64 - SIZE_BITS)]
        sizes *= self._lot[symbol][:, None]
        return Book(
            bids.astype(np.int64),
            asks.astype(np.int64),
            self._grid[np.maximum(bid[:, None] - step, 0)],
            np.ascontiguousarray(sizes[:, : self.levels]),
            self._grid[np.minimum(ask[:, None] + step, len(self._grid) - 1)],
            np.ascontiguousarray(sizes[:, self.levels :]),
        )


@dataclass(frozen=True, slots=True)
class BookBlock:
    """Consecutive order books, as equally long arrays.

    Attributes
    ----------
    symbol : ndarray of intp
        Index of the symbol in the universe.
    intended_ns : ndarray of int64
        When the book is to be sent, ns since the day's opening; never decreases.
    sequence : ndarray of int64
        The vendor's number.
    at : ndarray of intp
        Where the last price stands on the grid.
    word : ndarray of uint64
        Random; the rest of the book comes of it.
    model : BookModel
    """

    symbol: Indexes
    intended_ns: Ints
    sequence: Ints
    at: Indexes
    word: Words
    model: BookModel

    def __len__(self) -> int:
        """Return the number of books."""
        return len(self.symbol)

    def books(self, chosen: Indexes) -> Book:
        """Return some of the books, with all their levels."""
        return self.model.books(self.symbol[chosen], self.at[chosen], self.word[chosen])

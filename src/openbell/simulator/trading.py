"""The market model: a trading day of one universe as blocks of events, the same for the same seed.

The day opens with one trade a symbol (the opening auction's prints) and, where there are order books, one book a
symbol, then goes on at the given pace, half of it books. Few symbols make most of the events (Zipf), prices walk by
ticks of their venue's grid within the day's limit, volumes are heavy-tailed lots. All arithmetic is in integers, in
units of the universe's last decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openbell.simulator.books import SIZE_BITS, BookBlock, BookModel, Indexes, Words
from openbell.simulator.grid import Ints
from openbell.simulator.pace import Pace, together
from openbell.simulator.universe import Universe

BLOCK_EVENTS = 1024
"""Events a block, about. Small enough to make and encode in about a millisecond, large enough for numpy to pay."""

DEFAULT_OPEN_MS = 1_767_576_600_000
"""The market's clock when the day opens: Monday 2026-01-05 09:30 in Shanghai, ms since the epoch."""

# Activity falls with rank^-0.9: of 5,200 symbols the busiest hundred then make about 45 % of the events.
_ACTIVITY_EXPONENT = 0.9
_FIRST_SEQUENCE = (1_000_000_000, 5_000_000_000)
_MAX_VOLUME = 90_000_000

# Random numbers are drawn as one 64-bit word an event and cut up: a call of its own for each use costs several times
# as much. Symbols and volumes are then looked up in tables that hold the distribution.
_ACTIVITY_BITS, _VOLUME_BITS = 18, SIZE_BITS
# What the lookups leave of a word; the uppermost bit says whether an event is a book.
_KIND_BIT = np.uint64(63)
_STEPS = np.array([-2, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TradeBlock:
    """Consecutive trades, as equally long arrays.

    Attributes
    ----------
    symbol : ndarray of intp
        Index of the symbol in the universe.
    intended_ns : ndarray of int64
        When the trade is to be sent, ns since the day's opening; never decreases, also not between blocks.
    sequence : ndarray of int64
        The vendor's number; grows by one from event to event of a symbol, trades and books together.
    price : ndarray of int64
        Price in units of the universe's last decimal.
    volume : ndarray of int64
        Shares, in units of the universe's last decimal of a volume.
    turnover : ndarray of int64
        Price times volume, exact.
    side : ndarray of int64
        The aggressor: 1 buyer, 2 seller, 0 none (opening auction).
    """

    symbol: npt.NDArray[np.intp]
    intended_ns: Ints
    sequence: Ints
    price: Ints
    volume: Ints
    turnover: Ints
    side: Ints

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.symbol)


class TradingDay:
    """Makes a day's events, block after block, without end.

    Parameters
    ----------
    universe : Universe
    symbols : sequence of str
        Codes of the universe.
    random : Generator
        Same state, symbols and pace: same events (within one numpy release).
    pace : Pace
    group : int
        So many consecutive events of a kind leave together.
    book_levels : int
        Levels a side of order books; 0: no books.
    """

    def __init__(
        self,
        universe: Universe,
        symbols: Sequence[str],
        random: np.random.Generator,
        pace: Pace,
        group: int = 1,
        book_levels: int = 0,
    ) -> None:
        count = len(symbols)
        self._random, self._pace, self._group = random, pace, group
        self._limit = max(group, BLOCK_EVENTS // group * group)
        self._grid = grid = universe.grid
        self._odd_lots = universe.odd_lots
        # Which symbol has which rank is drawn, or the busiest would always be the first codes.
        by_rank = random.permutation(count)
        weights = np.arange(1, count + 1, dtype=np.float64) ** -_ACTIVITY_EXPONENT
        shares = (np.arange(1 << _ACTIVITY_BITS) + 0.5) / (1 << _ACTIVITY_BITS)
        self._active = by_rank[np.searchsorted(np.cumsum(weights) / weights.sum(), shares).clip(max=count - 1)]
        self._active = self._active.astype(np.uint16)
        unit = 10**universe.decimals
        drawn = random.lognormal(np.log(universe.median_price * unit), universe.price_spread, count)
        # Away from the ends of the grid, so that a limit's distance fits on both sides.
        close = np.searchsorted(grid, np.clip(drawn, grid[0] * 2, grid[-1] // 2))
        limit = universe.limits(symbols)
        self._lowest = np.searchsorted(grid, grid[close] * (100 - limit) / 100)
        self._highest = np.searchsorted(grid, grid[close] * (100 + limit) / 100, side="right") - 1
        moved = grid[close] * (1 + random.normal(0.0, 0.01, count))
        # One in a hundred opens at its limit, and most of those stay there for a while.
        extreme = random.random(count)
        gapped = np.where(extreme < 0.005, 0, np.where(extreme > 0.995, len(grid) - 1, np.searchsorted(grid, moved)))
        self._at = np.clip(gapped, self._lowest, self._highest)
        self._lot = universe.lots(symbols, grid[close], random)
        self._lots = np.minimum(np.ceil(random.lognormal(1.0, 1.3, 1 << _VOLUME_BITS)), 20_000.0).astype(np.int64)
        self._sequence = random.integers(*_FIRST_SEQUENCE, count)
        self._opening = random.permutation(count).astype(np.intp)
        self._opening_books = random.permutation(count if book_levels else 0).astype(np.intp)
        # Without books this is not used, but a block says what it is made of.
        self._books = BookModel(grid, self._lowest, self._highest, self._lot, self._lots, max(book_levels, 1))
        self._mixed = book_levels > 0

    def next_block(self) -> tuple[TradeBlock, BookBlock]:
        """Return the next events, up to a period's end: first the opening's prints and books, then the stream."""
        waiting = len(self._opening) or len(self._opening_books)
        times = self._pace.take(min(self._limit, waiting) if waiting else self._limit)
        word = self._random.bit_generator.random_raw(len(times))
        if len(self._opening):
            symbol, self._opening = self._opening[: len(word)], self._opening[len(word) :]
            at, sequence = self._at[symbol], self._sequence[symbol]
            self._sequence[symbol] += 1
            side = np.zeros(len(symbol), dtype=np.int64)
            return self._block(symbol, times, sequence, at, side, word >> np.uint64(5), 10), self._no_books()
        if waiting:
            symbol, self._opening_books = self._opening_books[: len(word)], self._opening_books[len(word) :]
            at, sequence = self._at[symbol], self._sequence[symbol]
            self._sequence[symbol] += 1
            return self._no_trades(), BookBlock(symbol, self._together(times), sequence, at, word, self._books)
        symbol = self._active[(word & ((1 << _ACTIVITY_BITS) - 1)).astype(np.intp)].astype(np.intp)
        rest = word >> np.uint64(_ACTIVITY_BITS)
        drawn = (rest & 31).astype(np.intp)
        step = _STEPS[drawn >> 1]
        # A price that did not move was hit by either side.
        side = np.where(step == 0, 1 + (drawn & 1), 1 + (step < 0))
        if not self._mixed:
            at, sequence = self._walk(symbol, step)
            return self._block(symbol, times, sequence, at, side, rest >> np.uint64(5), 1), self._no_books()
        is_book = (word >> _KIND_BIT).astype(np.bool_)
        # A book shows the price where it stands.
        at, sequence = self._walk(symbol, np.where(is_book, 0, step))
        book, trade = np.flatnonzero(is_book), np.flatnonzero(~is_book)
        return (
            self._block(
                symbol[trade], times[trade], sequence[trade], at[trade], side[trade], rest[trade] >> np.uint64(5), 1
            ),
            BookBlock(symbol[book], self._together(times[book]), sequence[book], at[book], rest[book], self._books),
        )

    def _block(
        self, symbol: Indexes, times: Ints, sequence: Ints, at: Indexes, side: Ints, bits: Words, times_volume: int
    ) -> TradeBlock:
        price = self._grid[at]
        volume = self._volumes(symbol, bits.astype(np.int64), times_volume)
        return TradeBlock(symbol, self._together(times), sequence, price, volume, price * volume, side)

    def _together(self, times: Ints) -> Ints:
        return together(times, self._group) if len(times) else times

    def _no_trades(self) -> TradeBlock:
        none = np.zeros(0, dtype=np.int64)
        return TradeBlock(none.astype(np.intp), none, none, none, none, none, none)

    def _no_books(self) -> BookBlock:
        none = np.zeros(0, dtype=np.intp)
        return BookBlock(none, none.astype(np.int64), none.astype(np.int64), none, none.astype(np.uint64), self._books)

    def _volumes(self, symbol: npt.NDArray[np.intp], bits: Ints, times: int) -> Ints:
        lot = self._lot[symbol]
        lots = self._lots[bits & ((1 << _VOLUME_BITS) - 1)] * times
        # Nothing is as large as a vendor's field is wide.
        volume: Ints = np.minimum(lots, _MAX_VOLUME // lot) * lot
        if self._odd_lots:
            bits >>= _VOLUME_BITS
            volume = np.where(bits & 1, volume, 1 + (bits >> 1) % 99)
        return volume

    def _walk(self, symbol: npt.NDArray[np.intp], step: Ints) -> tuple[Ints, Ints]:
        """Move prices and sequences; a symbol may trade several times in a block, each time from where it stands."""
        # A stable sort of 16-bit numbers is a radix sort, four times as fast as one of 64 bits.
        order = np.argsort(symbol.astype(np.uint16), kind="stable")
        grouped = symbol[order]
        first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        lengths = np.diff(first, append=len(grouped))
        stepped = step[order]
        moved = np.cumsum(stepped)
        moved -= np.repeat(moved[first] - stepped[first], lengths)
        walked = np.clip(self._at[grouped] + moved, self._lowest[grouped], self._highest[grouped])
        numbered = self._sequence[grouped] + np.arange(len(grouped)) - np.repeat(first, lengths)
        last = first + lengths - 1
        self._at[grouped[last]] = walked[last]
        self._sequence[grouped[last]] = numbered[last] + 1
        at, sequence = np.empty_like(walked), np.empty_like(numbered)
        at[order], sequence[order] = walked, numbered
        return at, sequence

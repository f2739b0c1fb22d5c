"""The market model: a trading day of one universe as blocks of trades, the same for the same seed.

The day opens with one trade a symbol, all intended for the same instant (the opening auction's prints leave in one
flush), then goes on as a Poisson stream of the asked rate. Few symbols make most of the trades (Zipf), prices walk by
ticks of 0.01 within the day's limit, volumes are heavy-tailed lots of 100. All arithmetic is in integers: prices and
turnover in cents, volumes in shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

BLOCK_EVENTS = 1024
"""Trades a block. Small enough to make and encode in well under a millisecond, large enough for numpy to pay."""

DEFAULT_OPEN_MS = 1_767_576_600_000
"""The market's clock when the day opens: Monday 2026-01-05 09:30 in Shanghai, ms since the epoch."""

_LOT = 100
# Activity falls with rank^-0.9: of 5,200 symbols the busiest hundred then make about 45 % of the trades.
_ACTIVITY_EXPONENT = 0.9
_FIRST_SEQUENCE = (1_000_000_000, 5_000_000_000)


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
        The vendor's number; grows by one from trade to trade of a symbol.
    time_ms : ndarray of int64
        The trade's time on the market's clock, ms since the epoch.
    price : ndarray of int64
        Price in cents.
    volume : ndarray of int64
        Shares.
    turnover : ndarray of int64
        Price times volume, in cents, exact.
    side : ndarray of int64
        The aggressor: 1 buyer, 2 seller, 0 none (opening auction).
    """

    symbol: npt.NDArray[np.intp]
    intended_ns: Ints
    sequence: Ints
    time_ms: Ints
    price: Ints
    volume: Ints
    turnover: Ints
    side: Ints

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.symbol)


class TradingDay:
    """Makes a day's trades, block after block, without end.

    Parameters
    ----------
    symbols : sequence of str
        The universe, AllTick codes.
    seed : int
        Same seed, symbols and rate: same trades (within one numpy release).
    rate : float
        Trades a second after the opening flush, on average, over the whole universe.
    open_ms : int
        The market's clock at the opening.
    """

    def __init__(self, symbols: Sequence[str], seed: int, rate: float, open_ms: int = DEFAULT_OPEN_MS) -> None:
        count = len(symbols)
        self._random = random = np.random.Generator(np.random.PCG64(seed))
        self._gap_ns = 1e9 / rate
        self._open_ms = open_ms
        self._elapsed_ns = 0.0
        weights = np.arange(1, count + 1, dtype=np.float64) ** -_ACTIVITY_EXPONENT
        # Which symbol has which rank is drawn too, or the busiest would always be the first codes.
        self._by_rank = random.permutation(count)
        self._activity = np.cumsum(weights) / weights.sum()
        self._activity[-1] = 1.0
        close = np.clip(np.rint(random.lognormal(np.log(1_500.0), 0.9, count)), 200, 3_000_00).astype(np.int64)
        # ChiNext may move 20 % a day, the main boards 10 %.
        limit = np.array([20 if code.startswith("300") else 10 for code in symbols], dtype=np.int64)
        self._lowest = close - close * limit // 100
        self._highest = close + close * limit // 100
        gap = np.rint(close * random.normal(0.0, 0.01, count)).astype(np.int64)
        self._price = np.clip(close + gap, self._lowest, self._highest)
        self._sequence = random.integers(*_FIRST_SEQUENCE, count)

    def opening(self) -> TradeBlock:
        """Return the opening flush: one trade a symbol, all intended for the instant 0. Call it once, first."""
        symbol = self._random.permutation(len(self._price)).astype(np.intp)
        volume = self._volumes(len(symbol)) * 10
        sequence = self._sequence[symbol]
        self._sequence += 1
        still = np.zeros(len(symbol), dtype=np.int64)
        price = self._price[symbol]
        return TradeBlock(symbol, still, sequence, still + self._open_ms, price, volume, price * volume, still)

    def next_block(self) -> TradeBlock:
        """Return the next `BLOCK_EVENTS` trades of the steady stream."""
        random, count = self._random, BLOCK_EVENTS
        elapsed = self._elapsed_ns + np.cumsum(random.standard_exponential(count)) * self._gap_ns
        self._elapsed_ns = float(elapsed[-1])
        intended_ns = elapsed.astype(np.int64)
        symbol = self._by_rank[np.searchsorted(self._activity, random.random(count))].astype(np.intp)
        drawn = random.integers(0, 10, count)
        step = (drawn >> 1) - 2
        price, sequence = self._walk(symbol, step)
        volume = self._volumes(count)
        # A price that did not move was hit by either side.
        side = np.where(step == 0, 1 + (drawn & 1), 1 + (step < 0))
        time_ms = self._open_ms + intended_ns // 1_000_000
        return TradeBlock(symbol, intended_ns, sequence, time_ms, price, volume, price * volume, side)

    def _volumes(self, count: int) -> Ints:
        lots = np.minimum(np.ceil(self._random.lognormal(1.0, 1.3, count)), 20_000.0)
        return lots.astype(np.int64) * _LOT

    def _walk(self, symbol: npt.NDArray[np.intp], step: Ints) -> tuple[Ints, Ints]:
        """Move prices and sequences; a symbol may trade several times in a block, each time from where it stands."""
        # A stable sort of 16-bit numbers is a radix sort, four times as fast as one of 64 bits.
        order = np.argsort(symbol.astype(np.uint16), kind="stable")
        grouped = symbol[order]
        first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        lengths = np.diff(first, append=len(grouped))
        moved = np.cumsum(step[order])
        moved -= np.repeat(moved[first] - step[order][first], lengths)
        walked = np.clip(self._price[grouped] + moved, self._lowest[grouped], self._highest[grouped])
        numbered = self._sequence[grouped] + np.arange(len(grouped)) - np.repeat(first, lengths)
        last = first + lengths - 1
        self._price[grouped[last]] = walked[last]
        self._sequence[grouped[last]] = numbered[last] + 1
        price, sequence = np.empty_like(walked), np.empty_like(numbered)
        price[order], sequence[order] = walked, numbered
        return price, sequence

"""Trades with the day's figures beside them: what a message may say of the volume so far, and of an earlier price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openbell.simulator.grid import Ints
from openbell.simulator.trading import TradeBlock


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """Consecutive trades.

    Attributes
    ----------
    trades : TradeBlock
    total : ndarray of int64
        Volume of the symbol's day up to each trade, that one included.
    reference : ndarray of int64
        First price of the symbol's day.
    """

    trades: TradeBlock
    total: Ints
    reference: Ints

    @property
    def symbol(self) -> npt.NDArray[np.intp]:
        """Index of each trade's symbol."""
        return self.trades.symbol

    @property
    def intended_ns(self) -> Ints:
        """When each is to be sent, ns since the opening."""
        return self.trades.intended_ns

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.trades)


class Figures:
    """Keeps the figures of a day.

    Parameters
    ----------
    symbols : int
    """

    def __init__(self, symbols: int) -> None:
        self._total, self._first = np.zeros((2, symbols), dtype=np.int64)

    def take(self, block: TradeBlock) -> FigureBlock:
        """Take the next trades and return them with their figures."""
        # Of equal indexes the last one assigned stays: backwards, that is the first.
        fresh = np.flatnonzero(self._first[block.symbol] == 0)[::-1]
        self._first[block.symbol[fresh]] = block.price[fresh]
        order = np.argsort(block.symbol, kind="stable")
        grouped, volume = block.symbol[order], block.volume[order]
        sums = np.cumsum(volume)
        begins = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))[: len(grouped)]
        before = np.repeat(sums[begins] - volume[begins], np.diff(begins, append=len(grouped)))
        total = np.empty_like(volume)
        total[order] = self._total[grouped] + sums - before
        np.maximum.at(self._total, block.symbol, total)
        return FigureBlock(block, total, self._first[block.symbol])

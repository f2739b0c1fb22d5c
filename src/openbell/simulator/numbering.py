"""Numbers that a venue gives to the events of each symbol, one by one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from openbell.simulator.grid import Ints

_FIRST: Final = 1_000_000


class Numbers:
    """The numbers of one stream of events.

    Parameters
    ----------
    symbols : int
        How many there are.
    """

    def __init__(self, symbols: int) -> None:
        self._next = np.full(symbols, _FIRST, dtype=np.int64)

    def next(self, symbol: npt.NDArray[np.intp]) -> Ints:
        """Return the numbers of the next events, whose symbols these are; a symbol may come several times."""
        order = np.argsort(symbol, kind="stable")
        grouped = symbol[order]
        first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1]))) if len(grouped) else order
        lengths = np.diff(first, append=len(grouped))
        numbers = np.empty(len(symbol), dtype=np.int64)
        numbers[order] = self._next[grouped] + np.arange(len(grouped)) - np.repeat(first, lengths)
        self._next[grouped[first]] += lengths
        return numbers

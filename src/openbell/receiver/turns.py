"""The time between two connections to one vendor: some drop whoever connects too soon after another."""

from __future__ import annotations

import time
from collections.abc import Callable


class Turns:
    """Hands out the times at which the connections of one source may be opened, `spacing_s` apart.

    Parameters
    ----------
    spacing_s : float
        Least time between two connections, in seconds; 0: none.
    clock : callable
        Monotonic seconds; for tests.

    Notes
    -----
    One for each source, in each receiver. Connections of other receivers keep clear of these by when they start (see
    `Connection`); of one another's reconnects receivers know nothing.
    """

    def __init__(self, spacing_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing_s = spacing_s
        self._clock = clock
        self._next = clock()

    def wait_s(self) -> float:
        """Take the next turn, and return how long it is until then, in seconds."""
        now = self._clock()
        turn = max(now, self._next)
        self._next = turn + self._spacing_s
        return turn - now

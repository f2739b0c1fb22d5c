"""The time between two connections to one vendor: some drop whoever connects too soon after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable

from openbell.config import Source


def account(source: Source) -> Hashable:
    """Return what connections have in common that must keep apart: the vendor, and the token it knows them by."""
    return source.vendor, source.token_env, source.token_file


def starts(connections: Iterable[tuple[Source, float]]) -> list[float]:
    """Return how long after the start of a feed each of its connections is opened first, in seconds.

    Parameters
    ----------
    connections : iterable of (Source, float)
        In order: the source of each, and the least time from then to the next one of its account, in seconds.
    """
    free: dict[Hashable, float] = {}
    found = []
    for source, spacing_s in connections:
        found.append(free.get(account(source), 0.0))
        free[account(source)] = found[-1] + spacing_s
    return found


class Turns:
    """Hands out the times at which the connections of one account may be opened.

    Parameters
    ----------
    clock : callable
        Monotonic seconds; for tests.

    Notes
    -----
    One for each account, in each receiver. Connections of other receivers keep clear of these by when they start
    (`starts`); of one another's reconnects receivers know nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()

    def wait_s(self, spacing_s: float) -> float:
        """Take the next turn, and return how long it is until then, in seconds; the one after is `spacing_s` later."""
        now = self._clock()
        turn = max(now, self._next)
        self._next = turn + spacing_s
        return turn - now

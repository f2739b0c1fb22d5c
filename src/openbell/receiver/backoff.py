"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Double the pause with every failure, and spread attempts by chance.

    Parameters
    ----------
    first_s, longest_s : float
        The first pause, and the longest one before the spread.
    shortest_s : float
        No pause is ever shorter: the vendor's rule.
    spread : float
        A pause is lengthened by up to this part of itself, so that receivers that failed together do not come back
        together.
    chance : callable
        Uniform in [0, 1); for tests.
    """

    def __init__(
        self,
        first_s: float = 1.0,
        longest_s: float = 30.0,
        shortest_s: float = 0.0,
        spread: float = 0.25,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._shortest_s = shortest_s
        self._spread = spread
        self._chance = chance
        self.failures = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Return the pause before the next attempt, in seconds, and count a failure.

        Parameters
        ----------
        at_least_s : float
            What the end of this connection asks for.
        """
        # The power is bounded before it is taken: a float has an end, an outage need not.
        pause = min(self._longest_s, self._first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return max(self._shortest_s, at_least_s, pause) * (1.0 + self._spread * self._chance())

    def reset(self) -> None:
        """Begin anew: the connection was good."""
        self.failures = 0

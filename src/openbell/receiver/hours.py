"""Whether the market is open, for whoever wonders why nothing comes."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from openbell.config import Change
from openbell.record import MarketStatus


class Hours:
    """The hours of a market, by its schedule.

    Parameters
    ----------
    schedule : sequence of Change
        In order; empty: nothing is known of it, and it counts as always open.
    wall_ns : callable
        Nanoseconds since the epoch; for tests.
    """

    def __init__(self, schedule: Sequence[Change] = (), wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._at_ns = [change.at_ns for change in schedule]
        self._open = [change.status == MarketStatus.OPEN for change in schedule]
        self._wall_ns = wall_ns

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self._at_ns)

    @property
    def open(self) -> bool:
        """Whether it trades now: not before the open, in the lunch break, on a holiday, or after the schedule ends."""
        if not self._at_ns:
            return True
        place = bisect_right(self._at_ns, self._wall_ns())
        return 0 < place < len(self._at_ns) and self._open[place - 1]

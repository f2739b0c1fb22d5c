"""What a burst is asked to be."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from openbell.config import Overflow
from openbell.demo import DemoOptions

GENERATOR_LATE_P99_NS = 5_000_000
"""A generator that is later than this was the bottleneck itself."""
SUSTAINED_P99_NS = 100_000_000
"""A feed that is further behind the intended times lets buffers fill, however long they hold."""
DRAIN_RATIO = 1.5
"""How much longer than decoding alone the first flush may take to be in the snapshot."""
FLUSH_S = 0.01
"""The first flush is what the profile intends for the first 10 ms."""


@dataclass(frozen=True, slots=True)
class BurstOptions:
    """Options of one burst.

    Attributes
    ----------
    profile : str
        Whose opening: ``"cn"``, ``"hk"`` or ``"us"``.
    scale : float
        Multiplies the number of events.
    frame_ticks : int
        Events a frame: 1 are AllTick's pushes, more are plain arrays.
    overflow : str
        What happens when a ring is full.
    seconds : float
        Length of the market.
    repeats : int
        Pairs of first flushes that are timed.
    """

    profile: str
    scale: float
    frame_ticks: int
    overflow: Overflow
    seconds: float
    repeats: int

    def at(self, scale: float) -> BurstOptions:
        """Return the same at another scale."""
        return replace(self, scale=scale)

    def market(self, seconds: float, number: int = 0) -> DemoOptions:
        """Return the demonstration that runs it for `seconds`; `number` tells several in a row apart.

        One worker: receiver, worker and generator share two cores on the machines that this is made for.
        """
        return DemoOptions(
            universe=self.profile,
            profile="open",
            scale=self.scale,
            dialect="ticks" if self.frame_ticks > 1 else "alltick",
            frame_ticks=self.frame_ticks,
            overflow=self.overflow,
            seconds=seconds,
            workers=1,
            stamp=True,
            name=f"burst-{os.getpid()}-{number}",
        )

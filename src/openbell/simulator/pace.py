"""When events are to be sent: the opening profiles of whole markets, and a steady stream.

The profiles are justified, not measured: a vendor's last-trade push of all A-shares or all of Hong Kong begins with one
event a code in a single flush and goes on in 3-second cycles; the US figures take the worst second of the UTP SIP in
the first half of 2024 (403,572 quotes and 119,536 trades a second; UTP Vendor Alert 2024-11) for the first second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openbell.simulator.grid import Ints

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Profile:
    """An opening.

    Attributes
    ----------
    totals : tuple of (int, int)
        Ends of periods, in ns since the opening, and how many events are intended before each. The last period's rate
        goes on for ever.
    flush : bool
        Whether the first period's events are all intended for the instant 0, not spread over it.
    """

    totals: tuple[tuple[int, int], ...]
    flush: bool


_ENDS = (SECOND_NS // 100, SECOND_NS, 10 * SECOND_NS, 60 * SECOND_NS)

PROFILES = {
    "cn": Profile(tuple(zip(_ENDS, (5_000, 10_000, 50_000, 210_000), strict=True)), flush=True),
    "hk": Profile(tuple(zip(_ENDS, (3_000, 10_000, 50_000, 180_000), strict=True)), flush=True),
    "us": Profile(tuple(zip(_ENDS, (20_000, 500_000, 2_000_000, 6_000_000), strict=True)), flush=False),
}
"""Events in the first 10 ms, the first second, the first 10 s (5,000, 5,000 and 200,000 a second on average) and the
first minute (3,500, 3,000 and 100,000 a second), by universe."""


class Pace(Protocol):
    """Gives out intended times."""

    def take(self, limit: int) -> Ints:
        """Return the next intended times, ns since the opening: at least one, at most `limit`; they never decrease."""
        ...

    def expected(self, within_ns: int) -> float:
        """Return about how many events are intended before a moment."""
        ...


class OpeningPace:
    """The times of a profile: exact counts in every period, evenly mixed within it.

    Parameters
    ----------
    profile : Profile
    scale : float
        Multiplies all counts.
    random : Generator
    """

    def __init__(self, profile: Profile, scale: float, random: np.random.Generator) -> None:
        self._random = random
        ends = [0, *(end for end, _ in profile.totals)]
        totals = [0, *(round(total * scale) for _, total in profile.totals)]
        self._periods = [
            (ends[i], 0 if profile.flush and i == 0 else ends[i + 1], totals[i + 1] - totals[i])
            for i in range(len(profile.totals))
        ]
        self._ahead = self._endless()
        self._begin, self._end, self._count = next(self._ahead)
        self._taken = 0

    def take(self, limit: int) -> Ints:
        """See `Pace.take`; one call never crosses the end of a period."""
        while self._taken == self._count:
            self._begin, self._end, self._count = next(self._ahead)
            self._taken = 0
        count = min(limit, self._count - self._taken)
        # The block's share of the period, filled at random.
        width = (self._end - self._begin) / self._count
        low = self._begin + width * self._taken
        self._taken += count
        times = low + np.sort(self._random.random(count)) * (width * count)
        # What is rounded up to the end would belong to the next period.
        last = max(self._begin, self._end - 1)
        return np.minimum(times, last).astype(np.int64)

    def expected(self, within_ns: int) -> float:
        """See `Pace.expected`."""
        found = 0.0
        for begin, end, count in self._periods:
            if begin < within_ns:
                found += count * min(1.0, (within_ns - begin) / max(end - begin, 1))
        return found

    def _endless(self) -> Iterator[tuple[int, int, int]]:
        yield from self._periods
        begin, end, count = self._periods[-1]
        length = end - begin
        while True:
            begin, end = end, end + length
            yield begin, end, count


class SteadyPace:
    """A flush, all of it intended for the instant 0, and then a Poisson stream.

    Parameters
    ----------
    flush : int
        Events of the flush.
    rate : float
        Events a second after it, on average.
    random : Generator
    """

    def __init__(self, flush: int, rate: float, random: np.random.Generator) -> None:
        self._random = random
        self._flush, self._left = flush, flush
        self._gap_ns = SECOND_NS / rate
        self._elapsed_ns = 0.0

    def take(self, limit: int) -> Ints:
        """See `Pace.take`; one call never goes from the flush into the stream."""
        if self._left:
            count = min(limit, self._left)
            self._left -= count
            return np.zeros(count, dtype=np.int64)
        elapsed = self._elapsed_ns + np.cumsum(self._random.standard_exponential(limit)) * self._gap_ns
        self._elapsed_ns = float(elapsed[-1])
        return elapsed.astype(np.int64)

    def expected(self, within_ns: int) -> float:
        """See `Pace.expected`."""
        return self._flush + within_ns / self._gap_ns


def together(times: Ints, group: int) -> Ints:
    """Give every `group` consecutive events the time of their last one: a venue that batches sends them together."""
    if group == 1:
        return times
    last = np.arange(len(times)) // group * group + (group - 1)
    return times[np.minimum(last, len(times) - 1)]

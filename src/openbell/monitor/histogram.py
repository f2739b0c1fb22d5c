"""Latency histograms, read and merged.

A worker fills one in shared memory (HDR layout: 32 buckets an octave, each at most 3.1 % wide); here are its figures.
Values are ns and signed: an exchange's clock may be ahead of ours, and nothing is clamped.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from openbell.core import histogram as core

_COUNT, _NEGATIVE, _MINIMUM, _MAXIMUM, _TOTAL = range(5)
_SIGNED = struct.Struct("=q")
_BITS = struct.Struct("=Q")


def _no_buckets() -> array[int]:
    return array("Q", bytes(8 * core.BUCKET_COUNT))


@dataclass(frozen=True, slots=True)
class Histogram:
    """A copy of a histogram.

    Attributes
    ----------
    count : int
        Values counted.
    negative : int
        How many of them were below 0; these have no bucket of their own.
    minimum, maximum : int
        The extremes, exactly; 0 while `count` is 0.
    total : int
        Sum of all values.
    buckets : array of unsigned 64-bit int
        Values >= 0 by bucket.
    """

    count: int = 0
    negative: int = 0
    minimum: int = 0
    maximum: int = 0
    total: int = 0
    buckets: array[int] = field(default_factory=_no_buckets, repr=False)

    @classmethod
    def read(cls, memory: memoryview) -> Histogram:
        """Copy the histogram in `memory` (as `openbell.core.histogram.size` says) while it may be written.

        Words are copied one by one, so that `count` can differ from the buckets by the few values counted meanwhile;
        it is therefore taken from the buckets.
        """
        raw = array("Q", bytes(memory[: core.size()]))
        buckets = raw[core.HEADER_WORDS :]
        negative = raw[_NEGATIVE]
        count = negative + sum(buckets)
        if count == 0:
            return cls()
        minimum, maximum, total = (_signed(raw[word]) for word in (_MINIMUM, _MAXIMUM, _TOTAL))
        return cls(count, negative, minimum, maximum, total, buckets)

    @classmethod
    def merge(cls, parts: Iterable[Histogram]) -> Histogram:
        """Return the histogram of all values of all `parts`."""
        filled = [part for part in parts if part.count]
        if not filled:
            return cls()
        return cls(
            sum(part.count for part in filled),
            sum(part.negative for part in filled),
            min(part.minimum for part in filled),
            max(part.maximum for part in filled),
            sum(part.total for part in filled),
            array("Q", map(sum, zip(*(part.buckets for part in filled), strict=True))),
        )

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was counted after `earlier`, a copy of the same histogram. The extremes are to bucket width."""
        buckets = array("Q", (now - before for now, before in zip(self.buckets, earlier.buckets, strict=True)))
        filled = [index for index, count in enumerate(buckets) if count]
        negative = self.negative - earlier.negative
        count = negative + sum(buckets)
        if count == 0:
            return Histogram()
        lowest = self.minimum if negative else core.bounds(filled[0])[0]
        highest = min(self.maximum, core.bounds(filled[-1])[1]) if filled else -1
        return Histogram(count, negative, lowest, highest, self.total - earlier.total, buckets)

    def percentile(self, percent: float) -> int:
        """Return a value that `percent` % of all values do not exceed, exact to the width of a bucket.

        Parameters
        ----------
        percent : float
            0 to 100.

        Returns
        -------
        int
            ns; 0 if nothing was counted. A rank among the negative values gives `minimum`: they have no buckets.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent}")
        # The rank is rounded up, and at least 1: the 0th percentile is the smallest value.
        rank = max(1, -(-self.count * percent // 100))
        seen = self.negative
        if self.count == 0 or rank <= seen:
            return self.minimum
        for index, count in enumerate(self.buckets):
            seen += count
            if seen >= rank:
                return max(self.minimum, min(self.maximum, core.bounds(index)[1]))
        return self.maximum

    def nonempty(self) -> list[tuple[int, int, int]]:
        """Return ``(low, high, count)`` of each bucket that counted something, in ns and in order."""
        return [(*core.bounds(index), count) for index, count in enumerate(self.buckets) if count]

    @property
    def mean(self) -> float:
        """The average in ns; 0 if nothing was counted. A latency is better told by its percentiles."""
        return self.total / self.count if self.count else 0.0

    def summary(self) -> dict[str, int]:
        """Return ``{"p50", "p99", "p999", "max"}`` in ns."""
        return {
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "p999": self.percentile(99.9),
            "max": self.maximum,
        }


def _signed(bits: int) -> int:
    value: int = _SIGNED.unpack(_BITS.pack(bits))[0]
    return value

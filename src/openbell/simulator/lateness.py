"""How late events left, against the moment they were intended for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BUCKETS_PER_OCTAVE = 16


class Lateness:
    """A log-linear histogram of delays in ns; a percentile is exact to 4.5 %, the maximum exactly."""

    def __init__(self) -> None:
        self._counts = np.zeros(64 * _BUCKETS_PER_OCTAVE, dtype=np.int64)
        self._max = 0

    def add(self, delays_ns: npt.NDArray[np.int64]) -> None:
        """Count delays; an open-loop sender is never early, so that less than 1 ns counts as 1."""
        if not len(delays_ns):
            return
        buckets = np.log2(np.maximum(delays_ns, 1)) * _BUCKETS_PER_OCTAVE
        self._counts += np.bincount(buckets.astype(np.int64), minlength=len(self._counts))
        self._max = max(self._max, int(delays_ns.max()))

    def summary(self) -> dict[str, int] | None:
        """Return p50, p99 and the maximum in ns, or None if nothing was counted."""
        total = int(self._counts.sum())
        if not total:
            return None
        below = np.cumsum(self._counts)
        p50, p99 = (int(np.searchsorted(below, np.ceil(total * share))) for share in (0.50, 0.99))
        return {"p50": self._upper(p50), "p99": self._upper(p99), "max": self._max}

    def _upper(self, bucket: int) -> int:
        return min(int(2 ** ((bucket + 1) / _BUCKETS_PER_OCTAVE)), self._max)

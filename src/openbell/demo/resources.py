"""What processes hold: private memory and file descriptors, over time."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PRIVATE = re.compile(r"^RssAnon:\s*(\d+) kB", re.MULTILINE)

WARM_UP_S = 60.0
"""A process is still filling its buffers and caches in its first minute; a run that is not much longer says nothing of
what it will hold in a day."""
JUDGED_S = 3 * WARM_UP_S
"""Runs of this length are judged."""
GROWTH_BYTES = 4 * 1024 * 1024
"""A run may add this much private memory, by its trend after the warm-up: allocators take memory from the system in
pieces of up to some MB. A leak of eight bytes an event would be 9 MiB in ten minutes at 2,000 events a second, and one
of 64 KiB a fault 7 MiB in ten minutes with one every five seconds."""
GROWTH_DESCRIPTORS = 1.0
"""The mean number of descriptors may rise by so many from the first third after the warm-up to the last: at any moment
a connection may be there, two at once, or none. One that leaks with every fault would rise by dozens."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a process's needs developed.

    Attributes
    ----------
    first_bytes, last_bytes : int
        Private memory when the run began and when it ended.
    first_descriptors, last_descriptors : int
    bytes_per_s : float
        Slope of the private memory after the warm-up, by least squares.
    growth_bytes : float
        The slope times the time it was taken over.
    growth_descriptors : float
        Mean number in the last third after the warm-up, less that in the first third.
    judged : bool
        Whether the run was long enough to tell.
    """

    first_bytes: int
    last_bytes: int
    first_descriptors: int
    last_descriptors: int
    bytes_per_s: float
    growth_bytes: float
    growth_descriptors: float
    judged: bool

    @property
    def flat(self) -> bool:
        """Whether it does not grow, as far as can be told."""
        return not self.judged or (self.growth_bytes <= GROWTH_BYTES and self.growth_descriptors <= GROWTH_DESCRIPTORS)

    def to_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "private_mb": [round(self.first_bytes / 1e6, 2), round(self.last_bytes / 1e6, 2)],
            "descriptors": [self.first_descriptors, self.last_descriptors],
            "slope_bytes_per_s": round(self.bytes_per_s, 1),
            "growth_mb": round(self.growth_bytes / 1e6, 3),
            "growth_descriptors": round(self.growth_descriptors, 2),
            "judged": self.judged,
            "flat": self.flat,
        }


@dataclass(slots=True)
class Resources:
    """Samples of some processes."""

    _samples: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)
    _pids: dict[str, int] = field(default_factory=dict)
    _next: float = 0.0

    def look(self, processes: Mapping[str, int], every_s: float = 1.0) -> None:
        """Take a sample of processes, given by name and pid, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + every_s
        for name, pid in processes.items():
            if self._pids.get(name) != pid:
                # Another process in its place begins with nothing.
                self._pids[name] = pid
                self._samples[name] = []
            # Elsewhere than on Linux there is no such file; and a process may be ending.
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
                descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
                if found := _PRIVATE.search(text):
                    self._samples[name].append((now, int(found[1]) * 1024, descriptors))

    def trends(self) -> dict[str, Trend]:
        """Return how each process's needs developed; nothing of one that could not be looked at."""
        return {name: trend(samples) for name, samples in self._samples.items() if samples}


def trend(samples: list[tuple[float, int, int]]) -> Trend:
    """Return the trend of samples: moments in s, private bytes, descriptors."""
    _, first_bytes, first_descriptors = samples[0]
    _, last_bytes, last_descriptors = samples[-1]
    whole_s = samples[-1][0] - samples[0][0]
    warm = [each for each in samples if each[0] - samples[0][0] >= min(WARM_UP_S, whole_s / 2)]
    length_s = warm[-1][0] - warm[0][0]
    mean_s, mean_bytes = sum(at for at, _, _ in warm) / len(warm), sum(size for _, size, _ in warm) / len(warm)
    spread = sum((at - mean_s) ** 2 for at, _, _ in warm)
    slope = sum((at - mean_s) * (size - mean_bytes) for at, size, _ in warm) / spread if spread else 0.0
    third = max(1, len(warm) // 3)
    early, late = (sum(count for _, _, count in part) / third for part in (warm[:third], warm[-third:]))
    return Trend(
        first_bytes=first_bytes,
        last_bytes=last_bytes,
        first_descriptors=first_descriptors,
        last_descriptors=last_descriptors,
        bytes_per_s=slope,
        growth_bytes=slope * length_s,
        growth_descriptors=late - early,
        judged=whole_s >= JUDGED_S,
    )

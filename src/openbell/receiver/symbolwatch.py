"""Which symbols of a connection should tick and do not: judged by their own rates, from a column of the snapshot.

A sample of that column says which rows had news since the one before. From samples some seconds apart follows what is
needed of each symbol: when it last ticked, how often it does, how long it ever was silent. What ticks faster than
samples are taken is never slow enough to matter. A symbol without a rate is quiet, which is no fault; it is listed
where the rest of the connection has ticked for long enough.

Cost: a comparison for each symbol and some arithmetic for each that ticked, every few seconds; plain lists, because a
receiver loads no numpy.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Final

_ARRIVALS: Final = 8
"""A symbol that ticked in so many samples has a rate."""
_BLEND: Final = 1 / 16
"""Weight of the latest interval in a symbol's mean."""
_CHANCE: Final = 1e-4
"""A tail that is silent by chance with less than this probability was cut off."""
_NEAR: Final = 20
"""At least so many symbols before the tail say how likely one of them ticks."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a judgement changed.

    Attributes
    ----------
    silent : tuple of str
        Symbols that are listed as silent from now on.
    overdue : tuple of str
        Those of them that had a rate: asking for them again may help.
    back : tuple of str
        Symbols that are not silent any more.
    """

    silent: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


class SymbolWatch:
    """The symbols of one connection.

    Parameters
    ----------
    shortest_s : float
        No shorter silence is remarkable; and how long one that never ticked is waited for.
    times : float
        A remarkable silence is so many times the symbol's mean interval, and twice its longest before.

    Notes
    -----
    Its clock is advanced by whoever calls, and only while data comes over the connection: what is silent together
    with all others is not silent itself.
    """

    def __init__(self, shortest_s: float, times: float) -> None:
        self._shortest_s = shortest_s
        self._times = times
        self._now_s = 0.0
        self._names: tuple[str, ...] = ()
        self._at: dict[str, int] = {}
        self._stamps: Sequence[int] | None = None
        self._since: list[float] = []
        self._mean: list[float] = []
        self._longest: list[float] = []
        self._arrivals: list[int] = []
        self._silent: set[str] = set()
        self._asked: set[str] = set()

    @property
    def silent(self) -> Collection[str]:
        """The symbols that are listed."""
        return self._silent

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, in the order in which they were asked for."""
        return self._names

    def watch(self, names: Sequence[str]) -> None:
        """Watch these symbols from now on, in the order of the request; of those watched before all is kept."""
        if tuple(names) == self._names:
            return
        before = self._at
        kept = [before.get(name) for name in names]
        self._since = [self._now_s if at is None else self._since[at] for at in kept]
        self._mean = [0.0 if at is None else self._mean[at] for at in kept]
        self._longest = [0.0 if at is None else self._longest[at] for at in kept]
        self._arrivals = [0 if at is None else self._arrivals[at] for at in kept]
        self._names = tuple(names)
        self._at = {name: at for at, name in enumerate(self._names)}
        self._stamps = None
        self._silent &= self._at.keys()
        self._asked &= self._at.keys()

    def restart(self) -> None:
        """Count every silence from now: the connection is a new one."""
        self._since = [self._now_s] * len(self._names)
        self._stamps = None
        self._asked.clear()

    def pass_time(self, elapsed_s: float) -> None:
        """Let time pass in which symbols could have ticked."""
        self._now_s += elapsed_s

    def sample(self, stamps: Sequence[int]) -> None:
        """Take note of what ticked.

        Parameters
        ----------
        stamps : sequence of int
            Of each symbol, in order, a number that changes with everything that comes for it.
        """
        before, self._stamps = self._stamps, stamps
        if before is None:
            return
        now, since, mean, longest, arrivals = self._now_s, self._since, self._mean, self._longest, self._arrivals
        for at in [at for at, (old, new) in enumerate(zip(before, stamps, strict=True)) if old != new]:
            gap = now - since[at]
            since[at] = now
            seen = arrivals[at]
            if seen and self._names[at] not in self._silent:
                mean[at] = gap if seen == 1 else mean[at] + (gap - mean[at]) * _BLEND
                longest[at] = max(longest[at], gap)
            arrivals[at] = seen + 1

    def judge(self, granted: Container[str] | None = None) -> Findings:
        """Say who is silent, and who is not any more. All who were known to be so are not named again.

        Parameters
        ----------
        granted : container of str
            Those that should tick; time counts from when they are here. None: all.
        """
        if granted is not None:
            for at, name in enumerate(self._names):
                if name not in granted:
                    self._since[at] = self._now_s
        now, times, shortest = self._now_s, self._times, self._shortest_s
        silent: list[str] = []
        overdue: list[str] = []
        back: list[str] = []
        for name, since, mean, longest, arrivals in zip(
            self._names, self._since, self._mean, self._longest, self._arrivals, strict=True
        ):
            silence = now - since
            if silence < shortest:
                if self._silent and name in self._silent:
                    back.append(name)
                continue
            if 0 < arrivals < _ARRIVALS or (arrivals and silence < max(times * mean, 2 * longest)):
                continue
            if name not in self._silent:
                silent.append(name)
                if arrivals and name not in self._asked:
                    overdue.append(name)
        self._silent.update(silent)
        self._silent.difference_update(back)
        # Once until it ticks again, or the connection is a new one: an answer may take its time.
        self._asked.update(overdue)
        self._asked.difference_update(back)
        return Findings(tuple(silent), tuple(overdue), tuple(back))

    def kept(self, granted: Container[str] | None = None) -> int | None:
        """Return how many symbols of the request the vendor seems to have kept, or None if that is all of them.

        Of those in `granted` alone, in order.

        They are the first ones: a vendor that has had enough takes no notice of the rest, and says nothing. So
        nothing after a certain symbol ever ticks, though most of those just before it do, and everybody had the
        time: it would be too much of a chance.
        """
        asked = [at for at, name in enumerate(self._names) if granted is None or name in granted]
        arrivals, since = [self._arrivals[at] for at in asked], [self._since[at] for at in asked]
        kept = max((place + 1 for place, count in enumerate(arrivals) if count), default=0)
        tail = len(asked) - kept
        if not kept or not tail or self._now_s - max(since[kept:]) < self._shortest_s:
            return None
        # Lists are often sorted, by turnover say: how lively those just before the tail are is what counts.
        near = min(kept, max(_NEAR, tail))
        lively = sum(count > 0 for count in arrivals[kept - near : kept])
        chance = 1.0 - (lively + 1) / (near + 2)
        return kept if chance**tail < _CHANCE else None

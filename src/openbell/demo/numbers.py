"""What a vendor's numbers prove to be missing, by what the journal says was received; and what the feed told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openbell.simulator.faults.journal import LANE_AT, LANE_MASK, LEFT_OUT, NUMBERED_LANES, Entries
from openbell.simulator.faults.replay import Replay

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers of a symbol, from the first to the last, of which a feed told that they never came.

    Attributes
    ----------
    symbol : str
    first, last : int
    count : int
        How many it said they are.
    known : bool
        They are a part of an interruption that it had told before.
    """

    symbol: str
    first: int
    last: int
    count: int
    known: bool


class Numbers:
    """The numbers that one connection received, and what it told of those that it did not.

    Parameters
    ----------
    replay : Replay
        The market.
    holes : sequence of Hole
        What was told.
    """

    def __init__(self, replay: Replay, holes: Sequence[Hole]) -> None:
        self._replay = replay
        self._holes = holes
        self._lanes = NUMBERED_LANES.get(replay.vendor, ())
        self._last: dict[tuple[int, int], int] = {}
        self._missing: Counter[tuple[str, int, int]] = Counter()

    def take(self, events: Entries) -> None:
        """Take in events, in the order in which they were received."""
        events = events[np.isin((events >> LANE_AT) & LANE_MASK, self._lanes)]
        lanes = ((events >> LANE_AT) & LANE_MASK).tolist()
        symbols, numbers = self._replay.symbol(events).tolist(), self._replay.sequence(events).tolist()
        for *key, number in zip(lanes, symbols, numbers, strict=True):
            last = self._last.get((key[0], key[1]), number - 1)
            if number > last + 1:
                self._missing[self._replay.symbols[key[1]], last + 1, number - 1] += 1
            self._last[key[0], key[1]] = max(last, number)

    def told(self, events: Entries) -> npt.NDArray[np.bool_]:
        """Return of each event that was not received whether a hole was told that it lies in.

        Of what was left out behind the last that came, no number could tell; it counts as told.
        """
        found = np.zeros(len(events), dtype=np.bool_)
        (numbered,) = np.nonzero(np.isin((events >> LANE_AT) & LANE_MASK, self._lanes))
        if not len(numbered):
            return found
        holes: dict[str, list[Hole]] = {}
        for hole in self._holes:
            holes.setdefault(hole.symbol, []).append(hole)
        chosen = events[numbered]
        symbols, numbers = self._replay.symbol(chosen).tolist(), self._replay.sequence(chosen).tolist()
        for at, symbol, number in zip(numbered.tolist(), symbols, numbers, strict=True):
            its_holes = holes.get(self._replay.symbols[symbol], [])
            found[at] = any(hole.first <= number <= hole.last for hole in its_holes)
            if events[at] & LEFT_OUT:
                lane = int(events[at]) >> LANE_AT & LANE_MASK
                found[at] |= number > self._last.get((lane, symbol), 0)
        return found

    def differences(self) -> list[str]:
        """Return where what was told is not exactly what is missing."""
        told = Counter((hole.symbol, hole.first, hole.last) for hole in self._holes)
        found = [f"{hole} says {hole.count}" for hole in self._holes if hole.count != hole.last - hole.first + 1]
        found += [f"no hole was told of {symbol} {first} to {last}" for symbol, first, last in self._missing - told]
        found += [f"a hole was told of {symbol} {first} to {last}" for symbol, first, last in told - self._missing]
        return found if len(found) <= _SHOWN else [*found[:_SHOWN], f"and {len(found) - _SHOWN} more about its numbers"]

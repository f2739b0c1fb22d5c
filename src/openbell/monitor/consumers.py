"""Who holds the rings of a feed: its tethered readers, as anybody may see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbell.core import tether, words
from openbell.memory.consumers import SLOTS, Consumers
from openbell.memory.names import CONSUMERS
from openbell.memory.segment import Kind

if TYPE_CHECKING:
    from openbell.memory.generation import Generation


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One tethered reader.

    Attributes
    ----------
    slot, pid, label : int, int, str
        Its place among the 16, its process, what it calls itself.
    age_ns : int
        Since when it has the place.
    rings, cut : int
        At how many rings it holds the writer, and at how many it was cut off and has not joined again.
    lag : int
        How many records it is behind, at the ring where it is the furthest.
    held_ns, cuts : int
        For how long writers stood still for it alone, and how often it was cut off, since it has the place.
    """

    slot: int
    pid: int
    label: str
    age_ns: int
    rings: int
    cut: int
    lag: int
    held_ns: int
    cuts: int


@dataclass(frozen=True, slots=True)
class ConsumersStatus:
    """The tethered readers of a feed, and what those that are gone have left in the counters.

    Attributes
    ----------
    readers : tuple of ConsumerStatus
        Those that have a place now.
    places : int
        How many there can be.
    held_ns, cuts, died : int
        Since the feed began: for how long writers stood still for tethered readers alone (added up over rings and
        readers), how often one was cut off, how many processes died without giving their place back.
    """

    readers: tuple[ConsumerStatus, ...] = ()
    places: int = SLOTS
    held_ns: int = 0
    cuts: int = 0
    died: int = 0


def read_consumers(generation: Generation, heads: Sequence[int]) -> ConsumersStatus:
    """Read the state of a feed's tethered readers.

    Parameters
    ----------
    generation : Generation
        Its consumers segment will be mapped, read-only, if it is not.
    heads : sequence of int
        How far each ring is published, receiver by receiver.

    Raises
    ------
    FeedNotFound
        The feed was stopped before the segment could be mapped.
    """
    consumers = Consumers(generation.open(CONSUMERS, Kind.CONSUMERS))
    now = words.monotonic_ns()
    rings = [tether.states(consumers.memory, number) for number in range(consumers.rings)]
    readers = []
    for index in range(SLOTS):
        info = consumers.slot(index)
        pid = info.pid
        if not pid:
            continue
        mine = [states[index] for states in rings]
        behind = zip(heads, mine, strict=True)
        lags = [max(0, head - cursor) for head, (state, _, cursor, *_) in behind if state == "active"]
        readers.append(
            ConsumerStatus(
                slot=index,
                pid=pid,
                label=info.label,
                age_ns=max(0, now - info.joined_ns),
                rings=len(lags),
                cut=sum(state == "cut" for state, *_ in mine),
                lag=max(lags, default=0),
                held_ns=max(0, sum(held for *_, held, _ in mine) - info.held_before_ns),
                cuts=max(0, sum(cuts for *_, cuts in mine) - info.cuts_before),
            )
        )
    return ConsumersStatus(
        tuple(readers),
        held_ns=sum(held for states in rings for *_, held, _ in states),
        cuts=sum(cuts for states in rings for *_, cuts in states),
        died=sum(consumers.slot(index).died for index in range(SLOTS)),
    )

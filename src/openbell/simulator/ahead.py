"""Blocks of events made and encoded ahead of their time, in bounded memory.

Sending is then a matter of handing over slices. What a client gets is encoded for what it asked for at the time; if it
asks for something else, what lies ahead is encoded anew, at the latest when it is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from openbell.simulator.floor import Client
from openbell.simulator.grid import Ints
from openbell.simulator.venue import Events, Levels, Venue

_MADE_EVENTS = 1 << 20  # at most so many are made and not sent; about 64 bytes each


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client asked for in one lane; equal wishes have equal keys and share their frames."""

    key: bytes
    levels: Levels


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one lane of a block that somebody asked for, as frames."""

    chosen: npt.NDArray[np.intp]
    frames: memoryview
    offsets: Ints


@dataclass(slots=True)
class Run:
    """The events of one lane of a block, and what became of them.

    Noted down while they are sent, worked out when there is time: an opening's flush leaves in a few milliseconds.

    Attributes
    ----------
    length : int
        How many of them come before the market's end.
    first : int
        The number of its first event within the lane, from 0.
    position : int
        How many are dealt with.
    taken : list of (ndarray of intp, Levels)
        What somebody's connection took: which events, and the levels asked for, per symbol.
    left : list of (int, int, int)
        From and up to which event they were handed over, and when, ns since the opening.
    """

    events: Events
    length: int
    first: int = 0
    position: int = 0
    taken: list[tuple[npt.NDArray[np.intp], Levels]] = field(default_factory=list)
    left: list[tuple[int, int, int]] = field(default_factory=list)

    def outcome(self) -> tuple[Levels, Ints]:
        """Return the levels that were sent of each event, and when it was handed over (0: it was not due yet)."""
        sent, left_ns = np.zeros(len(self.events), dtype=np.int16), np.zeros(len(self.events), dtype=np.int64)
        for chosen, asked in self.taken:
            sent[chosen] = np.maximum(sent[chosen], asked[self.events.symbol[chosen]])
        for begin, end, moment_ns in self.left:
            left_ns[begin:end] = moment_ns
        return sent, left_ns

    def due(self, elapsed_ns: int) -> int:
        """Return the end of what is to be sent by now."""
        intended = self.events.intended_ns
        if self.position < self.length and intended[self.position] > elapsed_ns:
            return self.position
        return int(np.searchsorted(intended[: self.length], elapsed_ns, side="right"))


@dataclass(slots=True)
class Block:
    """A block on its way: a run a lane, and frames for everybody who asked.

    Attributes
    ----------
    events : int
        How many events it has, those after the market's end included; once, where lanes share them.
    """

    runs: tuple[Run, ...]
    begin_ns: int
    end_ns: int
    events: int
    batches: dict[tuple[int, bytes], Batch] = field(default_factory=dict)
    encoded_bytes: int = 0

    @property
    def next_ns(self) -> int:
        """When the next of its events is to be sent, ns since the opening; its end if there is none."""
        ahead = [int(run.events.intended_ns[run.position]) for run in self.runs if run.position < run.length]
        return min(ahead, default=self.end_ns)

    @property
    def done(self) -> bool:
        """Whether all of it is dealt with."""
        return all(run.position >= run.length for run in self.runs)


class Ahead:
    """The blocks between the market model and the sender.

    Parameters
    ----------
    venue : Venue
    end_ns : int, optional
        The market's end, ns since the opening: later events are not sent.
    """

    def __init__(self, venue: Venue, end_ns: int | None) -> None:
        self._venue, self._end_ns = venue, end_ns
        self._blocks: deque[Block] = deque()
        self._interests: dict[Client, tuple[int, tuple[Interest | None, ...]]] = {}
        self._events = 0
        self._bytes = 0
        # How many of the first blocks are encoded for everybody in `_audience`.
        self._encoded = 0
        self._audience: list[tuple[Client, int]] = []
        self._horizon_ns = -1
        self._ended = False
        self._counts = [0] * len(venue.lanes)

    @property
    def encoded(self) -> tuple[int, int]:
        """How many events are encoded for everybody, and the bytes that are encoded."""
        return sum(block.events for block in islice(self._blocks, self._encoded)), self._bytes

    @property
    def waiting_ns(self) -> int | None:
        """When the first block begins that is not encoded for everybody; None if there is none."""
        return self._blocks[self._encoded].begin_ns if self._encoded < len(self._blocks) else None

    @property
    def head(self) -> Block | None:
        """The next block to send; None at the market's end."""
        if not self._blocks and not self._ended:
            self._make()
        return self._blocks[0] if self._blocks else None

    def pop(self) -> Block:
        """Take the head away and forget its frames."""
        block = self._blocks.popleft()
        self._encoded = max(self._encoded - 1, 0)
        self._events -= block.events
        self._bytes -= block.encoded_bytes
        block.batches.clear()
        return block

    def make(self, until_ns: int) -> bool:
        """Make one block more, if what is made does not reach `until_ns`; return whether there was need."""
        if self._ended or self._horizon_ns >= until_ns or self._events >= _MADE_EVENTS:
            return False
        self._make()
        return True

    def encode(self, clients: Sequence[Client], until_ns: int, budget_bytes: int) -> bool:
        """Encode one block more, if there is one that begins before `until_ns`; return whether there was need."""
        audience = [(client, client.version) for client in clients]
        if audience != self._audience:
            self._audience, self._encoded = audience, 0
            self._interests = {client: found for client, found in self._interests.items() if client in clients}
        if self._encoded >= len(self._blocks) or self._bytes >= budget_bytes:
            return False
        block = self._blocks[self._encoded]
        if block.begin_ns >= until_ns:
            return False
        self._encoded += 1
        for client in clients:
            for lane, interest in enumerate(self.interests(client)):
                if interest is not None:
                    self.batch(block, lane, interest)
        return True

    def forget_frames(self) -> None:
        """Forget everything encoded."""
        for block in self._blocks:
            block.batches.clear()
            block.encoded_bytes = 0
        self._encoded = self._bytes = 0

    def interests(self, client: Client) -> tuple[Interest | None, ...]:
        """Return what a client asks for now, a lane at a time; None for nothing."""
        version, interests = self._interests.get(client, (-1, ()))
        if version != client.version:
            found = [lane.interest(client) for lane in self._venue.lanes]
            interests = tuple(Interest(levels.tobytes(), levels) if levels.any() else None for levels in found)
            self._interests[client] = client.version, interests
        return interests

    def batch(self, block: Block, lane: int, interest: Interest) -> Batch:
        """Return what somebody asked for of a block's lane, as frames."""
        batch = block.batches.get((lane, interest.key))
        if batch is None:
            events = block.runs[lane].events
            chosen = np.flatnonzero(interest.levels[events.symbol])
            frames, offsets = self._venue.lanes[lane].encode(events, chosen, interest.levels)
            batch = block.batches[lane, interest.key] = Batch(chosen, memoryview(frames), offsets)
            block.encoded_bytes += len(frames)
            self._bytes += len(frames)
        return batch

    def _make(self) -> None:
        runs = []
        begin_ns = last_ns = -1
        for lane, events in enumerate(self._venue.next_block()):
            count = length = len(events)
            if count:
                first, last_of_run = int(events.intended_ns[0]), int(events.intended_ns[-1])
                begin_ns = first if begin_ns < 0 else min(begin_ns, first)
                last_ns = max(last_ns, last_of_run)
                if self._end_ns is not None and last_of_run >= self._end_ns:
                    length = int(np.searchsorted(events.intended_ns, self._end_ns))
                    self._ended = True
            runs.append(Run(events, length, self._counts[lane]))
            self._counts[lane] += count
        distinct = {id(run.events): len(run.events) for run in runs}
        block = Block(tuple(runs), begin_ns, last_ns, sum(distinct.values()))
        self._horizon_ns = last_ns
        self._events += block.events
        self._blocks.append(block)

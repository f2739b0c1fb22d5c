"""Watches a feed from outside, as any consumer could: the lives of its connections, the gaps it tells, its states."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openbell.assignment import assign
from openbell.config import Config
from openbell.core.ring import Tap
from openbell.core.symbols import SymbolTable
from openbell.demo.account import Gap
from openbell.demo.exchange import Event
from openbell.demo.numbers import Hole
from openbell.memory.generation import Generation
from openbell.memory.names import ring_name
from openbell.memory.segment import Kind
from openbell.monitor.history import EndReason, History, Life
from openbell.monitor.status import Status
from openbell.reasons import Reason
from openbell.record import ROW_NONE, GapReason, dtype
from openbell.record import Kind as RecordKind

_COUNTED = ("connects", "disconnects", "errors", "gaps", "holes", "missed_pongs", "missing", "retries", "switches")
"""Counters of a connection that tell what became of a fault."""


@dataclass(slots=True)
class Observed:
    """One fault, and what the feed's connections did about it.

    Attributes
    ----------
    said : Event
        What the simulator says of it.
    connections : tuple of int
        Whom it happened to.
    states : list of (int, str)
        The states of those connections since: when, ns since the epoch, and which.
    before, after : Counter of str
        The feed's counters when it began, and when the next one did.
    """

    said: Event
    connections: tuple[int, ...]
    states: list[tuple[int, str]] = field(default_factory=list)
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)

    @property
    def counted(self) -> dict[str, int]:
        """What the feed counted in its time, but for what counts all the time."""
        return {name: count for name, count in (self.after - self.before).items() if count}


class Observer:
    """Looks at a feed again and again, and keeps what is written over in the long run.

    Parameters
    ----------
    generation : Generation
        Of the feed, which runs.
    config : Config
        What it runs.
    """

    def __init__(self, generation: Generation, config: Config) -> None:
        self._assigned = assign(config)
        histories = generation.open("history", Kind.HISTORY)
        self._histories = [History(histories, each.index) for each in self._assigned]
        self._lives: list[dict[int, Life]] = [{} for _ in self._assigned]
        self.labels: list[str] = []
        self._taps = [
            Tap(generation.open(ring_name(receiver, worker), Kind.RING), "oldest")
            for receiver in range(config.feed.receivers)
            for worker in range(config.feed.workers)
        ]
        table = SymbolTable(generation.open("symbols", Kind.SYMBOLS))
        self._owner, self._names = {}, {}
        for each in self._assigned:
            for symbol in each.source.symbols:
                row = table.lookup((each.source.prefix + symbol).encode())
                self._owner[row], self._names[row] = each.index, symbol
        self._symbols = {each.index: each.source.symbols for each in self._assigned}
        self._told: list[dict[int, Gap]] = [{} for _ in self._assigned]
        self._holes: list[list[Hole]] = [[] for _ in self._assigned]
        control = generation.open_control()
        self._blocks = [control.connection(each.index) for each in self._assigned]
        self._receivers = [control.receiver_counters(index) for index in range(config.feed.receivers)]
        self.clock_offset_ns = control.clock_offset_ns
        self.faults: list[Observed] = []
        self.lapped = 0
        self._before, self._counted = Counter[str](), Counter[str]()

    # ---- while it runs ----

    def look(self, status: Status) -> None:
        """Take note of everything that is new."""
        now_ns = time.time_ns()
        self._before, self._counted = self._counted, self._counters(status)
        self.labels = [each.label for each in status.connections]
        for number, history in enumerate(self._histories):
            # Those that ended before have not changed but for when the connection was live again.
            self._lives[number].update({life.number: life for life in history.lives()})
        for tap in self._taps:
            while True:
                records, skipped = tap.read()
                self.lapped += skipped
                if not records:
                    break
                self._read(records)
        if self.faults:
            fault = self.faults[-1]
            fault.after = self._counted
            for number in fault.connections:
                name = status.connections[number].state.name
                if not fault.states or fault.states[-1][1] != name:
                    fault.states.append((now_ns, name))

    def fault(self, said: Event) -> None:
        """Take note of a fault that began."""
        # It is heard of late: those that it happened to may have gone, and come back from other ports.
        latest = sorted(
            (life.began_ns, life.local_port, number)
            for number, lives in enumerate(self._lives)
            for life in lives.values()
        )
        ports = {port: number for _, port, number in latest}
        concerned = tuple(ports[port] for port in said.ports if port in ports)
        # It is heard of a little late: what it did already is its own.
        counters = self._before
        if self.faults:
            self.faults[-1].after = counters
        self.faults.append(Observed(said, concerned, before=counters, after=self._counted))

    def _read(self, records: bytes) -> None:
        found = np.frombuffer(records, dtype())
        for record in found[found["kind"] == RecordKind.GAP]:
            values = (record[name].view(np.int64) for name in ("a", "b", "c", "d"))
            reason, count, first_ns, last_ns = map(int, values)
            row = int(record["row"])
            if reason == GapReason.VENUE_HOLE:
                hole = Hole(self._names[row], first_ns, last_ns, count, bool(record["side"]))
                self._holes[self._owner[row]].append(hole)
            if reason != GapReason.DISCONNECT:
                continue
            # One that concerns all, or the rows of one connection.
            numbers = [self._owner[row]] if row in self._owner else []
            if row == ROW_NONE and not record["side"]:
                numbers = list(range(len(self._assigned)))
            for number in numbers:
                # Told in every ring, and for every row, with one stamp.
                self._told[number][int(record["receive_ns"])] = Gap(first_ns, last_ns)

    def _counters(self, status: Status) -> Counter[str]:
        counters = Counter({Reason(reason).name: count for reason, count in status.reasons.items()})
        for name in _COUNTED:
            counters[name] = sum(getattr(block, name) for block in self._blocks)
        return counters

    # ---- when it is over ----

    def lives(self, number: int) -> list[Life]:
        """Return the lives of a connection, oldest first, as they were last seen."""
        return [life for _, life in sorted(self._lives[number].items())]

    def gaps(self, number: int) -> list[Gap]:
        """Return the gaps that a connection told; one that is told when it begins ends as the history says."""
        ends = iter([life.next_live_ns for life in self.lives(number) if life.told])
        gaps = []
        for _, gap in sorted(self._told[number].items()):
            if not gap.last_ns:
                end_ns = next(ends, None)
                last_ns = time.time_ns() if end_ns is None else end_ns + self.clock_offset_ns
                gap = Gap(gap.first_ns, last_ns)
            gaps.append(gap)
        return gaps

    def holes(self, number: int) -> list[Hole]:
        """Return what a connection told of numbers that never came."""
        return self._holes[number]

    @property
    def lag_ns(self) -> int:
        """The most that a receiver was late, ns."""
        return max(block.loop_lag_peak_ns for block in self._receivers)

    def gaps_of_rows(self) -> dict[str, int]:
        """Return how many gaps concern each symbol."""
        found = {symbol: len(self._told[number]) for number, symbols in self._symbols.items() for symbol in symbols}
        for hole in (hole for holes in self._holes for hole in holes if not hole.known):
            found[hole.symbol] += 1
        return found

    def ended(self, fault: Observed, before_ns: int) -> list[tuple[int, Life]]:
        """Return the lives that ended after a fault began and before a moment, with their connections."""
        return [
            (number, life)
            for number in fault.connections
            for life in self.lives(number)
            if life.ended_ns is not None
            and fault.said.at_ns <= life.ended_ns + self.clock_offset_ns < before_ns
            and life.why is not EndReason.STOPPED
        ]


def names_of(states: Sequence[tuple[int, str]]) -> list[str]:
    """Return the states that followed on one another."""
    return [name for _, name in states]

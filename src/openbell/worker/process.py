"""A worker: it takes the records of its rings, and keeps its rows of the snapshot."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from openbell.core.apply import Applier
from openbell.core.symbols import SymbolTable
from openbell.errors import OpenBellError
from openbell.lifeline import EXIT_ORPHANED, Lifeline
from openbell.memory.consumers import Consumers
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import CONSUMERS, ring_name, worker_lock
from openbell.memory.segment import Kind
from openbell.monitor.control import ProcessState

TURN_NS = 50_000_000
"""How long it applies between two looks at its signals and its supervisor. Its heart beats as often."""


class Options(NamedTuple):
    """What the supervisor asks of a worker."""

    wait: str
    rate_limit: int
    exchange_latency: bool
    drain: bool


class Pace:
    """Holds a worker back, for demonstrations and tests of what happens when one is too slow.

    Parameters
    ----------
    rate : int
        Most records a second.
    """

    _TURN_S = 0.002

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._last = time.monotonic()
        self._credit = 0.0

    def turn(self, applier: Applier) -> None:
        """Apply what the time since the last turn allows, and wait for the next one."""
        now = time.monotonic()
        # Credit that was not used does not grow without end: a quiet hour is not made up for.
        self._credit = min(self._credit + (now - self._last) * self._rate, max(1.0, self._rate * 0.02))
        self._last = now
        if self._credit >= 1.0 and applier.backlog():
            self._credit -= applier.run(1_000_000, int(self._credit))
        time.sleep(self._TURN_S)


def main(argv: Sequence[str]) -> int:
    """Run a worker until it is told to stop, or its supervisor is gone.

    Parameters
    ----------
    argv : sequence of str
        As `openbell.spawn.arguments`, then the wait strategy, the most records a second (0: no limit), whether it
        keeps a histogram of exchange times (0 or 1), then ``run`` or ``drain``: with ``drain`` it leaves as soon as its
        rings are empty.

    Returns
    -------
    int
        The exit status: 0 all that was published is applied; 2 it cannot work; 3 the supervisor is gone.
    """
    lifeline = Lifeline(argv)
    wait, rate_limit, exchange_latency, mode = lifeline.rest
    options = Options(wait, int(rate_limit), exchange_latency == "1", mode == "drain")
    try:
        with RoleLock(lifeline.directory / worker_lock(lifeline.index)):
            return _run(lifeline, options)
    except OpenBellError as error:
        return lifeline.refuse(error)


def _run(lifeline: Lifeline, options: Options) -> int:
    generation = Generation(lifeline.directory, lifeline.generation)
    control = generation.open_control(writable=True)
    index = lifeline.index
    slot = control.worker(index)
    slot.begin(os.getpid())
    receivers = range(control.receivers)
    applier = Applier(
        generation.open("snapshot", Kind.SNAPSHOT, writable=True),
        index,
        [generation.open(ring_name(receiver, index), Kind.RING, writable=True) for receiver in receivers],
        control.worker_bell(index),
        [control.receiver_bell(receiver) for receiver in receivers],
        control.worker_counters(index).memory,
        control.histogram(index),
        control.clock_offset,
        options.wait,
        SymbolTable(generation.open("symbols", Kind.SYMBOLS)),
        control.exchange_histogram(index) if options.exchange_latency else None,
        Consumers(generation.open(CONSUMERS, Kind.CONSUMERS, writable=True)).applied_bell,
        generation.open("bars", Kind.BARS, writable=True) if generation.has("bars") else None,
    )
    applier.recover()
    slot.state = ProcessState.RUNNING
    pace = Pace(options.rate_limit) if options.rate_limit and not options.drain else None
    while True:
        if pace is None:
            applier.run(TURN_NS)
        else:
            pace.turn(applier)
        slot.beat()
        if lifeline.stopping:
            slot.state = ProcessState.STOPPING
            # What it was slowed down for is over.
            pace = None
        if (lifeline.stopping or options.drain) and applier.backlog() == 0:
            return 0
        if lifeline.orphaned:
            return EXIT_ORPHANED

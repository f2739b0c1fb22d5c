"""A worker: it takes the records of its rings, and keeps its rows of the snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence

from openbell.core.apply import Applier
from openbell.errors import OpenBellError
from openbell.lifeline import EXIT_ORPHANED, Lifeline
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import ring_name, worker_lock
from openbell.memory.segment import Kind
from openbell.monitor.control import ProcessState

TURN_NS = 50_000_000
"""How long it applies between two looks at its signals and its supervisor. Its heart beats as often."""


def main(argv: Sequence[str]) -> int:
    """Run a worker until it is told to stop, or its supervisor is gone.

    Parameters
    ----------
    argv : sequence of str
        As `openbell.spawn.arguments`, then the wait strategy, then ``run`` or ``drain``: with ``drain`` it leaves
        as soon as its rings are empty.

    Returns
    -------
    int
        The exit status: 0 all that was published is applied; 2 it cannot work; 3 the supervisor is gone.
    """
    lifeline = Lifeline(argv)
    wait, mode = lifeline.rest
    try:
        with RoleLock(lifeline.directory / worker_lock(lifeline.index)):
            return _run(lifeline, wait, drain=mode == "drain")
    except OpenBellError as error:
        return lifeline.refuse(error)


def _run(lifeline: Lifeline, wait: str, *, drain: bool) -> int:
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
        wait,
    )
    applier.recover()
    slot.state = ProcessState.RUNNING
    while True:
        applier.run(TURN_NS)
        slot.beat()
        if lifeline.stopping:
            slot.state = ProcessState.STOPPING
        if (lifeline.stopping or drain) and applier.backlog() == 0:
            return 0
        if lifeline.orphaned:
            return EXIT_ORPHANED

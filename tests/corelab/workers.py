"""A worker that runs in a thread of its own: it needs no GIL, so that the test goes on beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from corelab.records import Record
from corelab.rig import Rig
from openbell.core import words

# How long a parked worker sleeps at most if nobody rings its bell.
PARK_NS = 100_000_000


@contextmanager
def running(rig: Rig, turn_ns: int = PARK_NS) -> Iterator[list[int]]:
    """Run the worker in a thread of its own (it needs no GIL) while the block lasts; yields the counts of its turns."""
    stop = threading.Event()
    turns: list[int] = []

    def work() -> None:
        while not stop.is_set():
            turns.append(rig.applier.run(turn_ns))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield turns
    finally:
        stop.set()
        rig.writers[0].append(Record(0xFFFFFFFF, 0).pack())
        rig.writers[0].publish()
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, as busily as another process would."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0)


def asleep(rig: Rig) -> bool:
    """Say whether the worker has announced that it sleeps."""
    return words.load(rig.bell, 0) >> 32 == 1

"""Back-pressure: what we do not read, TCP holds back at the vendor's end. And a timer for what waits without it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from picows import WSTransport

from openbell.receiver.listeners import Listener

log = logging.getLogger("openbell.receiver")


class PauseCounter(Protocol):
    """Where paused time is counted."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""


class Pressure:
    """Looks after one connection while something of its listener waits for room in a ring.

    Under the policy ``block`` nothing is read meanwhile; under the others reading goes on.

    Parameters
    ----------
    listener : Listener
        Keeps what the rings have no room for.
    counter : PauseCounter
        Its ``paused_ns`` grows by the time in which nothing was read.
    drain_s : float
        Pause between two attempts to empty the queue.
    """

    def __init__(self, listener: Listener, counter: PauseCounter, drain_s: float) -> None:
        self._listener = listener
        self._counter = counter
        self._drain_s = drain_s
        self._task: asyncio.Task[None] | None = None
        self._keep_held = False

    @property
    def active(self) -> bool:
        """Whether reading is held back at present."""
        return self._task is not None and self._listener.holds_reading

    @property
    def waiting(self) -> bool:
        """Whether something waits for room in a ring, read on or not."""
        return self._task is not None

    def begin(self, transport: WSTransport) -> None:
        """Try to empty what waits until nothing does; stop reading for that long, if the policy says so."""
        if self._task is None:
            if self._listener.holds_reading:
                hold_reading(transport)
            self._task = asyncio.get_running_loop().create_task(self._drain(transport))

    async def empty(self, until: Callable[[], float]) -> None:
        """Wait until nothing waits for room, or the time (of the monotonic clock, in s) is past what `until` returns.

        It is asked again and again: whoever waits without end may be asked to stop meanwhile.
        """
        while self._listener.drain() and time.monotonic() < until():
            await asyncio.sleep(self._drain_s)

    def end(self) -> None:
        """Never resume reading: the connection is gone, or about to go. The queue is left to :meth:`empty`."""
        self._keep_held = True
        if self._task is not None:
            self._task.cancel()

    async def _drain(self, transport: WSTransport) -> None:
        counted = time.monotonic_ns()

        def count() -> None:
            nonlocal counted
            before, counted = counted, time.monotonic_ns()
            if self._listener.holds_reading:
                self._counter.add("paused_ns", counted - before)

        try:
            while self._listener.drain():
                await asyncio.sleep(self._drain_s)
                # As it passes: a pause may be long, and somebody looks at the counter to see whether there is one.
                count()
        finally:
            count()
            self._task = None
        if self._listener.holds_reading and not self._keep_held and not transport.underlying_transport.is_closing():
            transport.underlying_transport.resume_reading()


def hold_reading(transport: WSTransport) -> None:
    """Stop reading from the socket; frames of the present read still arrive."""
    if not transport.underlying_transport.is_closing():
        transport.underlying_transport.pause_reading()

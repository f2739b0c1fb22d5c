"""Back-pressure: what we do not read, TCP holds back at the vendor's end."""

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
    """Holds reading back on one connection while its listener's side queue has something in it.

    Parameters
    ----------
    listener : Listener
        Puts into the side queue what the rings have no room for.
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
        return self._task is not None

    def begin(self, transport: WSTransport) -> None:
        """Stop reading until the side queue is empty."""
        if self._task is None:
            hold_reading(transport)
            self._task = asyncio.get_running_loop().create_task(self._drain(transport))

    async def empty(self, until: Callable[[], float]) -> None:
        """Wait until the side queue is empty, or the time (of the monotonic clock, in s) is past what `until` returns.

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
            self._counter.add("paused_ns", counted - before)

        try:
            while self._listener.drain():
                await asyncio.sleep(self._drain_s)
                # As it passes: a pause may be long, and somebody looks at the counter to see whether there is one.
                count()
        finally:
            count()
            self._task = None
        if not self._keep_held and not transport.underlying_transport.is_closing():
            transport.underlying_transport.resume_reading()


def hold_reading(transport: WSTransport) -> None:
    """Stop reading from the socket; frames of the present read still arrive."""
    if not transport.underlying_transport.is_closing():
        transport.underlying_transport.pause_reading()

"""One process that a feed needs, through all its lives: started, ended, started again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from openbell.core import words
from openbell.errors import FeedError
from openbell.monitor.control import ConnectionCounters, ConnectionState, ProcessSlot, ProcessState
from openbell.spawn import Process


class Backoff:
    """When a process that ended may be started again: at once, unless it ends again and again right after its start."""

    SHORT_LIFE_S = 1.0
    AT_ONCE = 5
    FIRST_S = 0.1
    LONGEST_S = 5.0

    def __init__(self) -> None:
        self._short_lives = 0

    def delay(self, lived_s: float) -> float:
        """Note a life of `lived_s` seconds and return how many to wait: none for the first 5 short lives in a row."""
        self._short_lives = self._short_lives + 1 if lived_s < self.SHORT_LIFE_S else 0
        beyond = self._short_lives - self.AT_ONCE
        # Bounded before the power is taken: a float has an end, a crash loop need not.
        return min(self.LONGEST_S, self.FIRST_S * 2.0 ** min(beyond - 1, 16)) if beyond > 0 else 0.0


class Role:
    """One process that the feed needs, through all its lives."""

    def __init__(
        self,
        name: str,
        slot: ProcessSlot,
        start: Callable[[str], Process],
        connections: Sequence[ConnectionCounters] = (),
    ) -> None:
        self.name = name
        self.slot = slot
        self.connections = connections
        self.process: Process | None = None
        self.due = 0.0
        self.started = 0.0
        self.proven = False
        self.backoff = Backoff()
        self._start = start

    def start(self, mode: str = "run") -> None:
        """Start the process.

        Raises
        ------
        FeedError
            The system starts no process; `slot` says CRASHED if there has been one before.
        """
        if self.slot.pid:
            # At its first start it says so itself: a slot that is in use must name a process, never pid 0.
            self.slot.state = ProcessState.STARTING
        self.started = time.monotonic()
        try:
            self.process = self._start(mode)
        except FeedError:
            if self.slot.pid:
                self.slot.state = ProcessState.CRASHED
            raise
        self.slot.pid = self.process.pid

    @property
    def silent_s(self) -> float:
        """How long ago its heart last beat, in seconds; 0 unless it has come to work, for a start may take its time."""
        if self.slot.state not in (ProcessState.RUNNING, ProcessState.STOPPING):
            return 0.0
        return (words.monotonic_ns() - self.slot.heartbeat_ns) / 1e9

    @property
    def running(self) -> bool:
        """Whether the process says that it does its work."""
        runs = self.process is not None and self.slot.state == ProcessState.RUNNING
        self.proven = self.proven or runs
        return runs

    @property
    def connected(self) -> bool:
        """Whether one of its connections to a vendor is up, or was when it died."""
        up = (ConnectionState.SUBSCRIBING, ConnectionState.LIVE, ConnectionState.STALE)
        return any(connection.state in up for connection in self.connections)

    def bury(self) -> int:
        """Let go of a process that is gone (or kill it); return its exit status."""
        assert self.process is not None
        status = self.process.kill()
        self.process = None
        self.slot.exit_status = status
        self.slot.state = ProcessState.CRASHED if status else ProcessState.STOPPED
        for connection in self.connections:
            if connection.state != ConnectionState.UNUSED:
                # Whoever would have said so is gone.
                connection.set_state(ConnectionState.DOWN)
        return status


def describe_exit(status: int) -> str:
    """Say in words how a process ended."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"

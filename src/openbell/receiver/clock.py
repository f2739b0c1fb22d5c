"""The market's clock: tells the workers, at the moment it happens, that a session begins, pauses, or ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from openbell.config import Change
from openbell.record import MarketStatus

log = logging.getLogger("openbell.receiver")

_LOOK_S: Final = 1.0
"""Longest sleep: a wall clock that is stepped, a machine that slept, or a new symbol is noticed after so long."""
_DRAIN_S: Final = 0.001
_PASS_LOOKS: Final = 10_000
"""How often it looks, `_DRAIN_S` apart, whether what came before a session is in the rings; it begins then anyway."""


class StatusSink(Protocol):
    """What the clock needs of a frame listener."""

    def publish_status(self, session: int, status: int) -> None:
        """Put one STATUS record into every ring."""

    def drain(self) -> int:
        """Move what had no room into the rings; return how many records still wait."""


class MarketClock:
    """Publishes each change of a schedule when it is due; and what holds once more where symbols have come since.

    Parameters
    ----------
    schedule : sequence of Change
        In order. What holds at the start is published at once.
    sink : StatusSink
        A listener that no connection uses.
    known : callable
        How many symbols the feed knows. A row that is handed out later, for a symbol of an open source, has no session
        until it is told one; the others take no harm from hearing it twice.
    waiting : callable
        Whether something that was received waits for room in a ring: it is of the session before, so a new one does not
        begin until it has passed.
    wall_ns : callable
        Nanoseconds since the epoch; for tests.
    sleep : callable
        As ``asyncio.sleep``; for tests.
    """

    def __init__(
        self,
        schedule: Sequence[Change],
        sink: StatusSink,
        known: Callable[[], int] = lambda: 0,
        waiting: Callable[[], bool] = lambda: False,
        wall_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._schedule = tuple(schedule)
        self._sink = sink
        self._known = known
        self._waiting = waiting
        self._wall_ns = wall_ns
        self._sleep = sleep
        self._next = 0
        self._holds: Change | None = None
        self._told = 0

    async def run(self) -> None:
        """Publish for as long as the schedule goes."""
        while self._next < len(self._schedule):
            await self._publish_due()
            if self._next < len(self._schedule):
                wait_s = (self._schedule[self._next].at_ns - self._wall_ns()) / 1e9
                await self._sleep(min(max(wait_s, 0.0), _LOOK_S))
        if self._schedule:
            log.error(
                "the schedule ends with session %d: sessions roll no more; start the feed again, with a newer "
                "exchange_calendars if it is the calendar that ends",
                self._schedule[-1].session,
            )

    async def _publish_due(self) -> None:
        """Publish the last change that is due; those before it are over, and it says all that they said."""
        now_ns, due = self._wall_ns(), None
        # Before the change is published: whoever comes later is told later.
        known = self._known()
        # Never backwards: a clock that is set back does not bring yesterday's session with it.
        while self._next < len(self._schedule) and self._schedule[self._next].at_ns <= now_ns:
            due = self._schedule[self._next]
            self._next += 1
        if due is not None:
            if self._holds is not None and due.session != self._holds.session:
                await self._let_pass()
            self._holds = due
            log.info("session %d: %s", due.session, MarketStatus(due.status).name.lower())
        elif self._holds is None or known == self._told:
            return
        self._told = known
        self._sink.publish_status(self._holds.session, self._holds.status)
        while self._sink.drain():
            await asyncio.sleep(_DRAIN_S)

    async def _let_pass(self) -> None:
        """Wait until what was received so far is in the rings; not for ever, where the workers never catch up."""
        for _ in range(_PASS_LOOKS):
            if not self._waiting():
                return
            await self._sleep(_DRAIN_S)
        log.warning("the workers are behind: some of what came before this session counts for it")

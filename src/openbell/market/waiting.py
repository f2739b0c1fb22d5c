"""Waiting until a market has news: in a thread, or in a task while one thread waits for all of them.

Who waits sleeps on a bell that all readers of the feed share; the workers ring it only if somebody sleeps there.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from openbell.core.ring import positions
from openbell.core.watch import Watch
from openbell.errors import FeedGone, FeedNotFound, InvalidArgument, OpenBellError
from openbell.market.attachment import LOOK_S

if TYPE_CHECKING:
    import asyncio

    from openbell.market.attachment import Attachment
    from openbell.market.session import Session

_SLICE_S = 0.1
"""How long the end of a feed that was killed, and rings nobody, may stay unnoticed by who waits; plus what its silence
takes to be one."""
_IDLE_S = 1.0
"""How long the thread that waits for tasks stays when none does."""


class Waiter:
    """What one thread or task was told of a market's news. For one at a time.

    Parameters
    ----------
    attachment : Attachment
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._session: Session | None = None
        self._watch: Watch | None = None

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for news; see `Market.wait`. With a time of 0 it only looks."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            session = self._present()
            if session is not None and session is not self._session and self._begin(session):
                return True
            left = max(0.0, deadline - time.monotonic())
            if session is self._session and self._watch is not None:
                # In slices: a feed that is killed rings no bell.
                if self._watch.wait(int(min(left, _SLICE_S) * 1e9)):
                    return True
            elif left:
                time.sleep(min(LOOK_S, left))
            if left <= 0:
                return False

    def _present(self) -> Session | None:
        """Return what runs now; None if nothing does and that is to be waited for."""
        try:
            return self._attachment.session(0.0)
        except FeedGone:
            if not self._attachment.reattach:
                raise
            return None

    def _begin(self, session: Session) -> bool:
        """Turn to a run of the feed; return whether there is news in it for somebody who knows nothing of it."""
        try:
            rings = session.rings()
            # It never spins: what follows in Python takes longer than a wake-up.
            self._watch = Watch(rings, "applied", session.consumers.applied_bell, "park")
        except FeedNotFound:
            # It is over already.
            return False
        again, self._session = self._session is not None, session
        # Who was reading another run is to know of this one, though nothing may have come yet.
        return again or any(positions(ring)["applied"] for ring in rings)


class Waiters:
    """The waiters of a market: one for each thread and each task, so that nobody takes another one's news.

    Parameters
    ----------
    attachment : Attachment
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._lock = threading.Lock()
        self._of: weakref.WeakKeyDictionary[Any, Waiter] = weakref.WeakKeyDictionary()
        self._bellman = _Bellman(attachment)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait in the calling thread."""
        return self._waiter(threading.current_thread()).wait(checked(timeout_s))

    async def wait_async(self, timeout_s: float | None) -> bool:
        """Wait in the calling task."""
        import asyncio

        return await self.wait_as(self._waiter(asyncio.current_task()), timeout_s)

    async def wait_as(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Wait in the calling task with a waiter of its own."""
        return await self._bellman.wait(waiter, checked(timeout_s))

    def _waiter(self, whose: object) -> Waiter:
        with self._lock:
            found = self._of.get(whose)
            if found is None:
                found = self._of[whose] = Waiter(self._attachment)
            return found


def checked(timeout_s: float | None) -> float | None:
    """Return a time to wait, None for one without an end.

    Raises
    ------
    InvalidArgument
        It is negative, or no number.
    """
    if timeout_s is not None and not timeout_s >= 0:
        raise InvalidArgument(f"timeout must be a number of seconds from 0, or None for no end, not {timeout_s!r}")
    return None if timeout_s == math.inf else timeout_s


class _Bellman:
    """A thread that waits in the place of any number of tasks, and lives only as long as there are some.

    It tells every task that something has happened. Whether that is news to it, each sees for itself.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._changed = threading.Condition()
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._thread: threading.Thread | None = None

    async def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Return whether there is news for `waiter` within the time."""
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        # In a busy market there is news at once, every time: other tasks are to have their turn nevertheless.
        await asyncio.sleep(0)
        while True:
            # Announced before the look, so that what happens after the look is told.
            rung = loop.create_future()
            self._enter(rung, loop)
            try:
                if waiter.wait(0.0):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                await asyncio.wait((rung,), timeout=None if left == math.inf else left)
            finally:
                with self._changed:
                    self._waiting.pop(rung, None)

    def _enter(self, rung: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            self._waiting[rung] = loop
            if self._thread is None:
                # A daemon: a program that ends does not wait for news.
                self._thread = threading.Thread(target=self._run, name="openbell-wait", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        waiter = Waiter(self._attachment)
        try:
            while self._wanted():
                try:
                    news = waiter.wait(_SLICE_S)
                except OpenBellError:
                    # Each task meets it by its own look, and raises it where it is understood.
                    news = True
                if news:
                    self._ring()
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    # It ends by an error: tasks look for themselves, and start the next one.
                    self._thread = None
            self._ring()

    def _wanted(self) -> bool:
        with self._changed:
            if not self._waiting:
                self._changed.wait(_IDLE_S)
            if self._waiting:
                return True
            # Under the lock: a task that comes now starts another thread.
            self._thread = None
            return False

    def _ring(self) -> None:
        with self._changed:
            waiting, self._waiting = self._waiting, {}
        for rung, loop in waiting.items():
            # A loop that was closed meanwhile has no task any more that waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_tell, rung)


def _tell(rung: asyncio.Future[None]) -> None:
    if not rung.done():
        rung.set_result(None)

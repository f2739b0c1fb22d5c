"""Replacing a socket before the other side ends it, without a break: the new one runs beside the old one first.

The old one notes what it publishes; the new one keeps what comes unread until the old one has come to its end, and then
publishes what the old one had not. So nothing is lost and nothing comes twice, as long as events are numbered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openbell.monitor.history import EndReason
from openbell.receiver.dial import DialError
from openbell.receiver.life import Life

if TYPE_CHECKING:
    from openbell.core.overlap import Overlap

log = logging.getLogger("openbell.receiver")

_PARKED_MOST: Final = 64 << 20
"""Bytes that the new one may keep; more than that, and it would rather be late than cost so much memory."""
_PATIENCE_S: Final = 30.0
"""Most time from its connecting to its being live."""
_LOOK_S: Final = 0.01
_ON_THE_WAY_S: Final = 10.0
"""How long the new one is asked whether it brings what the old one had brought."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a switch needs of its connection.

    Attributes
    ----------
    make : callable
        Makes the new life, parked.
    connect : callable
        Opens it when it may be opened; returns False if asked to stop before.
    overlap : callable
        Makes what the old one's events are noted in.
    tell_gap : callable
        Tells that something may be missing from the end of a life on.
    let_go : callable
        Is done with a life that has ended: what waits goes into the rings, its tasks end.
    leave : callable
        Ends a life because we were asked to stop.
    stopping : callable
        Whether we were.
    where : str
        What the connection is called.
    """

    make: Callable[[], Life]
    connect: Callable[[Life], Awaitable[bool]]
    overlap: Callable[[], Overlap]
    tell_gap: Callable[[Life], None]
    let_go: Callable[[Life], Awaitable[None]]
    leave: Callable[[Life], Awaitable[None]]
    stopping: Callable[[], bool]
    where: str


class Switch:
    """One attempt to replace a life.

    Parameters
    ----------
    old : Life
        It is live.
    means : Means

    Attributes
    ----------
    under_way : bool
        Whether the new one is connected: if the old one ends now, the new one takes over as it is.
    """

    def __init__(self, old: Life, means: Means) -> None:
        self._old = old
        self._means = means
        self.under_way = False

    async def run(self, overlap_s: float) -> Life | None:
        """Return the new life once it has taken over, or None if it could not be had: the old one goes on then.

        Parameters
        ----------
        overlap_s : float
            How long both run side by side.
        """
        old, means = self._old, self._means
        assert old.listener is not None
        overlap = means.overlap()
        old.listener.note(overlap)
        new = means.make()
        taken = False
        try:
            if not await self._connected(new):
                return None
            if not await self._side_by_side(new, overlap_s):
                return None
            if old.ended.done():
                log.warning("%s: it ended before its successor was ready", means.where)
                await means.let_go(old)
                means.tell_gap(old)
            else:
                await old.say_goodbye(EndReason.REPLACED, "replaced without a break")
                await means.let_go(old)
            taken = True
        finally:
            if not taken:
                await self._dispose(new, overlap)
        assert new.listener is not None
        new.unpark()
        kept = new.listener.release(overlap)
        # What was on its way to both has come to both by then.
        asyncio.get_running_loop().call_later(_ON_THE_WAY_S, new.listener.release, None)
        log.info("%s: replaced; %d messages had come over both", means.where, kept)
        return new

    async def _dispose(self, new: Life, overlap: Overlap) -> None:
        """Be done with a new one that is not to take over."""
        if self._old.ended.done() and new.listener is not None:
            # Stopped in between, or both ended at once: what it kept came over no other.
            new.unpark()
            new.listener.release(overlap)
        if new.line is not None and not new.ended.done():
            if self._means.stopping():
                await self._means.leave(new)
            else:
                await new.say_goodbye(EndReason.FAULT, "not needed any more")
        new.end(EndReason.FAULT, "not needed any more")
        await self._means.let_go(new)

    async def _connected(self, new: Life) -> bool:
        opening = asyncio.ensure_future(self._means.connect(new))
        try:
            await asyncio.wait({opening, self._old.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return False
            return opening.result()
        except DialError as error:
            log.error("%s: cannot connect its successor: %s", self._means.where, error)
            return False
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)

    async def _side_by_side(self, new: Life, overlap_s: float) -> bool:
        """Wait until both have run side by side; return whether the new one is to take over."""
        self.under_way = True
        old, where = self._old, self._means.where
        assert new.listener is not None
        until: float | None = None
        patient_until = time.monotonic() + _PATIENCE_S
        while not old.ended.done():
            now = time.monotonic()
            if new.ended.done():
                log.error("%s: its successor ended at once: %s", where, new.words)
                return False
            if until is None and new.was_live:
                until = now + overlap_s
            if until is not None and now >= until:
                return True
            if new.listener.parked_bytes > _PARKED_MOST:
                # It has all that the old one has: they have run side by side for long enough to fill that.
                return new.was_live
            if until is None and now > patient_until:
                log.error("%s: its successor was not subscribed within %g s", where, _PATIENCE_S)
                return False
            await asyncio.sleep(_LOOK_S)
        return not new.ended.done()

"""A connection through all its lives: connect, stay, notice the end, tell the gap, come back.

Everything here is cold: the frames themselves go from picows to the compiled listener without passing this file. What
goes wrong on the network never leaves :meth:`Connection.run`; it is logged (without secrets), counted, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from openbell.config import Overflow, Source
from openbell.monitor import history as histories
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason, History
from openbell.receiver.backoff import Backoff
from openbell.receiver.dial import Dialer, DialError
from openbell.receiver.gaps import Gaps
from openbell.receiver.hours import Hours
from openbell.receiver.life import Common, ConnectionBlock, Life, describe_fault
from openbell.receiver.listeners import UNCONNECTED, Hooks, Listener
from openbell.receiver.pressure import PauseCounter
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.receiver.sampling import Sampler
from openbell.receiver.subscriber import Subscriber
from openbell.receiver.switch import Means, Switch
from openbell.receiver.timing import Timing
from openbell.receiver.watchdog import Rate
from openbell.vendors.base import Vendor

if TYPE_CHECKING:
    from openbell.core.holes import Holes
    from openbell.core.overlap import Overlap
    from openbell.receiver.repair import Repair

log = logging.getLogger("openbell.receiver")

_EARLY: Final = 0.98
"""Part of the life that a vendor grants after which a connection is replaced: 23 and a half hours of 24."""


class Connection:
    """One connection of a source.

    Parameters
    ----------
    source : Source
        What to ask for on this connection; its symbols are in the symbol table before :meth:`run` is called.
    vendor : Vendor
        The dialect.
    make_listener : callable
        Makes a frame listener for each new connection; see :func:`~openbell.receiver.listeners.compiled_listeners`.
    block : ConnectionBlock
        Where state, times and counts of this connection go.
    receiver : PauseCounter
        The receiver's counters: ``paused_ns`` is added there.
    timing : Timing
        Intervals that nobody configures.
    start_after_s : float
        How long after :meth:`run` was called it is opened first.
    subscriber : Subscriber, optional
        What is asked for on this connection, and when; by default, the symbols of `source`, and at any time.
    overflow : str
        What happens when a ring is full: ``"block"``, ``"conflate"`` or ``"drop"``.
    book_levels : int
        Levels of the order book that are published.
    concerned : callable
        Returns the symbols that an interruption concerns; None: all that the feed has, for it has no other connection.
    history : History
        Where its lives are written down; None: nowhere.
    hours : Hours
        When the market is open; None: nobody knows.
    make_sampler : callable
        Makes, of the connection's subscriber, what looks after its single symbols; None: nobody does.
    make_overlap : callable
        Makes what is needed to replace a connection without a break; None: none is.
    holes : Holes
        Follows what the vendor numbers without a break, through all lives; None: it numbers nothing so.
    """

    def __init__(
        self,
        source: Source,
        vendor: Vendor,
        make_listener: Callable[[Hooks], Listener],
        block: ConnectionBlock,
        receiver: PauseCounter,
        timing: Timing | None = None,
        *,
        start_after_s: float = 0.0,
        subscriber: Subscriber | None = None,
        overflow: Overflow = "block",
        book_levels: int = 0,
        concerned: Callable[[], Iterable[bytes]] | None = None,
        history: History | None = None,
        hours: Hours | None = None,
        make_sampler: Callable[[Subscriber], Sampler] | None = None,
        make_overlap: Callable[[], Overlap] | None = None,
        holes: Holes | None = None,
    ) -> None:
        liveness = source.liveness
        self._source = source
        self._vendor = vendor
        self._block = block
        self._timing = timing or Timing()
        self._start_after_s = start_after_s
        self._backoff = Backoff(liveness.backoff_first_s, liveness.backoff_longest_s, vendor.min_reconnect_s)
        redactor = Redactor(vendor)
        subscriber = subscriber or Subscriber(source, vendor, block, RateLimitedLog(log))
        self._common = Common(
            source=source,
            vendor=vendor,
            make_listener=make_listener,
            # What belongs to one life each brings itself.
            hooks=replace(
                UNCONNECTED,
                plan=vendor.plan(),
                prefix=source.prefix.encode(),
                open_symbols=source.open,
                max_message_bytes=source.max_message_bytes,
                overflow=overflow,
                book_levels=book_levels,
                holes=holes,
            ),
            dialer=Dialer(source, vendor, redactor),
            subscriber=subscriber,
            block=block,
            receiver=receiver,
            history=history or History(memoryview(bytearray(histories.size(1))), 0),
            timing=self._timing,
            redactor=redactor,
            limited=subscriber.limited,
            where=vendor.display_url(),
            rate=Rate(liveness.silence_s, liveness.silence_times),
            hours=Hours() if hours is None or liveness.always_open else hours,
        )
        self._gaps = Gaps(block, self._common.where, concerned)
        self._sampler = make_sampler(subscriber) if make_sampler is not None else None
        self._make_overlap = make_overlap
        self._repair = _repair(source, vendor, block, redactor) if liveness.repair_after_gap else None
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()
        self._stop_by = math.inf
        self._state = ConnectionState.UNUSED
        self._life: Life | None = None
        self._switch: Switch | None = None
        self._attempts = 0
        self._not_before = 0.0
        self._leaving = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""
        return self._state

    @property
    def waiting(self) -> bool:
        """Whether something that came over it waits for room in a ring."""
        return self._life is not None and self._life.pressure is not None and self._life.pressure.waiting

    # ---- from outside ----

    async def run(self) -> None:
        """Keep the connection up until :meth:`stop`, or until cancelled."""
        self._finished.clear()
        self._gaps.recover(self._common.history)
        try:
            self._set_state(ConnectionState.CONNECTING)
            await self._sleep(self._start_after_s)
            while not self._stopping.is_set():
                try:
                    pause_s = await self._attempt()
                except Exception as error:  # noqa: BLE001 - it costs an attempt, not the process
                    log.error("%s: %s", self._common.where, describe_fault(error, self._common.redactor))
                    pause_s = self._failed()
                self._set_state(ConnectionState.DOWN)
                if not self._stopping.is_set():
                    log.info("%s: next attempt in %.1f s", self._common.where, pause_s)
                    await self._sleep(pause_s)
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            if self._life is not None:
                await self._life.finish()
                self._give_up_waiting(self._life)
            self._set_state(ConnectionState.DOWN)
            self._common.limited.flush()
            self._finished.set()

    async def stop(self) -> None:
        """End :meth:`run`: stop reading, empty the side queue, publish, close politely. Returns when it has ended.

        What the workers have not made room for within ``timing.stop_s`` is counted as lost.
        """
        self._stop_by = min(self._stop_by, time.monotonic() + self._timing.stop_s)
        self._stopping.set()
        await self._finished.wait()

    # ---- one attempt, and what comes of it ----

    async def _attempt(self) -> float:
        """Connect, and stay until the connection ends or `stop` is called; return the pause before the next attempt."""
        self._set_state(ConnectionState.CONNECTING)
        life = self._life = Life(self._common, self._on_change)
        self._leaving.clear()
        try:
            if not await self._connect(life):
                return 0.0
        except DialError as error:
            log.error("%s: cannot connect: %s", self._common.where, error)
            return self._failed()
        while (successor := await self._stay(life)) is not None:
            life = successor
        self._give_up_waiting(life)
        life.forget()
        return 0.0 if life.why is EndReason.STOPPED else self._pause_after(life)

    async def _connect(self, life: Life) -> bool:
        """Open `life` when it is its turn; return False if asked to stop before.

        Raises
        ------
        DialError
            It could not be opened.
        """
        await self._sleep(await life.session.turn_s())
        if self._stopping.is_set():
            return False
        dialling = asyncio.create_task(life.open())
        if not await self._or_stop(dialling):
            await life.finish()
            return False
        try:
            dialling.result()
        except DialError as error:
            self._stay_away(error.retry_after_s, refused=error.refused)
            raise
        log.info("%s: connected", self._common.where)
        self._block.add("connects")
        life.start(self._attempts)
        self._attempts = 0
        self._on_change(life)
        return True

    async def _stay(self, life: Life) -> Life | None:
        """Stay until `life` ends, or `stop` is called; return the life that has taken over, if any."""
        if self._sampler is not None:
            self._sampler.restart()
        replacing = asyncio.create_task(self._replace(life))
        watching = asyncio.create_task(self._look_after_symbols(life))
        try:
            asked = not await self._or_stop(life.ended, replacing)
            if not asked and self._switch is not None and self._switch.under_way:
                # It ended while its successor came up, which takes over as it is.
                asked = not await self._or_stop(replacing, replacing)
            if replacing.done() and (successor := replacing.result()) is not None:
                return successor
        finally:
            for task in (replacing, watching):
                task.cancel()
            await asyncio.gather(replacing, watching, return_exceptions=True)
        if asked and not life.ended.done():
            await self._leave(life)
            log.info("%s: closed", self._common.where)
        await self._let_go(life)
        if life.why not in (EndReason.STOPPED, EndReason.REPLACED):
            self._gaps.tell(life)
            await self._emptied(life)
        return None

    async def _leave(self, life: Life) -> None:
        """End a life because we were asked to stop."""
        await life.leave(lambda: self._stop_by)

    async def _let_go(self, life: Life) -> None:
        """Be done with a life that has ended: everything read goes into the rings, and its tasks end."""
        if life.why not in (EndReason.STOPPED, EndReason.REPLACED) and life.line is not None:
            self._block.add("disconnects")
            log.warning("%s: disconnected: %s", self._common.where, life.words)
        if life.unwelcome:
            log.error("%s: the vendor wants fewer connections or requests; coming back later", self._common.where)
            self._stay_away(0.0, refused=True)
        await self._emptied(life)
        await life.finish()

    async def _emptied(self, life: Life) -> None:
        if life.pressure is not None:
            await life.pressure.empty(lambda: self._stop_by)

    def _failed(self) -> float:
        """Count an attempt that failed, and return the pause before the next one."""
        self._attempts += 1
        self._block.add("errors")
        if self._life is not None and self._life.transport is not None:
            self._life.end(EndReason.FAULT, "given up")
        return self._pause_s()

    def _stay_away(self, seconds: float, *, refused: bool = False) -> None:
        """Note that the other side is to be left alone for a while, whoever asks for the next connection."""
        if refused:
            seconds = max(seconds, self._source.liveness.after_refusal_s(local=self._source.local))
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _pause_s(self) -> float:
        """Return the pause before the next attempt, in seconds."""
        return self._backoff.next_s(self._not_before - time.monotonic())

    def _pause_after(self, life: Life) -> float:
        """Return how long to wait after the end of `life`."""
        liveness, semantics = self._source.liveness, self._vendor.semantics
        if life.why is not EndReason.SILENT and time.monotonic() - life.began >= liveness.stable_s:
            self._backoff.reset()
        if not life.goodbye and not semantics.overlaps:
            # It may still count this one, and would count two.
            asked = liveness.forgets_after_s
            self._stay_away(semantics.forgets_after_s if asked is None else asked)
        return self._pause_s()

    # ---- replaced without a break ----

    async def _replace(self, life: Life) -> Life | None:
        """Replace `life` before the other side ends it; return its successor, or None if there will be none."""
        if not self._vendor.semantics.overlaps or self._make_overlap is None:
            # Nothing will ever replace it: wait to be cancelled.
            await asyncio.Event().wait()
            return None
        means = Means(
            make=lambda: Life(self._common, self._on_change, parked=True),
            connect=self._connect,
            overlap=self._make_overlap,
            tell_gap=self._gaps.tell,
            let_go=self._let_go,
            leave=self._leave,
            stopping=self._stopping.is_set,
            where=self._common.where,
        )
        while True:
            await self._due(life)
            switch = self._switch = Switch(life, means)
            try:
                successor = await switch.run(self._source.liveness.overlap_s)
            except Exception as error:  # noqa: BLE001 - it may cost a gap, not the receiver
                log.error("%s: cannot replace it: %s", self._common.where, describe_fault(error, self._common.redactor))
                self._block.add("errors")
                successor = None
            if successor is not None:
                self._give_up_waiting(life)
                life.forget()
                self._life, self._switch = successor, None
                self._leaving.clear()
                self._block.add("switches")
                self._on_change(successor)
                return successor
            self._switch = None
            if life.ended.done():
                # Both are gone.
                return None
            # The old one is as good as ever; and when it goes, there is the usual way back.
            await asyncio.sleep(self._pause_s())

    async def _due(self, life: Life) -> None:
        """Wait until `life` is to be replaced: by the clock, or because the other side says that it leaves."""
        liveness, semantics = self._source.liveness, self._vendor.semantics
        asked = liveness.replace_after_s
        after_s = semantics.lifetime_s * _EARLY if asked is None else asked
        left_s = max(0.0, life.began + after_s - time.monotonic()) if after_s else None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), left_s)

    # ---- what its lives say ----

    def _on_change(self, life: Life) -> None:
        """Show what a life is doing, if it is the present one."""
        if life is not self._life:
            return
        if life.leaving:
            self._leaving.set()
        self._gaps.tell_hole(life)
        state = life.state
        if state is ConnectionState.LIVE and self._state is not state:
            log.info("%s: live, %d symbols", self._common.where, len(self._common.subscriber.wanted))
        if state is ConnectionState.LIVE:
            # A successor may have been live before the gap began: the state does not change then.
            ended = self._gaps.end(life)
            if ended and self._repair is not None and life.listener is not None:
                self._begin_repair(life.listener, self._repair)
        self._set_state(state)

    def _begin_repair(self, listener: Listener, repair: Repair) -> None:
        repairing = asyncio.create_task(self._guarded(self._repair_after(listener, repair)))
        self._background.add(repairing)
        repairing.add_done_callback(self._background.discard)

    async def _repair_after(self, listener: Listener, repair: Repair) -> None:
        await repair.run(listener, tuple(self._common.subscriber.wanted.values()))

    async def _look_after_symbols(self, life: Life) -> None:
        if self._sampler is not None:
            await self._guarded(self._sampler.run(lambda: life.moving and self._common.hours.open))

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._state = state
            self._block.set_state(state)

    # ---- waiting ----

    def _give_up_waiting(self, life: Life) -> None:
        """Count as lost what still waits for room in a ring when its connection is over."""
        if life.listener is not None and (lost := life.listener.abandon()):
            where = self._common.where
            log.error("%s: %d records were still waiting for a worker at the end; they are lost", where, lost)

    async def _guarded(self, step: Awaitable[None]) -> None:
        """Await `step`; a mistake in what can be done without is counted and told."""
        try:
            await step
        except Exception as error:  # noqa: BLE001
            log.error("%s: %s", self._common.where, describe_fault(error, self._common.redactor))
            self._block.add("errors")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless asked to stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _or_stop(self, task: asyncio.Task[Any], *others: asyncio.Task[Any]) -> bool:
        """Wait for `task`, or one of the others; return False if asked to stop before. `task` is cancelled then, unless
        there are others."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping, *others}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            stopping.cancel()
        if any(each.done() for each in (task, *others)):
            return True
        if not others:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return False


def _repair(source: Source, vendor: Vendor, block: ConnectionBlock, redactor: Redactor) -> Repair:
    # Imported where it is wanted: it brings HTTP with it, and a receiver that is started again is in a hurry.
    from openbell.receiver.repair import Repair

    return Repair(source, vendor, block, redactor)

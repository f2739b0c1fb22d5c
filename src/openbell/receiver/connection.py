"""One connection's life: connect, subscribe, keep alive, notice its death, come back.

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
from functools import partial
from typing import Any, Final, Protocol, cast

from picows import WSCloseCode, WSListener, WSMsgType, WSProtocolError, WSTransport

from openbell.config import Overflow, Source
from openbell.monitor.control import ConnectionState
from openbell.reasons import Reason
from openbell.receiver.backoff import Backoff
from openbell.receiver.dial import Dialer, DialError
from openbell.receiver.fallback import Fallback
from openbell.receiver.listeners import Hooks, Listener
from openbell.receiver.pressure import Pressure, hold_reading
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.receiver.subscriber import Session, Subscriber
from openbell.receiver.timing import Timing
from openbell.receiver.turns import Turns
from openbell.record import GapReason
from openbell.vendors.base import Control, Vendor

log = logging.getLogger("openbell.receiver")

COUNT_UNKNOWN: Final = -1


class ConnectionBlock(Protocol):
    """The connection's words in the control segment."""

    symbols: int

    def set_state(self, state: ConnectionState) -> None:
        """Say what the connection is doing."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""

    def set_time(self, name: str) -> None:
        """Store the present time."""


class ReceiverBlock(Protocol):
    """The receiver's words in the control segment, which all its connections share."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""


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
    receiver : ReceiverBlock
        The receiver's counters: ``paused_ns`` is added there.
    timing : Timing
        Intervals.
    start_after_s : float
        How long after :meth:`run` was called it is opened first: the vendor's spacing, among those of an account.
    turns : Turns
        When it may be opened, among the connections of its account in this receiver; None: at any time.
    overflow : str
        What happens when a ring is full: ``"block"``, ``"conflate"`` or ``"drop"``.
    book_levels : int
        Levels of the order book that are published.
    concerned : callable
        Returns the symbols that an interruption concerns; None: all that the feed has, for it has no other connection.
    """

    def __init__(
        self,
        source: Source,
        vendor: Vendor,
        make_listener: Callable[[Hooks], Listener],
        block: ConnectionBlock,
        receiver: ReceiverBlock,
        timing: Timing | None = None,
        *,
        start_after_s: float = 0.0,
        turns: Turns | None = None,
        overflow: Overflow = "block",
        book_levels: int = 0,
        concerned: Callable[[], Iterable[bytes]] | None = None,
    ) -> None:
        self._source = source
        self._vendor = vendor
        self._make_listener = make_listener
        self._block = block
        self._receiver = receiver
        self._timing = timing or Timing()
        self._start_after_s = start_after_s
        self._turns = turns or Turns()
        self._redactor = Redactor(vendor)
        self._dialer = Dialer(source, vendor, self._redactor, self._timing.handshake_s, self._timing.connect_s)
        self._backoff = Backoff(self._timing.backoff_first_s, self._timing.backoff_longest_s, vendor.min_reconnect_s)
        self._limited = RateLimitedLog(log)
        self._where = vendor.display_url()
        self._hooks = Hooks(
            plan=vendor.plan(),
            fallback=Fallback(vendor, self._on_control, self._limited),
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
            on_pressure=self._on_pressure,
            prefix=source.prefix.encode(),
            open_symbols=source.open,
            max_message_bytes=source.max_message_bytes,
            overflow=overflow,
            book_levels=book_levels,
        )
        self._subscriber = Subscriber(source, vendor, block, self._limited)
        self._concerned = concerned
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()
        self._stop_by = math.inf
        self._state = ConnectionState.UNUSED
        self._listener: Listener | None = None
        self._transport: WSTransport | None = None
        self._pressure: Pressure | None = None
        self._session: Session | None = None
        self._close = ""
        self._connected_at: float | None = None

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""
        return self._state

    @property
    def waiting(self) -> bool:
        """Whether something that came over it waits for room in a ring."""
        return self._pressure is not None and self._pressure.waiting

    # ---- from outside ----

    async def run(self) -> None:
        """Keep the connection up until :meth:`stop`, or until cancelled."""
        self._finished.clear()
        self._block.symbols = len(self._source.symbols)
        try:
            self._set_state(ConnectionState.CONNECTING)
            await self._sleep(self._start_after_s)
            while not self._stopping.is_set():
                self._connected_at = None
                await self._guarded(self._once())
                self._give_up_waiting()
                if self._connected_at is not None and time.monotonic() - self._connected_at >= self._timing.stable_s:
                    self._backoff.reset()
                self._set_state(ConnectionState.DOWN)
                if not self._stopping.is_set():
                    await self._pause(self._backoff.next_s())
        finally:
            self._abandon()
            self._give_up_waiting()
            self._set_state(ConnectionState.DOWN)
            self._limited.flush()
            self._finished.set()

    async def stop(self) -> None:
        """End :meth:`run`: stop reading, empty the side queue, publish, close politely. Returns when it has ended.

        What the workers have not made room for within ``timing.stop_s`` is counted as lost.
        """
        self._stop_by = min(self._stop_by, time.monotonic() + self._timing.stop_s)
        self._stopping.set()
        await self._finished.wait()

    # ---- one connection ----

    async def _guarded(self, step: Awaitable[None]) -> None:
        """Await `step`; a mistake of ours or of a vendor's module costs an attempt, not the process."""
        try:
            await step
        except Exception as error:  # noqa: BLE001
            # The words of an exception may quote what it choked on: its traceback is not logged, only where it ended.
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "?"
            said = self._redactor.quoted(str(error))
            log.error("%s: unexpected %s at %s: %s", self._where, type(error).__name__, where, said)
            self._block.add("errors")
            self._abandon()

    async def _once(self) -> None:
        """Connect, and stay until the connection ends or :meth:`stop` is called."""
        self._listener = self._transport = self._pressure = None
        # Answers may come before the dialer returns: a session is there before the socket.
        self._session = self._subscriber.open(self._promote)
        self._close = ""
        self._set_state(ConnectionState.CONNECTING)
        await self._sleep(self._turns.wait_s(self._vendor.connection_spacing_s))
        if self._stopping.is_set():
            return
        dialling = asyncio.create_task(self._dialer.open(self._new_listener))
        if not await self._or_stop(dialling):
            return
        try:
            transport, _ = dialling.result()
        except DialError as error:
            log.error("%s: cannot connect: %s", self._where, error)
            self._block.add("errors")
            return
        self._transport = transport
        self._connected_at = time.monotonic()
        log.info("%s: connected", self._where)
        self._block.add("connects")
        self._set_state(ConnectionState.SUBSCRIBING)
        tasks = [
            asyncio.create_task(self._guarded(self._session.run(partial(transport.send, WSMsgType.TEXT)))),
            asyncio.create_task(self._guarded(self._watch(transport))),
        ]
        try:
            ended = asyncio.create_task(self._wait_disconnected(transport))
            by_itself = await self._or_stop(ended, keep=True)
            if not by_itself:
                await self._leave(transport, ended)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if by_itself:
            await self._after_disconnect()

    async def _wait_disconnected(self, transport: WSTransport) -> None:
        try:
            await transport.wait_disconnected()
        except WSProtocolError as error:
            code = int(error.code)
            if code == WSCloseCode.MESSAGE_TOO_BIG.value and self._listener is not None:
                self._listener.count(Reason.TOO_LARGE)
            self._close = f"protocol error {code}: {self._redactor.quoted(str(error))}"
        except Exception as error:  # noqa: BLE001 - a callback's exception, handed over by picows
            self._close = f"{type(error).__name__} in a callback: {self._redactor.quoted(str(error))}"

    async def _after_disconnect(self) -> None:
        """Finish with a connection that ended by itself: everything read goes into the rings, then the gap is told."""
        self._block.add("disconnects")
        log.warning("%s: disconnected: %s", self._where, self._close or "the other side closed")
        if self._listener is None or self._pressure is None:
            return
        await self._emptied(self._pressure)
        if self._listener.records_published:
            concerned = self._concerned() if self._concerned is not None else None
            self._listener.publish_gap(GapReason.DISCONNECT, COUNT_UNKNOWN, concerned)
            await self._emptied(self._pressure)

    async def _leave(self, transport: WSTransport, ended: asyncio.Task[None]) -> None:
        """Close a connection because we were asked to."""
        hold_reading(transport)
        if self._listener is not None and self._pressure is not None:
            self._pressure.end()
            await self._emptied(self._pressure)
            self._listener.publish()
        transport.send_close(WSCloseCode.GOING_AWAY)
        transport.disconnect()
        done, _ = await asyncio.wait({ended}, timeout=self._timing.close_s)
        if not done:
            transport.disconnect(graceful=False)
            await ended
        log.info("%s: closed", self._where)

    def _abandon(self) -> None:
        """Drop the connection without ceremony, if there still is one."""
        if self._pressure is not None:
            self._pressure.end()
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)
        self._transport = None

    def _on_control(self, control: Control) -> None:
        """Take in what the vendor says about the connection."""
        if self._session is not None:
            self._session.on_control(control)

    # ---- liveness ----

    async def _watch(self, transport: WSTransport) -> None:
        """Notice data, silence and death."""
        timing = self._timing
        frames = self._frames()
        interval = min(1.0, timing.idle_s / 4, timing.idle_reply_s / 4)
        looked = time.monotonic()
        silence = 0.0
        asked_at: float | None = None
        while True:
            await asyncio.sleep(interval)
            self._limited.flush()
            now = time.monotonic()
            # A longer step is one in which we were not running ourselves: what came then is still to be read.
            silence += min(now - looked, 2 * interval)
            looked = now
            seen = self._frames()
            if seen != frames or (self._pressure is not None and self._pressure.active):
                if seen != frames:
                    self._block.set_time("last_frame_ns")
                frames, silence, asked_at = seen, 0.0, None
                if self._state is ConnectionState.STALE:
                    self._set_state(ConnectionState.SUBSCRIBING)
                self._promote()
            elif asked_at is not None and silence - asked_at >= timing.idle_reply_s:
                self._close = f"nothing came for {silence:.0f} s, not even an answer to a ping"
                transport.disconnect(graceful=False)
                return
            elif asked_at is None and silence >= timing.idle_s:
                asked_at = silence
                self._set_state(ConnectionState.STALE)
                transport.send_ping()

    def _frames(self) -> int:
        return 0 if self._listener is None else self._listener.frames

    def _promote(self) -> None:
        """Call the connection live once everything was asked for, and granted or followed by data."""
        session, listener = self._session, self._listener
        if self._state is not ConnectionState.SUBSCRIBING or session is None or listener is None:
            return
        if session.granted or (session.all_sent and listener.records_published):
            self._set_state(ConnectionState.LIVE)
            log.info("%s: live, %d symbols", self._where, len(self._source.symbols))

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._state = state
            self._block.set_state(state)

    # ---- called by the listener ----

    def _new_listener(self) -> WSListener:
        if self._stopping.is_set():
            # The answer to a handshake came after all when nobody waited for it any more.
            raise DialError("stopping")
        self._listener = self._make_listener(self._hooks)
        self._pressure = Pressure(self._listener, self._receiver, self._timing.drain_s)
        return cast(WSListener, self._listener)

    def _on_connected(self, transport: WSTransport) -> None:
        # Frames, and with them pressure, may come before the dialer returns.
        self._transport = transport

    def _on_disconnected(self, code: int, reason: str) -> None:
        if not self._close:
            said = f" {self._redactor.quoted(reason)}" if reason else ""
            self._close = f"closed with code {int(code)}{said}"

    def _on_pressure(self) -> None:
        if self._pressure is not None and self._transport is not None:
            self._pressure.begin(self._transport)

    # ---- waiting ----

    async def _emptied(self, pressure: Pressure) -> None:
        await pressure.empty(lambda: self._stop_by)

    def _give_up_waiting(self) -> None:
        """Count as lost what still waits for room in a ring when its connection is over."""
        if self._listener is not None and (lost := self._listener.abandon()):
            log.error("%s: %d records were still waiting for a worker at the end; they are lost", self._where, lost)

    async def _pause(self, seconds: float) -> None:
        """Say when the next attempt is, and wait for it."""
        log.info("%s: next attempt in %.1f s", self._where, seconds)
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless asked to stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _or_stop(self, task: asyncio.Task[Any], *, keep: bool = False) -> bool:
        """Wait for `task`; return False if asked to stop before (the task is cancelled then, unless `keep`)."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            stopping.cancel()
        if task.done():
            return True
        if not keep:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return False

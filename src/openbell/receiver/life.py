"""One life of a connection: one socket, from the moment it is asked for until its end.

A life knows its listener, its subscriptions, whether the other side is there and whether data comes. It knows nothing
of the lives before and after it: what follows from its end is :class:`~openbell.receiver.connection.Connection`'s.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, cast

from picows import WSCloseCode, WSListener, WSMsgType, WSProtocolError, WSTransport

from openbell.config import Source
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason, History, Line
from openbell.reasons import Reason
from openbell.receiver.dial import Dialer
from openbell.receiver.fallback import Fallback
from openbell.receiver.hours import Hours
from openbell.receiver.listeners import Hooks, Listener
from openbell.receiver.pressure import PauseCounter, Pressure, hold_reading
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.receiver.sockets import hear_end, local_port, queue_bytes
from openbell.receiver.subscriber import Subscriber
from openbell.receiver.timing import Timing
from openbell.receiver.watchdog import Pings, Rate, Silence, Step
from openbell.vendors.base import Control, Notice, Refusal, Vendor

log = logging.getLogger("openbell.receiver")

_ABNORMAL: Final = 1006
"""What a listener calls an end without a CLOSE frame; it never comes over the wire."""
_UNWELCOME: Final = frozenset({401, 403, 429, 606})
"""Errors after which coming back soon makes things worse: a token that is refused, too many connections or requests.
(HTTP's numbers, which vendors use on WebSockets too, and AllTick's 606.)"""
_CUT: Final = "cut without a goodbye"
_APPLICATION_CODES: Final = 4000
"""CLOSE codes from here on belong to applications; many add HTTP's numbers."""


class ConnectionBlock(Protocol):
    """The connection's words in the control segment."""

    symbols: int
    messages: int
    queue_bytes: int
    queue_peak_bytes: int
    silent: int
    kept: int
    confirmed: int
    refused: int
    unconfirmed: int

    def set_state(self, state: ConnectionState) -> None:
        """Say what the connection is doing."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""

    def set_time(self, name: str) -> None:
        """Store the present time."""


@dataclass(slots=True)
class Common:
    """What all lives of a connection have in common.

    Attributes
    ----------
    hooks : Hooks
        Complete but for what belongs to one life.
    rate : Rate
        How often data comes; kept from one life to the next.
    hours : Hours
        When no data is to be expected.
    withdrawn : int
        `Subscriber.withdrawn` when `rate` began.
    answers, knows_no_pings : bool
        Whether the other side ever answered a ping; and whether it was dropped for answering none, and never did.
    """

    source: Source
    vendor: Vendor
    make_listener: Callable[[Hooks], Listener]
    hooks: Hooks
    dialer: Dialer
    subscriber: Subscriber
    block: ConnectionBlock
    receiver: PauseCounter
    history: History
    timing: Timing
    redactor: Redactor
    limited: RateLimitedLog
    where: str
    rate: Rate
    hours: Hours
    withdrawn: int = 0
    answers: bool = False
    knows_no_pings: bool = False


class Life:
    """One socket of a connection.

    Parameters
    ----------
    common : Common
    on_change : callable
        Called with this life whenever `state`, `live` or `leaving` may have changed.
    parked : bool
        It replaces another one that is still there: its market data is kept unread until `Listener.release`.

    Attributes
    ----------
    why : EndReason
        Why it ended; OPEN before.
    goodbye : bool
        Whether the other side ended it with a CLOSE frame, and so knows that it is over.
    unwelcome : bool
        Whether the other side said something after which it should be left alone for a while.
    leaving : bool
        Whether the other side has announced that it will close.
    was_live : bool
        Whether everything asked for was granted at some time, or data came.
    data_until_ns : int
        Up to when data came as it used to: before the look that found the last of it. CLOCK_MONOTONIC, 0: none came.
    hole_ns : int
        Where data came again after it was subscribed to once more: `data_until_ns` of before. What the other side had
        to send meanwhile is missing. 0: there is nothing to tell; whoever tells it sets it back.
    """

    def __init__(self, common: Common, on_change: Callable[[Life], None], *, parked: bool = False) -> None:
        self._common = common
        self._on_change = on_change
        self._parked = parked
        liveness = common.source.liveness
        # Answers may come before the dialer returns: a session is there before the socket.
        self.session = common.subscriber.open(self._changed, beside=parked)
        self._hooks = replace(
            common.hooks,
            fallback=Fallback(common.vendor, self._on_control, common.limited),
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
            on_pressure=self._on_pressure,
            on_pong=self._on_pong,
        )
        self._pings = Pings(
            liveness.ping_s,
            liveness.pong_s,
            liveness.missed_pongs,
            answers=common.answers,
            tolerant=common.knows_no_pings,
        )
        self._silence = Silence(common.rate)
        self.listener: Listener | None = None
        self.transport: WSTransport | None = None
        self.pressure: Pressure | None = None
        self.line: Line | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Task[None] | None = None
        self.began = 0.0
        self.why = EndReason.OPEN
        self.words = ""
        self.close_code = 0
        self.goodbye = self.unwelcome = self.leaving = self.was_live = False
        self._controls = self._frames_seen = self._data_seen = self._missed_counted = 0
        self._stuck = False
        self.data_until_ns = self.hole_ns = 0
        self._looked_ns = time.monotonic_ns()
        self._mute_ns = 0

    # ---- its beginning ----

    async def open(self) -> None:
        """Connect.

        Raises
        ------
        DialError
            It could not be opened.
        """
        transport, _ = await self._common.dialer.open(self._new_listener)
        self.transport = transport
        self.began = time.monotonic()

    def start(self, attempts: int) -> None:
        """Subscribe, and watch over it; `attempts` to connect had failed before."""
        transport = self.transport
        assert transport is not None
        self.line = self._common.history.begin(local_port=local_port(transport), attempts=attempts)
        self._ended = asyncio.create_task(self._wait_disconnected(transport))
        send = partial(transport.send, WSMsgType.TEXT)
        self._tasks = [
            asyncio.create_task(self._guarded(self.session.run(send))),
            asyncio.create_task(self._guarded(self._watch())),
        ]

    @property
    def ended(self) -> asyncio.Task[None]:
        """Done when the socket is closed."""
        assert self._ended is not None
        return self._ended

    @property
    def state(self) -> ConnectionState:
        """What it is doing."""
        if self.transport is None:
            return ConnectionState.CONNECTING
        if self._silence.stale or self._stuck:
            return ConnectionState.STALE
        return ConnectionState.LIVE if self.was_live else ConnectionState.SUBSCRIBING

    @property
    def data(self) -> int:
        """Messages of market data that came."""
        # Several documents in one message are one message, and may be several about the connection.
        return max(0, self.listener.messages - self._controls) if self.listener is not None else 0

    @property
    def moving(self) -> bool:
        """Whether data comes, so that a symbol without any is remarkable."""
        return self.was_live and not self._silence.stale and not self._held

    # ---- its end ----

    def end(self, why: EndReason, words: str) -> None:
        """End it now, without ceremony."""
        if self.why is EndReason.OPEN:
            self.why, self.words = why, words
        if self.transport is not None and not self.transport.is_disconnected:
            self.transport.disconnect(graceful=False)

    async def say_goodbye(self, why: EndReason, words: str) -> None:
        """End it with a CLOSE frame, and wait a moment for the other side's: then it knows that it is over."""
        if self.why is EndReason.OPEN:
            self.why, self.words = why, words
        assert self.transport is not None
        self.transport.send_close(WSCloseCode.GOING_AWAY)
        await asyncio.wait({self.ended}, timeout=self._common.timing.goodbye_s)
        self.end(why, words)
        await self.ended

    async def leave(self, stop_by: Callable[[], float]) -> None:
        """End it because we were asked to: stop reading, publish what there is, close politely."""
        assert self.transport is not None and self.listener is not None and self.pressure is not None
        self.why, self.words = EndReason.STOPPED, "stopped"
        hold_reading(self.transport)
        self.pressure.end()
        await self.pressure.empty(stop_by)
        self.listener.publish()
        self.transport.send_close(WSCloseCode.GOING_AWAY)
        self.transport.disconnect()
        done, _ = await asyncio.wait({self.ended}, timeout=self._common.timing.close_s)
        if not done:
            self.transport.disconnect(graceful=False)
            await self.ended

    async def finish(self) -> None:
        """End its tasks, and write down how it went. Call it when the socket is closed, or was never there."""
        if self.pressure is not None and self.why is not EndReason.CLOSED and self.why is not EndReason.CUT:
            # Nobody resumes reading from a socket that is closed.
            self.pressure.end()
        if self.transport is not None and not self.transport.is_disconnected:
            self.transport.disconnect(graceful=False)
        tasks = [*self._tasks, *([self._ended] if self._ended is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._common.answers = self._pings.answers
        self._note()
        if self.line is not None and not self._parked:
            self._common.block.queue_bytes = 0
        if self.line is not None and not self.line.ended_ns:
            self.line.why = self.why if self.why is not EndReason.OPEN else EndReason.FAULT
            self.line.close_code = self.close_code if self.goodbye else 0
            self.line.ended_ns = time.monotonic_ns()

    def forget(self) -> None:
        """Let go of the socket and all that belongs to it, which would wait for the garbage collector otherwise.

        The last that is done with a life: a receiver may see thousands, and a listener has buffers of its own.
        """
        self.listener = self.transport = self.pressure = None
        self._hooks = self._common.hooks
        self._tasks = []
        self._ended = None

    async def _wait_disconnected(self, transport: WSTransport) -> None:
        why, words = EndReason.CUT, _CUT
        try:
            await transport.wait_disconnected()
        except WSProtocolError as error:
            code = int(error.code)
            why = EndReason.PROTOCOL
            if code == WSCloseCode.MESSAGE_TOO_BIG.value and self.listener is not None:
                self.listener.count(Reason.TOO_LARGE)
                why = EndReason.TOO_LARGE
            words = f"protocol error {code}: {self._common.redactor.quoted(str(error))}"
        except Exception as error:  # noqa: BLE001 - a callback's exception, handed over by picows
            said = self._common.redactor.quoted(str(error))
            why, words = EndReason.FAULT, f"{type(error).__name__} in a callback: {said}"
        if self.why is EndReason.OPEN:
            self.why = EndReason.CLOSED if self.goodbye and why is EndReason.CUT else why
            self.words = self.words if self.goodbye and why is EndReason.CUT else words

    async def _guarded(self, step: Awaitable[None]) -> None:
        """Await `step`; a mistake of ours or of a vendor's module costs a connection, not the process."""
        try:
            await step
        except Exception as error:  # noqa: BLE001
            self._common.block.add("errors")
            self.end(EndReason.FAULT, describe_fault(error, self._common.redactor))

    # ---- called by the listener ----

    def _new_listener(self) -> WSListener:
        self.listener = self._common.make_listener(self._hooks)
        if self._parked:
            self.listener.park()
        self.pressure = Pressure(self.listener, self._common.receiver, self._common.timing.drain_s)
        return cast(WSListener, self.listener)

    def _on_connected(self, transport: WSTransport) -> None:
        # Frames, and with them pressure, may come before the dialer returns.
        self.transport = transport

    def _on_disconnected(self, code: int, reason: str) -> None:
        self.close_code, self.goodbye = int(code), int(code) != _ABNORMAL
        if int(code) == WSCloseCode.MESSAGE_TOO_BIG.value and reason.endswith("max_message_bytes"):
            # Our listener's words: it ended it, in the middle of a message in fragments.
            self.goodbye, self.why, self.words = False, EndReason.TOO_LARGE, reason
            return
        if not self.goodbye:
            return
        said = f" {self._common.redactor.quoted(reason)}" if reason else ""
        if self.why is EndReason.OPEN:
            self.words = f"closed with code {int(code)}{said}"
        named = {int(number) for number in re.findall(r"\b\d{3}\b", reason)} | {int(code) - _APPLICATION_CODES}
        self.unwelcome = self.unwelcome or not _UNWELCOME.isdisjoint(named)

    def _on_pressure(self) -> None:
        if self.pressure is not None and self.transport is not None:
            self.pressure.begin(self.transport)

    def _on_pong(self) -> None:
        self._pings.pong()
        self._common.block.set_time("last_pong_ns")

    def _on_control(self, control: Control) -> None:
        """Take in what the vendor says about the connection."""
        self._controls += 1
        self.session.on_control(control)
        match control:
            case Refusal(code) if code in _UNWELCOME:
                self.unwelcome = True
            case Notice(leaving=True):
                self.leaving = True
                self._on_change(self)

    # ---- watching ----

    async def _watch(self) -> None:
        """Notice data, silence and death."""
        liveness = self._common.source.liveness
        intervals = (liveness.ping_s, liveness.pong_s, liveness.silence_s, liveness.symbol_silence_s)
        interval = min(1.0, *(each / 4 for each in intervals if each))
        looked = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            self._common.limited.flush()
            now = time.monotonic()
            # A longer step is one in which we were not running ourselves: what came then is still to be read.
            elapsed_s = min(now - looked, 2 * interval)
            looked = now
            await self._look(elapsed_s)

    async def _look(self, elapsed_s: float) -> None:
        frames, data = self._new_frames(), self._new_data()
        self._note()
        looked_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
        if data:
            if self._mute_ns:
                self.hole_ns, self._mute_ns = self._mute_ns, 0
            self.data_until_ns = looked_ns
        if self._held:
            # Nothing is read: nothing can come.
            elapsed_s = 0.0
        send, dead = self._pings.look(elapsed_s, frames)
        if send:
            self._ping()
        self._count_missed()
        if dead:
            self._give_up_on_pings()
            return
        if self.transport is not None and await hear_end(self.transport, self.ended):
            self.end(EndReason.CUT, _CUT)
            return
        self._promote()
        if not self.was_live and self.session.in_vain:
            words = "it grants nothing, and says nothing or to come later, however often it is asked; and no data came"
            await self.say_goodbye(EndReason.SILENT, words)
            return
        self._forget_rate_of_more()
        if self.was_live and not self._parked:
            market_s = elapsed_s if self._common.hours.open else 0.0
            await self._act(self._silence.look(market_s, data, answered=self._pings.heard))
        self._promote()
        self._on_change(self)

    def _forget_rate_of_more(self) -> None:
        """Begin the rate anew where symbols were unsubscribed: the others may be quiet, and none of them at fault."""
        withdrawn = self._common.subscriber.withdrawn
        if withdrawn != self._common.withdrawn:
            self._common.withdrawn = withdrawn
            self._common.rate.forget()
            self._silence = Silence(self._common.rate)

    async def _act(self, step: Step) -> None:
        silence_s = self._common.rate.silence_s
        where = self._common.where
        match step:
            case Step.ASK:
                log.warning("%s: stale: no data for %.1f s, which it never had; asking by a ping", where, silence_s)
                # When data comes again, nobody knows what was not sent meanwhile.
                self._mute_ns = self.data_until_ns
                assert self.listener is not None
                self.listener.interrupted()
                if self._pings.ask():
                    self._ping()
            case Step.RESUBSCRIBE:
                log.warning("%s: it is there, but mute for %.1f s: subscribing once more", where, silence_s)
                self._common.subscriber.resubscribe(tuple(self._common.subscriber.wanted))
            case Step.GIVE_UP:
                if not self._common.hours.known:
                    # Nobody knows whether the market is open: once is enough, until data comes again.
                    self._common.rate.forget()
                words = f"alive, but no data for {silence_s:.1f} s, and subscribing once more did not help"
                await self.say_goodbye(EndReason.SILENT, words)
            case Step.WELL:
                log.info("%s: data comes again", where)

    def _give_up_on_pings(self) -> None:
        missed, liveness = self._pings.missed, self._common.source.liveness
        words = f"{missed} ping{'s' * (missed > 1)} without an answer, and nothing else came"
        if self._pings.mute:
            self._common.knows_no_pings = True
            words = (
                f"{missed} pings without an answer though data came; if that goes on, they are sent and not waited for "
                f"(if this vendor knows no pings, set source.liveness.ping_s = 0; it is {liveness.ping_s:g})"
            )
        self.end(EndReason.NO_PONG, words)

    def _ping(self) -> None:
        assert self.transport is not None
        self.transport.send_ping(str(time.monotonic_ns()).encode())

    def _count_missed(self) -> None:
        missed = self._pings.missed
        if new := missed - self._missed_counted:
            self._common.block.add("missed_pongs", new)
        self._missed_counted = missed
        self._stuck = bool(missed) and not self._pings.heard

    def _new_frames(self) -> int:
        frames = 0 if self.listener is None else self.listener.frames
        before, self._frames_seen = self._frames_seen, frames
        if frames != before:
            self._common.block.set_time("last_frame_ns")
        return frames - before

    def _new_data(self) -> int:
        data = self.data
        before, self._data_seen = self._data_seen, data
        return max(0, data - before)

    @property
    def _held(self) -> bool:
        return self.pressure is not None and self.pressure.active

    def _note(self) -> None:
        """Write down where it stands, for anybody who looks."""
        if self.listener is None or self.line is None:
            return
        self.line.messages = self.listener.messages
        self.line.records = self.listener.records_published
        if self.transport is None or self.transport.is_disconnected or self._parked:
            return
        block = self._common.block
        block.messages = self.listener.messages
        if (waiting := queue_bytes(self.transport)) is not None:
            block.queue_bytes = waiting
            block.queue_peak_bytes = max(block.queue_peak_bytes, waiting)

    def _changed(self) -> None:
        self._promote()
        self._on_change(self)

    def _promote(self) -> None:
        """Call it live once everything was asked for, and granted or followed by data."""
        if self.was_live or self.listener is None or self.line is None:
            return
        came = self.listener.records_published or self.listener.parked_bytes
        if self.session.granted or (self.session.all_sent and came):
            self.was_live = True
            self.line.live_ns = time.monotonic_ns()

    def unpark(self) -> None:
        """Note that what it kept was released."""
        self._parked = False
        self._common.subscriber.switch(self.session)


def describe_fault(error: BaseException, redactor: Redactor) -> str:
    """Say what went wrong and where, without the traceback: the words of an exception may quote what it choked on."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "?"
    return f"unexpected {type(error).__name__} at {where}: {redactor.quoted(str(error))}"

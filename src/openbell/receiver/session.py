"""What one socket is asked and told: its ledger, and when the next message may go."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from openbell.monitor.subscriptions import SubscriptionState
from openbell.receiver.ledger import Answer, Ledger, Verdict
from openbell.receiver.turns import new_name
from openbell.vendors.base import Ack, Control, HeartbeatAck, Notice, Refusal
from openbell.vendors.semantics import Request

if TYPE_CHECKING:
    from openbell.receiver.subscriber import Subscriber

log = logging.getLogger("openbell.receiver")

_BUSY_S: Final = 0.01
_LATE_S: Final = 0.2
"""A turn that was missed by more is no turn any more: the next one may be near."""
_SHOWN: Final = 3


class Session:
    """The subscriptions of one socket, from before it is open until it ends.

    Parameters
    ----------
    subscriber : Subscriber
        What is wanted, and whom to tell.
    on_change : callable
        Called whenever `granted`, `complete` or `all_sent` may have changed.
    clock : callable
        Monotonic seconds; for tests.

    Attributes
    ----------
    ledger : Ledger
        What was asked for, and granted.
    begun : bool
        Whether the socket is open.
    leaving : bool
        The vendor said that it is about to close this socket.
    """

    def __init__(
        self, subscriber: Subscriber, on_change: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._subscriber = subscriber
        self._on_change = on_change
        self._clock = clock
        self._vendor = subscriber.vendor
        self._manner = subscriber.manner
        self._name = new_name()
        self._said: str | None = None
        self._queue: deque[Request] = deque()
        self._turn: float | None = None
        self._asked_at = self._beat_at = -math.inf
        self._beats_from = -math.inf
        self._retries_told = 0
        self._awake = asyncio.Event()
        self.begun = False
        self.leaving = False
        self.ledger = Ledger(subscriber.vendor, subscriber.source.subscribing, self._on_state)

    # ---- what can be seen ----

    @property
    def all_sent(self) -> bool:
        """Whether everything that is wanted was asked for."""
        return not self._queue and self.ledger.all_sent

    @property
    def granted(self) -> bool:
        """Whether everything was asked for and answered or given up, and something of it was granted."""
        return not self._queue and self.ledger.granted

    @property
    def complete(self) -> bool:
        """Whether everything that is wanted was granted."""
        return not self._queue and self.ledger.complete

    @property
    def in_vain(self) -> bool:
        """Whether everything was asked for, nothing was granted, and another connection may have more luck."""
        return not self._queue and self.ledger.in_vain

    # ---- the life of a session ----

    async def turn_s(self) -> float:
        """Take a turn to connect, among the connections of the account; return the seconds until then."""
        turns, requests = self._subscriber.turns, self._subscriber.requests_a_time
        while (at := turns.connect(self._name, requests, self._manner.pause_s)) is None:
            await asyncio.sleep(_BUSY_S)
        return max(0.0, at - self._clock())

    async def run(self, send: Callable[[bytes], None]) -> None:
        """Subscribe, repeat what was not answered, send heartbeats; until cancelled, at the end of the socket.

        Parameters
        ----------
        send : callable
            Sends one text message.
        """
        self.begin()
        try:
            while True:
                self._awake.clear()
                until = self.step(send)
                try:
                    async with asyncio.timeout(None if until == math.inf else max(0.0, until - self._clock())):
                        await self._awake.wait()
                except TimeoutError:
                    # Something is due.
                    continue
        finally:
            self._subscriber.closed(self)

    def begin(self) -> None:
        """Note that the socket is open now: heartbeats count from here."""
        self.begun = True
        self._beats_from = self._clock()

    def wake(self) -> None:
        """Look at once at what is to be done: something else is wanted."""
        self._awake.set()

    def step(self, send: Callable[[bytes], None]) -> float:
        """Send what is due now; return when to look again, by the clock, or infinity."""
        try:
            while True:
                now = self._clock()
                for verdict in self.ledger.expire(now):
                    self._tell_overdue(verdict)
                until = self._next(now, send)
                if until > now:
                    return min(until, self.ledger.next_expiry() or math.inf)
        finally:
            self._told()

    def _next(self, now: float, send: Callable[[bytes], None]) -> float:
        """Do one thing that is due, and return `now`; or return when there will be one."""
        due = self.ledger.due()
        beat = self._beat_due()
        if not self._queue and (due is None or due > now):
            self._turn = None
            return self._beat(now, send) if beat <= now else min(beat, math.inf if due is None else due)
        if self._turn is None or now > self._turn + _LATE_S:
            if not self._queue and beat <= max(now, self._ready()):
                # Before a turn is taken, so that requests without end do not keep it back.
                return self._beat(now, send) if beat <= now else beat
            count = len(self._queue) or self._subscriber.requests_a_time
            turn = self._subscriber.turns.ask(self._name, count, self._manner.pause_s, self._ready())
            if turn is None:
                return now + _BUSY_S
            self._turn = turn
        if not self._manner.heartbeat_is_request or beat + self._manner.pause_s <= self._turn:
            if beat <= now:
                return self._beat(now, send)
        else:
            beat = math.inf
        if now < (at := max(self._turn, self._ready())):
            return min(at, beat)
        if not self._queue:
            self._queue.extend(self.ledger.take(now))
            if not self._queue:
                return now
        request = self._queue.popleft()
        send(request.payload)
        self.ledger.sent(request, now)
        self._asked_at = now
        self._turn = self._turn + self._manner.pause_s if self._queue else None
        return now

    def _ready(self) -> float:
        """Return when the next request may go, as far as this socket goes."""
        last = max(self._asked_at, self._beat_at) if self._manner.heartbeat_is_request else self._asked_at
        return last + self._manner.pause_s

    def _beat_due(self) -> float:
        """Return when the next heartbeat is due, or may go."""
        if self._vendor.heartbeat_interval_s <= 0:
            return math.inf
        due = self._beats_from + self._vendor.heartbeat_interval_s
        return max(due, self._asked_at + self._manner.pause_s) if self._manner.heartbeat_is_request else due

    def _beat(self, now: float, send: Callable[[bytes], None]) -> float:
        beat = self._vendor.heartbeat()
        self._beats_from = now
        if beat is not None:
            self._beat_at = now
            send(beat)
        return now

    # ---- answers ----

    def on_control(self, control: Control) -> None:
        """Take in what the vendor says about the connection."""
        subscriber = self._subscriber
        block = subscriber.block
        match control:
            case Ack():
                block.add("acks")
                block.set_time("last_ack_ns")
                answered = self.ledger.acked(control, self._clock()).answer is not Answer.NOBODY
                # Of a vendor that need not answer, an answer that comes is no surprise.
                if not answered and self._vendor.manner.acknowledges:
                    block.add("errors")
                    self._limited(logging.WARNING, "%s: an answer came that belongs to no request", subscriber.where)
            case HeartbeatAck():
                block.add("acks")
                block.set_time("last_ack_ns")
                return
            case Refusal():
                block.add("errors")
                self._said = subscriber.redactor.quoted(control.message)
                verdict = self.ledger.refused(control, self._clock())
                self._tell_refusal(control, verdict, self._said)
                self._said = None
            case Notice(message):
                self.leaving = self.leaving or control.leaving
                self._limited(logging.WARNING, "%s: %s", subscriber.where, subscriber.redactor.clean(message))
        self._told()
        self.wake()

    def _on_state(self, key: str, state: SubscriptionState, code: int) -> None:
        if state is SubscriptionState.REFUSED and self._said is not None:
            self._subscriber.note_refusal(key, code, self._said)
        self._subscriber.on_state(self, key, state, code)

    def _told(self) -> None:
        """Tell everybody what has changed."""
        self._subscriber.flush(self, self.ledger.retries - self._retries_told)
        self._retries_told = self.ledger.retries
        self._on_change()

    def _tell_refusal(self, refusal: Refusal, verdict: Verdict, said: str) -> None:
        subscriber = self._subscriber
        meaning = self._vendor.explain(refusal.code)
        about = verdict.answer.value
        if verdict.symbols:
            about = f"{_listed(verdict.symbols)}: {about}"
        self._limited(
            logging.ERROR,
            "%s: the vendor reports %s: %s%s (%s)",
            subscriber.where,
            "an error" if refusal.code is None else f"error {refusal.code}",
            said,
            f": {meaning}" if meaning else "",
            about,
        )

    def _tell_overdue(self, verdict: Verdict) -> None:
        subscriber = self._subscriber
        subscriber.block.add("errors")
        what = "it is asked again" if verdict.answer is Answer.AGAIN else "it is given up"
        self._limited(
            logging.WARNING,
            "%s: the request for %s was not answered within %g s; %s",
            subscriber.where,
            _listed(verdict.symbols) if verdict.symbols else "no symbol of its own",
            subscriber.source.subscribing.ack_s,
            what,
        )

    def _limited(self, level: int, text: str, *arguments: object) -> None:
        self._subscriber.limited.log(level, text, *arguments)


def _listed(symbols: tuple[str, ...]) -> str:
    """Name the first symbols, and how many there are."""
    if len(symbols) <= _SHOWN:
        return ", ".join(symbols)
    return f"{', '.join(symbols[:_SHOWN])} and {len(symbols) - _SHOWN:,} more symbols"

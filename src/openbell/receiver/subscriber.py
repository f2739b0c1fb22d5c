"""What a connection asks of its vendor: subscriptions, their answers, and heartbeats.

A :class:`Subscriber` lives as long as its connection is configured and knows what is wanted; each socket has a
:class:`Session` of its own, which knows what was asked for and granted there. Where one socket takes over from another,
each has its own for as long as both live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from openbell.config import Source
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.vendors.base import Ack, Control, HeartbeatAck, Notice, Refusal, Vendor

log = logging.getLogger("openbell.receiver")


class SubscriberBlock(Protocol):
    """The words of a connection in the control segment that its subscriber writes."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""

    def set_time(self, name: str) -> None:
        """Store the present time."""


class Subscriber:
    """What one connection of a source is to be subscribed to.

    Parameters
    ----------
    source : Source
        With the symbols of this connection.
    vendor : Vendor
        The dialect.
    block : SubscriberBlock
        Where answers are counted.
    limited : RateLimitedLog
        For what the vendor says.
    """

    def __init__(self, source: Source, vendor: Vendor, block: SubscriberBlock, limited: RateLimitedLog) -> None:
        self.source = source
        self.vendor = vendor
        self.block = block
        self.limited = limited
        self.where = vendor.display_url()
        self.redactor = Redactor(vendor)

        self._session: Session | None = None

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The symbols that are wanted, in the order of the request, each with its key in the symbol table."""
        source = self.source
        return {each: (source.prefix + self.vendor.symbol_key(each)).encode() for each in source.symbols}

    def open(self, on_change: Callable[[], None]) -> Session:
        """Return the session of a new socket.

        Parameters
        ----------
        on_change : callable
            Called whenever `Session.granted` or `Session.all_sent` may have changed.
        """
        self._session = Session(self, on_change)
        return self._session

    def resubscribe(self, symbols: Sequence[str]) -> None:
        """Ask for symbols once more: alone where requests add to one another, else with all others."""
        if self._session is not None:
            self._session.ask_again(symbols if self.vendor.manner.adds else self.source.symbols)


class Session:
    """The subscriptions of one socket.

    Parameters
    ----------
    subscriber : Subscriber
    on_change : callable
        Called whenever `granted` or `all_sent` may have changed.

    Attributes
    ----------
    all_sent : bool
        Whether everything that was wanted when the socket opened was asked for.
    """

    def __init__(self, subscriber: Subscriber, on_change: Callable[[], None]) -> None:
        self._subscriber = subscriber
        self._on_change = on_change
        self._unanswered = 0
        self._refused = False
        self._send: Callable[[bytes], None] | None = None
        self.all_sent = False

    @property
    def granted(self) -> bool:
        """Whether everything was asked for, and nothing of it is refused or waits for an answer."""
        return self.all_sent and self._unanswered == 0 and not self._refused

    async def run(self, send: Callable[[bytes], None]) -> None:
        """Subscribe, then send heartbeats, until cancelled: at the end of the socket.

        Parameters
        ----------
        send : callable
            Sends one text message.
        """
        self._send = send
        vendor, block = self._subscriber.vendor, self._subscriber.block
        manner, ack_s = vendor.manner, self._subscriber.source.subscribing.ack_s
        sent = 0
        for request in vendor.requests(self._subscriber.source.symbols):
            if sent:
                await asyncio.sleep(manner.pause_s)
            sent += 1
            self._unanswered += manner.acknowledges
            send(request.payload)
        self.all_sent = True
        self._on_change()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat(send))
            await asyncio.sleep(ack_s)
            if self._unanswered > 0:
                block.add("errors", self._unanswered)
                log.warning(
                    "%s: %d of %d subscription requests were not answered within %g s",
                    self._subscriber.where,
                    self._unanswered,
                    sent,
                    ack_s,
                )

    def ask_again(self, symbols: Sequence[str]) -> None:
        """Send the requests for `symbols` once more."""
        if self._send is not None:
            for request in self._subscriber.vendor.requests(symbols):
                self._unanswered += self._subscriber.vendor.manner.acknowledges
                self._send(request.payload)

    async def _beat(self, send: Callable[[bytes], None]) -> None:
        vendor = self._subscriber.vendor
        while (interval := vendor.heartbeat_interval_s) > 0:
            await asyncio.sleep(interval)
            beat = vendor.heartbeat()
            if beat is None:
                return
            send(beat)

    def on_control(self, control: Control) -> None:
        """Take in what the vendor says about the connection."""
        subscriber = self._subscriber
        block, where = subscriber.block, subscriber.where
        match control:
            case Ack():
                self._unanswered = max(0, self._unanswered - 1)
                block.add("acks")
                block.set_time("last_ack_ns")
                self._on_change()
            case HeartbeatAck():
                block.add("acks")
                block.set_time("last_ack_ns")
            case Refusal(code, message, request):
                if request:
                    self._unanswered = max(0, self._unanswered - 1)
                self._refused = True
                block.add("errors")
                said = subscriber.redactor.quoted(message)
                subscriber.limited.log(logging.ERROR, "%s: the vendor reports error %s: %s", where, code, said)
            case Notice(message):
                subscriber.limited.log(logging.WARNING, "%s: %s", where, subscriber.redactor.clean(message))

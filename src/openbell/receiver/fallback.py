"""The slow path: every message that no route took at once.

It is called by the compiled listener with a copy of the message: for acknowledgements and errors, for messages whose
keys come in an unusual order, and for everything that does not decode. Its promises: it never raises; whatever comes
ends in exactly one count (or one a document or event, where a message holds several); a good event beside a bad one
is published.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from msgspec import Raw

from openbell.reasons import Reason
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.receiver.salvage import UNDECODABLE, Fit, SlowRoute, elements
from openbell.vendors.base import Control, Vendor
from openbell.vendors.plan import Ignore, Route

_DOCUMENT: Final = msgspec.json.Decoder(Raw)


class EventSink(Protocol):
    """What the slow path needs of a frame listener."""

    def publish_event(self, route_index: int, event: msgspec.Struct) -> int:
        """Publish an event under all guards; return -1, or the Reason it was counted under."""

    def count(self, reason: int, n: int = 1) -> None:
        """Count `n` events that are not applied for `reason`."""

    def count_control(self) -> None:
        """Count a message about the connection."""


class Fallback:
    """The slow path of one connection.

    Parameters
    ----------
    vendor : Vendor
        Reads the messages about the connection, and declares the others.
    on_control : callable
        Given every message about the connection.
    log : RateLimitedLog
        Given a line for every message that could not be used.
    """

    def __init__(self, vendor: Vendor, on_control: Callable[[Control], None], log: RateLimitedLog) -> None:
        self._vendor = vendor
        self._on_control = on_control
        self._log = log
        self._redactor = Redactor(vendor)
        plan = vendor.plan()
        self._routes = [SlowRoute(index, entry) for index, entry in enumerate(plan) if isinstance(entry, Route)]
        # Whether a frame may be an array of events: an empty one is then known, with nothing in it to count.
        self._arrays = any(slow.array for slow in self._routes)
        self._ignores = [entry for entry in plan if isinstance(entry, Ignore)]

    def __call__(self, listener: EventSink, payload: bytes, why: int) -> None:
        """Make the best of `payload`.

        Parameters
        ----------
        listener : EventSink
            The frame listener that could not use it.
        payload : bytes
            The whole message.
        why : int
            A :class:`~openbell.vendors.plan.Why`: a hint for the log.
        """
        try:
            self._message(listener, payload)
        except Exception as error:  # noqa: BLE001
            # A vendor's own code may fail on somebody's bytes; the connection must not. Counted and said, with
            # the place.
            listener.count(Reason.UNKNOWN_MESSAGE)
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "?"
            self._log.log(logging.ERROR, "reading a message failed with %s at %s", type(error).__name__, where)

    def _message(self, listener: EventSink, payload: bytes) -> None:
        fault = _fault(payload)
        if fault is None:
            self._document(listener, payload)
            return
        if fault is Reason.NOT_JSON and b"\n" in payload:
            # Some gateways join several documents by newlines.
            lines = [(line, _fault(line)) for line in payload.splitlines() if line.strip()]
            if any(fault is None for _, fault in lines):
                for line, fault in lines:
                    if fault is None:
                        self._document(listener, line)
                    else:
                        self._count(listener, fault, line)
                return
        self._count(listener, fault, payload)

    def _document(self, listener: EventSink, document: Raw | bytes, *, nested: bool = False) -> None:
        """Use one whole JSON document."""
        text = bytes(document).lstrip()
        if text.startswith(b"[") and not nested:
            parts = elements(text)
            if parts or (parts is not None and self._arrays):
                for part in parts:
                    self._document(listener, part, nested=True)
                return
        control = self._vendor.control(text)
        if control is not None:
            listener.count_control()
            self._on_control(control)
            return
        possible: list[tuple[SlowRoute, bool]] = []
        best = Fit.NO
        chosen: list[Raw | bytes] = []
        path = ""
        empty = False
        for route in self._routes:
            events = route.events(text)
            if events is None:
                continue
            hinted = route.hinted(text)
            if not events:
                # A list was declared, and there is nothing in it: known, and nothing to count.
                empty = empty or (route.route.many and (hinted or route.route.frame_expect is not None))
                continue
            possible.append((route, hinted))
            fit = max(route.fit(event, hinted=hinted) for event in events)
            if fit > best:
                best, chosen, path = fit, events, route.route.path
                if fit is Fit.YES and len(events) == 1:
                    break
        if best is not Fit.YES:
            for ignore in self._ignores:
                if ignore.marker in text:
                    listener.count(ignore.reason)
                    return
        if best is Fit.NO:
            if not empty:
                self._count(listener, Reason.UNKNOWN_MESSAGE, text)
            return
        rivals = [(route, hinted) for route, hinted in possible if route.route.path == path]
        for event in chosen:
            self._event(listener, event, rivals)

    def _event(self, listener: EventSink, event: Raw | bytes, rivals: list[tuple[SlowRoute, bool]]) -> None:
        """Publish `event` by the route it fits best, or count it."""
        route, hinted = rivals[0]
        best = route.fit(event, hinted=hinted)
        for rival, hinted in rivals[1:]:
            if best is Fit.YES:
                break
            if (fit := rival.fit(event, hinted=hinted)) > best:
                route, best = rival, fit
        decoded = Reason.UNKNOWN_MESSAGE if best is Fit.NO else route.decode(event)
        if isinstance(decoded, Reason):
            self._count(listener, decoded, event)
        else:
            listener.publish_event(route.index, decoded)

    def _count(self, listener: EventSink, reason: Reason, text: Raw | bytes) -> None:
        listener.count(reason)
        if self._log.admits():
            shown = self._redactor.excerpt(bytes(text))
            self._log.log(logging.WARNING, "not applied: %s: %s", reason.description, shown)


def _fault(payload: bytes) -> Reason | None:
    """Say why `payload` is no JSON document, or None if it is one (values not looked at)."""
    try:
        _DOCUMENT.decode(payload)
    except RecursionError:
        return Reason.TOO_DEEP
    except UNDECODABLE:
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        return Reason.NOT_JSON
    return None

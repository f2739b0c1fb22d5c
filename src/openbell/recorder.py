"""Recording a live vendor into a capture: every market message as it came, with the time it was received.

What the vendor says about the connection (acknowledgements, heartbeat answers, refusals) is counted and left out, so
that a replay of the capture serves the market and nothing else. A bare address without a vendor is recorded whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import ClassVar

import msgspec
import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from openbell import config
from openbell.capture import CaptureWriter
from openbell.config import Config, Source
from openbell.errors import CaptureError, ConfigError, OpenBellError
from openbell.receiver.dial import Dialer
from openbell.receiver.redact import Redactor
from openbell.secret import Secret
from openbell.vendors import Control, Ignore, Refusal, Request, Route, Vendor, check, create

log = logging.getLogger("openbell.recorder")

_FLUSH_S = 1.0


@dataclass(slots=True)
class Recording:
    """What a recording came to.

    Attributes
    ----------
    messages : int
        Messages in the capture.
    control : int
        Messages about the connection, left out.
    compacted : int
        Messages stored without their white space, because it contained newlines.
    refused : int
        Messages that cannot stand in a capture (not one UTF-8 JSON document), left out.
    first_refused : str or None
        Why the first of them could not.
    refusals : list of str
        What the vendor refused, in its words, at most the first ten.
    seconds : float
        From the connection to the end.
    ended : str
        Why it ended: ``"seconds"``, ``"messages"``, ``"stopped"``, or ``"disconnected"`` by the other side.
    """

    messages: int = 0
    control: int = 0
    compacted: int = 0
    refused: int = 0
    first_refused: str | None = None
    refusals: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ended: str = "stopped"


class _Address(Vendor):
    """A bare address: nothing to ask for, everything that comes is market."""

    name: ClassVar[str] = "address"

    def plan(self) -> tuple[Route | Ignore, ...]:
        return ()

    def url(self) -> Secret:
        assert self.source.url is not None
        return Secret(self.source.url)

    def subscribe(self, symbols: object) -> list[Request]:
        return []

    def control(self, payload: bytes) -> Control | None:
        return None


class _Recorder(WSListener):
    """Writes what comes. Synchronous on purpose: while the disk is slow, the socket waits, and no memory fills."""

    def __init__(self, vendor: Vendor, writer: CaptureWriter, most: int | None, done: asyncio.Event) -> None:
        self._vendor = vendor
        self._writer = writer
        self._most = most
        self._done = done
        self._redactor = Redactor(vendor)
        self._fragments = bytearray()
        self._told = False
        self.recording = Recording()
        self.failure: OpenBellError | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        receive_ns = time.time_ns()
        if self._done.is_set():
            return
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            if frame.fin and not self._fragments:
                self._take(receive_ns, frame.get_payload_as_bytes())
                return
            self._fragments += frame.get_payload_as_bytes()
            if len(self._fragments) > self._vendor.source.max_message_bytes:
                self._fail(CaptureError(f"a message of more than {self._vendor.source.max_message_bytes} bytes came"))
            elif frame.fin:
                payload, self._fragments = bytes(self._fragments), bytearray()
                self._take(receive_ns, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self._done.is_set():
            self.recording.ended = "disconnected"
            self._done.set()

    def _take(self, receive_ns: int, payload: bytes) -> None:
        if self._is_control(payload):
            return
        try:
            self._writer.write(receive_ns, payload)
        except CaptureError as error:
            self._fail(error)
        if self._writer.written == self._most:
            self.recording.ended = "messages"
            self._done.set()

    def _is_control(self, payload: bytes) -> bool:
        try:
            control = self._vendor.control(payload)
        except Exception as error:  # noqa: BLE001 - somebody else's code; the market must not be lost to it
            if not self._told:
                self._told = True
                said = self._redactor.quoted(str(error))
                log.error(
                    "%s.control raised %s: %s; such messages are recorded as market data, and this is said once",
                    type(self._vendor).__name__,
                    type(error).__name__,
                    said,
                )
            return False
        if control is None:
            return False
        self.recording.control += 1
        if isinstance(control, Refusal) and len(self.recording.refusals) < 10:
            self.recording.refusals.append(f"{control.code}: {self._redactor.quoted(control.message)}")
        return True

    def _fail(self, error: OpenBellError) -> None:
        self.failure = error
        self._done.set()


async def record(
    source: Source | str,
    path: str | PathLike[str],
    *,
    seconds: float | None = None,
    messages: int | None = None,
    stop: asyncio.Event | None = None,
    overwrite: bool = False,
    insecure: bool = False,
    report: Callable[[Recording], None] | None = None,
) -> Recording:
    """Record a vendor into a capture file, on one connection, until an end is reached.

    Parameters
    ----------
    source : Source or str
        The source of a feed's configuration, subscribed as a feed would; or a ``ws://`` or ``wss://`` address, which is
        only listened to. An address must not contain a token: use a configuration for that.
    path : path-like
        The capture to write, gzipped if it ends in ``.gz``. It appears when the recording ends; until then, and after
        an error, what there is stands in ``<path>.part``.
    seconds, messages : float, int, optional
        End after this long, or this many messages; without either, when stopped or disconnected.
    stop : asyncio.Event, optional
        Set it to end the recording in order; before the connection is there, without a file.
    overwrite : bool
        Replace an existing file.
    insecure : bool
        Allow a ``ws://`` address that is not on this machine.
    report : callable, optional
        Called about once a second with the counts so far.

    Returns
    -------
    Recording
        The counts. A recording does not reconnect: it ends where a gap would begin.

    Raises
    ------
    CaptureError
        The file exists, or the disk takes no more (the message says where the messages so far are).
    ConfigError
        The source or a limit makes no sense.
    DialError
        The connection could not be opened.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"record: seconds = {seconds!r}, but it must be above 0")
    if messages is not None and messages < 1:
        raise ConfigError(f"record: messages = {messages!r}, but it must be 1 or more")
    vendor: Vendor
    if isinstance(source, str):
        vendor = _Address(Source(vendor=_Address.name, symbols=("*",), url=source, insecure=insecure))
    else:
        vendor = create(source)
    done = asyncio.Event()
    with CaptureWriter(path, overwrite=overwrite) as writer:
        recorder = _Recorder(vendor, writer, messages, done)
        recording = recorder.recording
        dialling = asyncio.create_task(Dialer(vendor.source, vendor, Redactor(vendor)).open(lambda: recorder))
        if stop is not None and await _before(stop, dialling):
            # Not even connected: there is nothing to keep, and a file that is to be overwritten stays.
            writer.abandon()
            return recording
        transport, _ = await dialling
        started = time.monotonic()
        asking = asyncio.create_task(_ask(vendor, transport))
        stopping = asyncio.create_task(stop.wait()) if stop is not None else None
        if stopping is not None:
            stopping.add_done_callback(lambda _: done.set())
        try:
            while not done.is_set():
                left_s = _FLUSH_S if seconds is None else min(_FLUSH_S, seconds - (time.monotonic() - started))
                if left_s <= 0:
                    recording.ended = "seconds"
                    done.set()
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), left_s)
                writer.flush()
                _count(recording, writer, started)
                if report is not None:
                    report(recording)
        finally:
            done.set()
            for task in (asking, stopping):
                if task is not None:
                    task.cancel()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        _count(recording, writer, started)
        if recorder.failure is not None:
            raise recorder.failure
    return recording


async def _before(stop: asyncio.Event, dialling: asyncio.Task[tuple[WSTransport, WSListener]]) -> bool:
    """Wait for the connection; return True, and give it up, if asked to stop before it is there."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({dialling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not dialling.done():
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
    return dialling.cancelled()


def _count(recording: Recording, writer: CaptureWriter, started: float) -> None:
    recording.messages, recording.compacted = writer.written, writer.compacted
    recording.refused, recording.first_refused = writer.refused, writer.first_refusal
    recording.seconds = time.monotonic() - started


async def _ask(vendor: Vendor, transport: WSTransport) -> None:
    """Subscribe, then keep the connection alive; two messages are never closer than the vendor allows."""
    for request in vendor.requests(vendor.source.symbols):
        transport.send(WSMsgType.TEXT, request.payload)
        await asyncio.sleep(vendor.manner.pause_s)
    while vendor.heartbeat_interval_s:
        await asyncio.sleep(vendor.heartbeat_interval_s)
        if (heartbeat := vendor.heartbeat()) is not None:
            transport.send(WSMsgType.TEXT, heartbeat)


def run(
    target: str,
    path: str | PathLike[str],
    *,
    seconds: float | None = None,
    messages: int | None = None,
    overwrite: bool = False,
    insecure: bool = False,
    report: Callable[[Recording], None] | None = None,
) -> Recording:
    """Record in this process until the end, or until SIGINT or SIGTERM, which end it in order.

    Parameters
    ----------
    target : str
        A ``ws://`` or ``wss://`` address, or the path of a feed's configuration file.

    Other parameters, the result and the errors are those of `record`.
    """
    source: Source | str = target
    if not target.startswith(("ws://", "wss://")):
        loaded = config.load(target)
        try:
            # However many connections the feed would have: a recording has one.
            source = msgspec.structs.replace(loaded.source, connections=1)
        except ConfigError as error:
            raise ConfigError(f"{target}: {error}") from None
        feed = msgspec.structs.replace(loaded.feed, receivers=1)
        # Made here only to be refused here, with the name of the file.
        check(Config(feed=feed, sources=(source,)), target, one_connection="a recording has one connection")

    async def main() -> Recording:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await record(
            source,
            path,
            seconds=seconds,
            messages=messages,
            stop=stop,
            overwrite=overwrite,
            insecure=insecure,
            report=report,
        )

    return uvloop.run(main())

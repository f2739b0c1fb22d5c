"""One connection's life against a real WebSocket server: subscribe, keep alive, die, come back; and tell no secret."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from openbell.config import Change, Liveness, Network, Source
from openbell.config.subscribing import Subscribing
from openbell.core.overlap import Overlap
from openbell.monitor import history as histories
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason, History
from openbell.reasons import Reason
from openbell.receiver.backoff import Backoff
from openbell.receiver.connection import Connection
from openbell.receiver.hours import Hours
from openbell.receiver.listeners import Hooks
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.subscriber import Subscriber
from openbell.receiver.timing import Timing
from openbell.receiver.turns import Turns
from openbell.record import GapReason, Kind, MarketStatus
from openbell.secret import Secret
from openbell.vendors import Ack, Control, Field, HeartbeatAck, Notice, Op, Refusal, Request, Route, Semantics, Vendor

TOKEN = "c0ffee-very/secret-c-app"
TLS = Path(__file__).parent / "tls"
SHORT = Timing(stop_s=1.0, goodbye_s=0.3)
QUICK = Liveness(backoff_first_s=0.01, backoff_longest_s=0.05, refused_pause_s=0.02)
NETWORK = Network(handshake_s=1.0, connect_s=2.0)


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


# ---- stand-ins ----


class Tick(msgspec.Struct):
    symbol: str
    price: float


class ToyVendor(Vendor):
    """A small dialect: answers begin with a word."""

    name = "toy"
    min_reconnect_s = 0.0

    def __init__(self, source: Source, batches: int = 1) -> None:
        super().__init__(source)
        self.batches = batches
        self.beats = itertools.count(1)

    def plan(self) -> tuple[Route, ...]:
        fields = (Field("symbol", Op.SYMBOL), Field("price", Op.PRICE, target="a"))
        return (Route("tick", Kind.TRADE, Tick, Tick, "", False, fields),)

    def url(self) -> Secret:
        return Secret(f"{self.source.url}?token={TOKEN.replace('/', '%2F')}")

    def secret(self) -> Secret:
        return Secret(TOKEN)

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {TOKEN}")]

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        return [Request(b'{"subscribe":%d}' % number, tuple(symbols), number) for number in range(self.batches)]

    def heartbeat(self) -> bytes:
        return b'{"beat":%d}' % next(self.beats)

    def control(self, payload: bytes) -> Control | None:
        said = json.loads(payload)
        if not isinstance(said, dict):
            return None
        if "ack" in said:
            return Ack(said["ack"])
        if "alive" in said:
            return HeartbeatAck()
        if "error" in said:
            return Refusal(7, said["error"], said.get("request"))
        return Notice(said["notice"]) if "notice" in said else None


class PyListener(WSListener):
    """What the compiled frame listener does, in Python, for one route."""

    holds_reading = True

    def __init__(self, hooks: Hooks, block: Receiver, made: list[PyListener]) -> None:
        self.hooks = hooks
        self.block = block
        self.frames = self.published = self.messages = self.last_read_ns = self.parked_bytes = 0
        self.gaps: list[tuple[int, int]] = []
        self.concerned: list[tuple[bytes, ...] | None] = []
        self.counted: list[Reason] = []
        self.waiting = 0
        self.abandoned = 0
        self.calls: list[str] = []
        self.close = (1006, "")
        made.append(self)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.hooks.on_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.block.frames += 1
        self.frames += 1
        self.last_read_ns = time.monotonic_ns()
        self.messages += frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY)
        if frame.msg_type == WSMsgType.PONG:
            self.hooks.on_pong()
        if frame.msg_type == WSMsgType.CLOSE:
            self.close = (int(frame.get_close_code().value), frame.get_close_reason() or "")
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if payload == b'{"symbol":"P","price":1}':
                self.waiting = 20
                self.hooks.on_pressure()
            if payload.startswith(b'{"symbol"'):
                self.published += 1
            else:
                self.hooks.fallback(self, payload, 0)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.hooks.on_disconnected(*self.close)

    def publish_event(self, route_index: int, event: msgspec.Struct) -> int:
        self.published += 1
        return -1

    def count(self, reason: int, n: int = 1) -> None:
        self.counted += [Reason(reason)] * n

    def count_control(self) -> None:
        self.calls.append("control")

    @property
    def records_published(self) -> int:
        return self.published

    def publish(self) -> None:
        self.calls.append("publish")

    def drain(self) -> int:
        self.waiting = max(0, self.waiting - 1)
        if not self.waiting and "drained" not in self.calls:
            self.calls.append("drained")
        return self.waiting

    def abandon(self) -> int:
        lost, self.waiting = self.waiting, 0
        self.abandoned += lost
        return lost

    def interrupted(self) -> None:
        self.calls.append("interrupted")

    def note(self, overlap: Overlap) -> None:
        self.calls.append("note")

    def park(self) -> None:
        self.calls.append("park")

    def release(self, overlap: Overlap | None) -> int:
        self.calls.append("release")
        return 0

    def publish_repair(self, key: bytes, price: float, size: float, exchange_ns: int, sequence: int = 0) -> bool:
        self.calls.append(f"repair {key.decode()} {price}")
        return True

    def publish_gap(
        self, reason: int, count: int, symbols: Iterable[bytes] | None = None, first_ns: int = 0, last_ns: int = 0
    ) -> None:
        self.gaps.append((reason, count))
        self.concerned.append(None if symbols is None else tuple(symbols))

    def publish_status(self, session: int, status: int) -> None:
        raise AssertionError("a connection has nothing to do with sessions")


class Receiver:
    """The receiver's counters."""

    def __init__(self) -> None:
        self.frames = 0
        self.added: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        self.added[name] = self.added.get(name, 0) + count


class Block(Receiver):
    """The connection's counters, with every state it was ever in."""

    symbols = confirmed = refused = unconfirmed = messages = queue_bytes = queue_peak_bytes = silent = kept = 0

    def __init__(self) -> None:
        super().__init__()
        self.states: list[ConnectionState] = []
        self.times: list[str] = []

    def set_state(self, state: ConnectionState) -> None:
        self.states.append(state)

    def set_time(self, name: str) -> None:
        self.times.append(name)


class Visitor(WSListener):
    """The server's end of one connection: notes what came, and does what the test says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.received: list[tuple[float, bytes]] = []
        self.closed: tuple[int, str] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.server.visitors.append(self)
        self.server.on_connect(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.closed = (int(frame.get_close_code().value), frame.get_close_reason() or "")
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            self.received.append((time.monotonic(), frame.get_payload_as_bytes()))
            self.server.on_message(self, self.received[-1][1])

    def say(self, text: str) -> None:
        self.transport.send(WSMsgType.TEXT, text)


class Server:
    """A WebSocket server on a port of its own on loopback."""

    def __init__(self) -> None:
        self.visitors: list[Visitor] = []
        self.requests: list[tuple[float, WSUpgradeRequest]] = []
        self.refusal: WSUpgradeResponse | None = None
        self.on_connect: Callable[[Visitor], None] = lambda visitor: None
        self.on_message: Callable[[Visitor, bytes], None] = self.acknowledge
        self.port = 0

    def acknowledge(self, visitor: Visitor, payload: bytes) -> None:
        said = json.loads(payload)
        visitor.say(json.dumps({"ack": said["subscribe"]} if "subscribe" in said else {"alive": said["beat"]}))

    def let_in(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        self.requests.append((time.monotonic(), request))
        if self.refusal is not None:
            return WSUpgradeResponseWithListener(self.refusal, None)
        return Visitor(self)

    async def start(self, **options: Any) -> asyncio.Server:
        # The server's end is not ours: what it logs about a handshake is the vendor's business.
        options["logger_name"] = unseen = logging.getLogger("test_connection.server")
        unseen.disabled = True
        unseen.setLevel(logging.CRITICAL)
        server = await ws_create_server(self.let_in, "127.0.0.1", 0, **options)
        self.port = server.sockets[0].getsockname()[1]
        return server


class Scene:
    """A server, and a connection to it that runs."""

    def __init__(self, liveness: Liveness = QUICK, timing: Timing = SHORT, network: Network = NETWORK) -> None:
        self.liveness = liveness
        self.timing = timing
        self.network = network
        self.history = History(memoryview(bytearray(histories.size(1))), 0)
        self.server = Server()
        self.block = Block()
        self.receiver = Receiver()
        self.made: list[PyListener] = []
        self.options: dict[str, Any] = {}
        self.source: dict[str, Any] = {}
        self.spacing: dict[str, Any] = {}
        self.subscribing = Subscribing(ack_s=0.15, retry_s=0.05, retries=1)
        self.scheme, self.host = "ws", "127.0.0.1"
        self.turns: Turns | None = None
        self.vendor: Callable[[Source], Vendor] = ToyVendor
        self.connection: Connection
        self.subscriber: Subscriber

    async def play(self, act: Callable[[Scene], Awaitable[None]]) -> None:
        """Start server and connection, let `act` happen, and end both; nothing may be left over."""
        before = asyncio.all_tasks()
        listening = await self.server.start(**self.options)
        url = f"{self.scheme}://{self.host}:{self.server.port}/feed"
        asked: dict[str, Any] = {"vendor": "toy", "symbols": ("A", "B"), "url": url, "subscribing": self.subscribing}
        asked |= {"liveness": self.liveness, "network": self.network}
        source = Source(**(asked | self.source))
        vendor = self.vendor(source)
        limited = RateLimitedLog(logging.getLogger("openbell.receiver"))
        subscriber = self.subscriber = Subscriber(source, vendor, self.block, limited, turns=self.turns)
        self.connection = Connection(
            source, vendor, lambda hooks: PyListener(hooks, self.receiver, self.made), self.block,
            self.receiver, self.timing, subscriber=subscriber, history=self.history, **self.spacing,
        )  # fmt: skip
        running = asyncio.create_task(self.connection.run())
        try:
            await act(self)
            assert not running.done() or running.exception() is None
        finally:
            await asyncio.wait_for(self.connection.stop(), 15)
            await asyncio.wait_for(running, 15)
            listening.close()
            for visitor in self.server.visitors:
                visitor.transport.disconnect(graceful=False)
            await asyncio.sleep(0)
        assert self.connection.state is ConnectionState.DOWN
        left = asyncio.all_tasks() - before
        assert not left, f"tasks left over: {left}"

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        """Wait for a condition, for 5 s at most."""
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline, f"waited in vain for {what}; states {self.block.states}"
            await asyncio.sleep(0.002)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    def runner(act: Awaitable[None]) -> None:
        escaped: list[dict[str, object]] = []
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runs:
            runs.get_loop().set_exception_handler(lambda loop, context: escaped.append(context))
            runs.run(asyncio.wait_for(act, 60))
        # The server's end of a TLS handshake that we refused; nothing of ours may get here.
        assert [context for context in escaped if context["message"] != "SSL handshake failed"] == []

    return runner


Run = Callable[[Awaitable[None]], None]


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test here runs with all logs on, picows' dump of the handshake included; none may show the token."""
    caplog.set_level(1)
    yield
    for entry in caplog.get_records("call"):
        text = logging.Formatter().format(entry)
        assert "secret-c-app" not in text, text


def state_names(block: Block) -> list[str]:
    return [state.name for state in block.states]


# ---- subscribing and staying alive ----


def test_it_subscribes_in_batches_with_pauses_and_is_live_once_all_are_acknowledged(run: Run) -> None:
    scene = Scene()
    scene.vendor = lambda source: ToyVendor(source, batches=4)
    ToyVendor.semantics = Semantics(pause_s=0.05)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        (visitor,) = scene.server.visitors
        assert [payload for _, payload in visitor.received] == [b'{"subscribe":%d}' % n for n in range(4)]
        times = [at for at, _ in visitor.received]
        assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))

    try:
        run(scene.play(act))
    finally:
        ToyVendor.semantics = Semantics()
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"]
    assert scene.block.added == {"connects": 1, "acks": 4}
    assert scene.block.symbols == 2
    assert "last_ack_ns" in scene.block.times


def test_the_handshake_carries_token_and_headers(run: Run) -> None:
    scene = Scene()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.server.requests, "a request")
        (_, request) = scene.server.requests[0]
        assert request.path == b"/feed?token=c0ffee-very%2Fsecret-c-app"
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"

    run(scene.play(act))


def test_heartbeats_are_sent_and_their_answers_noted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyVendor, "heartbeat_interval_s", 0.03)
    scene = Scene()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.times.count("last_ack_ns") >= 4, "three heartbeats")
        beats = [payload for _, payload in scene.server.visitors[0].received[1:4]]
        assert beats == [b'{"beat":1}', b'{"beat":2}', b'{"beat":3}']

    run(scene.play(act))
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"]


def test_a_subscription_without_answer_is_counted_and_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.vendor = lambda source: ToyVendor(source, batches=2)
    scene.server.on_message = lambda visitor, payload: None

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("errors") == 2, "two errors")
        assert scene.connection.state is ConnectionState.SUBSCRIBING
        assert (scene.block.confirmed, scene.block.unconfirmed) == (0, 2)

    run(scene.play(act))
    assert scene.block.added["retries"] == 2
    assert "the request for A, B was not answered within 0.15 s; it is asked again" in caplog.text
    assert "the request for A, B was not answered within 0.15 s; it is given up" in caplog.text


@pytest.mark.parametrize("put_off", [False, True])
def test_a_connection_that_grants_nothing_and_sends_nothing_is_opened_anew(
    run: Run, caplog: pytest.LogCaptureFixture, put_off: bool
) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, silence_s=0.4))

    class Busy(ToyVendor):
        def control(self, payload: bytes) -> Control | None:
            return Refusal(429, "later", 0, passing=True) if b"later" in payload else super().control(payload)

    def answer(visitor: Visitor, payload: bytes) -> None:
        if len(scene.server.visitors) > 1:
            scene.server.acknowledge(visitor, payload)
        elif put_off:
            visitor.say('{"later":1}')

    scene.vendor = Busy
    scene.server.on_message = answer

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        assert scene.block.confirmed == 2, "it is asked for again, however soon"

    run(scene.play(act))
    assert "it grants nothing" in caplog.text
    assert scene.server.visitors[0].closed == (1001, "")
    assert [life.why for life in scene.history.lives()] == [EndReason.SILENT, EndReason.STOPPED]
    assert "gaps" not in scene.block.added, "there never was anything that could have been interrupted"


def test_data_makes_it_live_even_where_nobody_acknowledges(run: Run) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, ping_s=0.1))
    scene.subscribing = Subscribing(ack_s=60.0)
    scene.server.on_message = lambda visitor, payload: visitor.say('{"symbol":"A","price":1.5}')

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        assert "last_frame_ns" in scene.block.times

    run(scene.play(act))
    assert "acks" not in scene.block.added


def test_a_vendor_that_never_acknowledges_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyVendor, "semantics", Semantics(acknowledges=False))
    scene = Scene()
    scene.server.on_message = lambda visitor, payload: None

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        await asyncio.sleep(0.2)

    run(scene.play(act))
    assert "errors" not in scene.block.added


def test_what_the_vendor_refuses_is_counted_and_told_without_secrets(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, ping_s=0.1))
    scene.server.on_message = lambda visitor, payload: visitor.say(
        json.dumps({"error": f"no such plan for {TOKEN}\nnext line", "request": 0})
    )

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("errors"), "an error")
        await asyncio.sleep(0.2)
        assert scene.connection.state is ConnectionState.SUBSCRIBING, "a refusal is no success"

    run(scene.play(act))
    assert "the vendor reports error 7: 'no such plan for ***\\nnext line'" in caplog.text
    assert "not answered" not in caplog.text


def test_notices_are_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.server.on_connect = lambda visitor: visitor.say('{"notice":"closing at noon"}')

    async def act(scene: Scene) -> None:
        await scene.until(lambda: "closing at noon" in caplog.text, "the notice")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))


# ---- the end of a connection, and the next ----


def test_a_closed_connection_is_reopened_and_the_gap_is_told_once_data_had_flowed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()

    def greet(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.say('{"symbol":"A","price":1.5}')
        if len(scene.server.visitors) <= 2:
            visitor.transport.send_close(WSCloseCode.TRY_AGAIN_LATER, b"maintenance")

    scene.server.on_connect = greet

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.made) == 3, "a third connection")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert [listener.gaps for listener in scene.made] == [[(GapReason.DISCONNECT, -1)], [], []]
    assert scene.server.visitors[0].closed == (1013, ""), "a CLOSE is answered by a CLOSE"
    assert scene.block.added["connects"] == 3
    assert scene.block.added["disconnects"] == 2
    assert "closed with code 1013 'maintenance'" in caplog.text
    assert state_names(scene.block).count("DOWN") == 3


def test_an_interruption_over_several_attempts_is_one_gap_until_it_is_live_again(run: Run) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, backoff_first_s=0.05, backoff_longest_s=0.1))

    def visit(visitor: Visitor) -> None:
        # The second one is accepted and cut before it is subscribed; between them nobody is let in at all.
        if len(scene.server.visitors) == 2:
            visitor.transport.disconnect(graceful=False)
            scene.server.refusal = None

    scene.server.on_connect = visit

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.server.refusal = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE, b"")
        scene.server.visitors[0].transport.disconnect(graceful=False)
        await scene.until(lambda: len(scene.server.requests) >= 3, "refused attempts")
        scene.server.refusal = None
        await scene.until(lambda: len(scene.server.visitors) >= 3, "a third connection")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE again")

    run(scene.play(act))
    assert [gap for listener in scene.made for gap in listener.gaps] == [(GapReason.DISCONNECT, -1)]
    assert scene.block.added["gaps"] == 1
    lives = list(scene.history.lives())
    assert [life.told for life in lives][-1] is False
    assert lives[0].told and lives[0].next_live_ns == lives[-1].live_ns
    assert sum(life.attempts for life in lives) >= 1


def test_a_connection_that_is_simply_cut_is_reopened(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()

    def cut(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.transport.disconnect(graceful=False)

    scene.server.on_connect = cut

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert scene.block.added["connects"] + scene.block.added.get("errors", 0) == 2


def test_a_reset_right_behind_data_is_noticed_without_a_ping(run: Run) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, ping_s=0, silence_s=0.4))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        visitor = scene.server.visitors[0]
        made = visitor.transport.underlying_transport.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(3):
            visitor.say('{"symbol":"A","price":1}')
        # The loop would end it only after the other side has read.
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), made.fileno())
        await scene.until(lambda: len(scene.server.visitors) == 2, "the way back")

    run(scene.play(act))
    assert scene.made[0].published == 3, "what had come before is read"
    first = next(iter(scene.history.lives()))
    assert (first.why, first.told) == (EndReason.CUT, True)


def test_a_refused_handshake_is_told_with_its_status_and_tried_again(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    body = f'{{"msg":"token {TOKEN} is invalid","ret":401}}'.encode()
    scene.server.refusal = WSUpgradeResponse.create_error_response(HTTPStatus.UNAUTHORIZED, body)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 3, "three attempts")
        scene.server.refusal = None
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert "the handshake was refused: HTTP 401 Unauthorized" in caplog.text
    assert "token *** is invalid" in caplog.text
    assert scene.block.added["errors"] >= 3


def test_a_redirect_is_not_followed_with_the_token(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.server.refusal = WSUpgradeResponse.create_redirect_response(302, f"/elsewhere?token={TOKEN}")

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 2, "two attempts")

    run(scene.play(act))
    assert {request.path.split(b"?")[0] for _, request in scene.server.requests} == {b"/feed"}
    assert "HTTP 302 Found" in caplog.text


def test_a_server_that_is_not_there_is_tried_again_and_stop_does_not_wait(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(Liveness(backoff_first_s=30.0))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    scene.source = {"url": f"ws://127.0.0.1:{port}/feed"}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.DOWN, "DOWN")

    began = time.monotonic()
    run(scene.play(act))
    assert time.monotonic() - began < 15, "stop interrupts the pause before the next attempt"
    assert "cannot connect: ConnectionRefusedError" in caplog.text
    assert scene.block.added == {"errors": 1}


def test_a_server_that_never_answers_the_handshake_is_given_up(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(network=Network(handshake_s=0.1, connect_s=1.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scene.source = {"url": f"ws://127.0.0.1:{silent.getsockname()[1]}/feed"}

        async def act(scene: Scene) -> None:
            await scene.until(lambda: scene.block.added.get("errors", 0) >= 2, "two attempts")

        run(scene.play(act))
    assert "cannot connect: no answer in time" in caplog.text


def test_a_server_that_closes_before_the_upgrade_was_no_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    taken: list[socket.socket] = []

    def take(silent: socket.socket) -> None:
        while len(taken) < 2:
            connection, _ = silent.accept()
            taken.append(connection)
            connection.recv(4096)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        scene.source |= {"url": f"ws://127.0.0.1:{silent.getsockname()[1]}/feed"}
        taking = threading.Thread(target=take, args=(silent,))
        taking.start()

        async def act(scene: Scene) -> None:
            await scene.until(lambda: len(taken) == 2, "another attempt")

        run(scene.play(act))
        taking.join()
    assert "closed before the upgrade" in caplog.text
    assert "SUBSCRIBING" not in state_names(scene.block) and not scene.block.added.get("connects")


def test_stop_during_the_handshake_does_not_wait_for_it(run: Run) -> None:
    scene = Scene(network=Network(handshake_s=30.0, connect_s=30.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scene.source = {"url": f"ws://127.0.0.1:{silent.getsockname()[1]}/feed"}

        async def act(scene: Scene) -> None:
            await asyncio.sleep(0.1)

        began = time.monotonic()
        run(scene.play(act))
    assert time.monotonic() - began < 15
    assert state_names(scene.block) == ["CONNECTING", "DOWN"]


def test_a_message_beyond_the_limit_is_counted_and_ends_the_connection(run: Run) -> None:
    scene = Scene()
    scene.source = {"max_message_bytes": 1024}

    def flood(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.say("x" * 5000)

    scene.server.on_connect = flood

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("disconnects"), "a disconnect")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert scene.made[0].counted == [Reason.TOO_LARGE]
    assert scene.server.visitors[0].closed is not None
    assert scene.server.visitors[0].closed[0] == 1009


def test_a_mistake_in_a_vendors_code_costs_an_attempt_not_the_receiver(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    good = ToyVendor.subscribe
    calls = itertools.count()

    def subscribe(self: ToyVendor, symbols: Sequence[str]) -> list[Request]:
        if next(calls) == 0:
            raise LookupError(f"no entry for {TOKEN}")
        return good(self, symbols)

    monkeypatch.setattr(ToyVendor, "subscribe", subscribe)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert "unexpected LookupError at" in caplog.text
    assert "test_connection.py" in caplog.text
    assert scene.block.added["errors"] == 1


# ---- liveness ----


IMPATIENT = msgspec.structs.replace(QUICK, ping_s=0.1, pong_s=0.1, silence_s=0.2, silence_times=2)


def flow(visitor: Visitor, text: str = '{"symbol":"A","price":1}', every_s: float = 0.02) -> asyncio.Task[None]:
    """Send something again and again, until cancelled."""

    async def send() -> None:
        while not visitor.transport.is_disconnected:
            visitor.say(text)
            await asyncio.sleep(every_s)

    return asyncio.create_task(send())


def test_a_quiet_connection_that_answers_pings_is_left_in_peace(run: Run) -> None:
    scene = Scene(IMPATIENT)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.times.count("last_pong_ns") >= 6, "pongs")

    run(scene.play(act))
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"]
    assert scene.block.added == {"connects": 1, "acks": 1}


def test_a_connection_that_answers_nothing_is_stale_then_dropped_after_two_pings(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(IMPATIENT)
    scene.options = {"enable_auto_pong": False}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("connects", 0) >= 2, "a second connection")

    run(scene.play(act))
    assert ConnectionState.STALE in scene.block.states
    assert "2 pings without an answer, and nothing else came" in caplog.text
    assert scene.block.added["missed_pongs"] >= 2
    first = next(iter(scene.history.lives()))
    assert (first.why, first.told) == (EndReason.NO_PONG, True)
    assert first.close_code is None


def test_a_vendor_that_answers_no_pings_is_dropped_once_and_then_known(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(IMPATIENT)
    scene.options = {"enable_auto_pong": False}
    flows: list[asyncio.Task[None]] = []
    scene.server.on_connect = lambda visitor: flows.append(flow(visitor))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("connects", 0) >= 2, "a second connection")
        await asyncio.sleep(1.0)
        assert scene.block.added["connects"] == 2
        for each in flows:
            each.cancel()

    run(scene.play(act))
    assert "set source.liveness.ping_s = 0" in caplog.text


def test_data_that_stops_is_asked_for_again_and_helps(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(IMPATIENT)
    flows: list[asyncio.Task[None]] = []

    def subscribe(visitor: Visitor, payload: bytes) -> None:
        scene.server.acknowledge(visitor, payload)
        flows.append(flow(visitor))

    scene.server.on_message = subscribe

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.made and scene.made[0].published > 40, "data")
        flows[0].cancel()
        await scene.until(lambda: len(flows) == 2, "a second subscription")
        await scene.until(lambda: scene.block.states[-1] is ConnectionState.LIVE, "LIVE again")
        flows[1].cancel()

    run(scene.play(act))
    assert scene.block.added["connects"] == 1
    assert state_names(scene.block)[2:5] == ["LIVE", "STALE", "LIVE"]
    assert "it is there, but mute" in caplog.text
    # What the other side had to send meanwhile it did not send: the connection never broke, and yet there is a gap.
    assert scene.block.added["gaps"] == 1
    assert len(scene.made[0].gaps) == 1


def test_data_that_stops_for_good_costs_the_connection_once_where_nobody_knows_the_hours(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(IMPATIENT)
    flows: list[asyncio.Task[None]] = []
    scene.server.on_connect = lambda visitor: None if flows else flows.append(flow(visitor))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.made and scene.made[0].published > 40, "data")
        flows[0].cancel()
        await scene.until(lambda: scene.block.added["connects"] == 2, "a second connection")
        await asyncio.sleep(1.0)
        assert scene.connection.state is ConnectionState.LIVE
        assert scene.block.added["connects"] == 2, "what never had a rate is not missed"

    run(scene.play(act))
    assert "subscribing once more did not help" in caplog.text
    assert scene.server.visitors[0].closed == (1001, ""), "the other side is told, so that it counts us no more"
    first = next(iter(scene.history.lives()))
    assert (first.why, first.told) == (EndReason.SILENT, True)
    assert scene.block.added["gaps"] == 1


def test_data_that_nobody_wants_any_more_is_not_missed(run: Run) -> None:
    scene = Scene(IMPATIENT)
    flows: list[asyncio.Task[None]] = []
    scene.server.on_connect = lambda visitor: flows.append(flow(visitor))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.made and scene.made[0].published > 40, "data")
        # A is the one that ticks; B is quiet.
        scene.subscriber.unsubscribe(["A"])
        flows[0].cancel()
        await asyncio.sleep(1.0)

    run(scene.play(act))
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"]
    assert "gaps" not in scene.block.added


def test_no_data_is_missed_while_the_market_is_closed(run: Run) -> None:
    scene = Scene(IMPATIENT)
    flows: list[asyncio.Task[None]] = []
    scene.server.on_connect = lambda visitor: flows.append(flow(visitor))
    now = [0]
    # The lunch break begins at 1, the afternoon at 2; the day ends at 3.
    schedule = [Change(at, 20260105, int(status)) for at, status in enumerate(
        (MarketStatus.OPEN, MarketStatus.BREAK, MarketStatus.OPEN, MarketStatus.CLOSED)
    )]  # fmt: skip
    scene.spacing = {"hours": Hours(schedule, lambda: now[0])}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.made and scene.made[0].published > 40, "data")
        now[0] = 1
        flows[0].cancel()
        await asyncio.sleep(0.8)
        assert ConnectionState.STALE not in scene.block.states, "nothing is missed at lunch"
        now[0] = 2
        await scene.until(lambda: ConnectionState.STALE in scene.block.states, "STALE")

    run(scene.play(act))


def test_a_freeze_of_our_own_process_is_not_held_against_the_other_side(run: Run) -> None:
    scene = Scene(msgspec.structs.replace(IMPATIENT, ping_s=0.4, pong_s=0.4, silence_s=0.4))
    flows: list[asyncio.Task[None]] = []
    scene.server.on_connect = lambda visitor: flows.append(flow(visitor))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.made and scene.made[0].published > 40, "data")
        for _ in range(2):
            time.sleep(1.0)
            await asyncio.sleep(0.3)
        flows[0].cancel()

    run(scene.play(act))
    assert scene.block.added["connects"] == 1
    assert ConnectionState.STALE not in scene.block.states


# ---- back-pressure ----


def test_reading_pauses_while_records_wait_and_the_time_is_counted(run: Run) -> None:
    scene = Scene(IMPATIENT, Timing(drain_s=0.03))
    scene.options = {"enable_auto_pong": False}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        (visitor,) = scene.server.visitors
        visitor.say('{"symbol":"P","price":1}')
        await scene.until(lambda: scene.made[0].waiting, "pressure")
        visitor.say('{"symbol":"A","price":1}')
        await asyncio.sleep(0.1)
        assert scene.made[0].published == 1, "nothing is read while records wait"
        assert not scene.made[0].transport.underlying_transport.is_reading()
        assert scene.receiver.added["paused_ns"] >= 0.05e9, "a pause is counted while it lasts"
        await scene.until(lambda: scene.made[0].published == 2, "reading again")
        # 20 steps of 0.03 s: longer than silence is borne (0.4 s), but the silence was our own.
        assert ConnectionState.STALE not in scene.block.states

    run(scene.play(act))
    assert scene.receiver.added["paused_ns"] >= 0.4e9
    assert scene.made[0].gaps == []


def test_a_connection_starts_when_it_is_its_turn_and_a_stop_does_not_wait_for_that(run: Run) -> None:
    scene = Scene()
    scene.spacing = {"start_after_s": 0.2}

    async def late(scene: Scene) -> None:
        began = time.monotonic()
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        assert time.monotonic() - began >= 0.2
        assert scene.block.states[0] is ConnectionState.CONNECTING

    run(scene.play(late))
    scene = Scene()
    scene.turns = Turns(spacing_s=3600.0)
    scene.turns.ask("somebody else", 1, 0.0, 0.0)

    async def never(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.CONNECTING, "CONNECTING")
        await asyncio.sleep(0.05)
        assert scene.server.requests == []

    run(scene.play(never))


def test_one_connections_frames_are_no_sign_of_life_of_another(run: Run) -> None:
    scene = Scene(IMPATIENT)
    scene.options = {"enable_auto_pong": False}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        while ConnectionState.STALE not in scene.block.states:
            # The counters that all connections of a receiver share go on.
            scene.receiver.frames += 1
            await asyncio.sleep(0.002)

    run(scene.play(act))


def test_what_waits_goes_into_the_rings_before_the_gap_of_a_disconnect(run: Run) -> None:
    scene = Scene()

    def greet(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.say('{"symbol":"P","price":1}')
            visitor.transport.disconnect()

    scene.server.on_connect = greet
    waiting: list[int] = []

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("connects"), "a connection")
        first = scene.made[0]
        tell = first.publish_gap

        def gap(
            reason: int, count: int, symbols: Iterable[bytes] | None = None, first_ns: int = 0, last_ns: int = 0
        ) -> None:
            waiting.append(first.waiting)
            tell(reason, count, symbols, first_ns, last_ns)

        first.publish_gap = gap  # type: ignore[method-assign]
        await scene.until(lambda: scene.block.added["connects"] == 2, "a second connection")

    run(scene.play(act))
    assert waiting == [0]
    assert scene.made[0].gaps == [(GapReason.DISCONNECT, -1)]
    assert scene.made[0].concerned == [None]


def test_one_of_several_connections_tells_its_interruption_to_its_own_symbols(run: Run) -> None:
    scene = Scene()
    scene.spacing = {"concerned": lambda: (b"A", b"B")}

    def greet(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.say('{"symbol":"A","price":1}')
            visitor.transport.disconnect()

    scene.server.on_connect = greet

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("connects") == 2, "a second connection")

    run(scene.play(act))
    assert scene.made[0].concerned == [(b"A", b"B")]


def test_stop_empties_the_side_queue_publishes_and_says_goodbye(run: Run) -> None:
    scene = Scene()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.made[0].calls.clear()
        scene.made[0].waiting = 10
        await scene.connection.stop()
        await scene.until(lambda: scene.server.visitors[0].closed, "a CLOSE frame")

    run(scene.play(act))
    assert scene.made[0].calls[:2] == ["drained", "publish"]
    assert scene.made[0].gaps == []
    assert scene.server.visitors[0].closed == (1001, "")
    assert len(scene.server.requests) == 1


def test_stop_empties_the_side_queue_of_a_connection_that_ended_at_the_same_moment(run: Run) -> None:
    scene = Scene()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.made[0].calls.clear()
        scene.made[0].waiting = 50
        scene.made[0].transport.disconnect(graceful=False)
        await scene.connection.stop()

    run(scene.play(act))
    assert "drained" in scene.made[0].calls
    assert scene.made[0].waiting == 0


def test_stop_does_not_wait_for_ever_for_a_worker_that_takes_nothing(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(timing=Timing(stop_s=0.1))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.made[0].waiting = 7
        scene.made[0].drain = lambda: 7  # type: ignore[method-assign]
        began = time.monotonic()
        await scene.connection.stop()
        assert time.monotonic() - began < 15

    run(scene.play(act))
    assert "7 records were still waiting" in caplog.text
    assert scene.made[0].abandoned == 7


def test_a_connection_that_ended_just_before_the_stop_has_no_more_time_than_another(run: Run) -> None:
    scene = Scene(timing=Timing(stop_s=1.5))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.made[0].published += 1
        scene.made[0].waiting = 7
        scene.made[0].drain = lambda: 7  # type: ignore[method-assign]
        scene.made[0].transport.disconnect(graceful=False)
        await scene.until(lambda: scene.block.added.get("disconnects"), "the end of the connection")
        began = time.monotonic()
        await scene.connection.stop()
        # The queue is waited for before the gap and after it: once is all the time there is for both.
        assert time.monotonic() - began < 2.8

    run(scene.play(act))
    assert scene.made[0].abandoned == 7


# ---- the socket ----


def test_the_receive_buffer_is_as_large_as_configured(run: Run) -> None:
    scene = Scene()
    scene.source = {"receive_buffer_bytes": 32768}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        made = scene.made[0].transport.underlying_transport.get_extra_info("socket")
        # Linux doubles the number, to have room for its own bookkeeping.
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (32768, 65536)

    run(scene.play(act))


def tls_server(certificate: str, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if newest is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    context.load_cert_chain(TLS / certificate)
    return context


@pytest.mark.parametrize("buffer_bytes", [0, 65536], ids=["plain", "own socket"])
def test_a_trusted_certificate_for_the_right_host_is_accepted(
    run: Run, monkeypatch: pytest.MonkeyPatch, buffer_bytes: int
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "localhost.pem"))
    scene = Scene()
    scene.source = {"receive_buffer_bytes": buffer_bytes}
    scene.scheme, scene.host = "wss", "localhost"
    scene.options = {"ssl": tls_server("localhost.pem")}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))


@pytest.mark.parametrize(
    ("certificate", "trusted", "host", "newest", "said"),
    [
        ("localhost.pem", None, "localhost", None, "not to be trusted: 'self"),
        ("localhost.pem", "localhost.pem", "127.0.0.1", None, "not to be trusted: 'IP address mismatch"),
        ("expired.pem", "expired.pem", "localhost", None, "not to be trusted: 'certificate has expired'"),
        ("localhost.pem", "localhost.pem", "localhost", ssl.TLSVersion.TLSv1_1, "cannot connect: "),
    ],
    ids=["self-signed", "wrong host", "expired", "old TLS"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_what_cannot_be_verified_is_refused_before_the_token_is_sent(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    certificate: str,
    trusted: str | None,
    host: str,
    newest: ssl.TLSVersion | None,
    said: str,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / trusted))
    scene = Scene()
    scene.scheme, scene.host = "wss", host
    scene.options = {"ssl": tls_server(certificate, newest)}

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("errors", 0) >= 2, "two attempts")

    run(scene.play(act))
    assert said in caplog.text
    assert scene.server.requests == []
    assert "connects" not in scene.block.added


# ---- pauses between attempts ----


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 30.0, spread=0.0)
    assert [backoff.next_s() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 1


def test_pauses_are_spread_and_never_shorter_than_the_vendor_allows() -> None:
    chance = random.Random(7).random
    backoff = Backoff(1.0, 30.0, shortest_s=3.0, spread=0.25, chance=chance)
    first = [backoff.next_s() for _ in range(2)]
    assert all(3.0 <= pause < 3.75 for pause in first)
    assert first[0] != first[1]
    rest = [backoff.next_s() for _ in range(2000)]
    assert all(3.0 <= pause < 37.5 for pause in rest)
    assert max(rest) - min(rest[10:]) > 5


def test_attempts_keep_the_vendors_distance(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyVendor, "min_reconnect_s", 0.15)
    scene = Scene()
    scene.server.on_connect = lambda visitor: visitor.transport.disconnect(graceful=False)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 4, "four attempts")

    run(scene.play(act))
    times = [at for at, _ in scene.server.requests]
    assert all(later - earlier >= 0.149 for earlier, later in itertools.pairwise(times))


def test_pauses_grow_with_failures_and_begin_anew_after_a_stable_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(msgspec.structs.replace(QUICK, backoff_first_s=0.02, backoff_longest_s=1.0, stable_s=0.2))
    pauses: list[float] = []
    next_s = Backoff.next_s

    def noted(self: Backoff, at_least_s: float = 0.0) -> float:
        pauses.append(next_s(self, at_least_s))
        return pauses[-1]

    monkeypatch.setattr(Backoff, "next_s", noted)

    def visit(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 4:
            asyncio.get_running_loop().call_later(0.3, visitor.transport.disconnect)
        else:
            visitor.transport.disconnect(graceful=False)

    scene.server.on_connect = visit

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 5, "five attempts")

    run(scene.play(act))
    for pause, shortest in zip(pauses[:4], (0.02, 0.04, 0.08, 0.02), strict=True):
        assert shortest <= pause <= shortest * 1.25
    times = [at for at, _ in scene.server.requests]
    for (earlier, later), pause in zip(itertools.pairwise(times[:4]), pauses[:3], strict=True):
        # A loop's timer may be a millisecond early.
        assert later - earlier >= pause - 0.002

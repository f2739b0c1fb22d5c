"""The latest prices after a gap: asked for in few requests, read carefully, told only where they are sound."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import uvloop
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server
from test_reaching import Tunnels

from openbell.config import Liveness, Network, Source
from openbell.errors import ConfigError, VendorError
from openbell.receiver import fetch as fetching
from openbell.receiver.redact import Redactor
from openbell.receiver.repair import Repair, Repaired
from openbell.vendors import create

TOKEN = "c0ffee/very-secret-c-app"
TLS = Path(__file__).parent / "tls"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test here runs with all logs on; none may show the token, in whatever form it travels."""
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    caplog.set_level(1)
    yield
    for entry in caplog.get_records("call"):
        assert "very-secret-c-app" not in logging.Formatter().format(entry)


class Desk:
    """An HTTP interface on loopback that answers as it is told, and notes what it was asked."""

    def __init__(self, answer: Callable[[list[str]], Any]) -> None:
        self._answer = answer
        self.asked: list[list[str]] = []
        self.tokens: list[str] = []
        self.paths: list[str] = []
        self.port = 0

    def __call__(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        parts = urlsplit(request.path.decode())
        values = parse_qs(parts.query)
        self.paths.append(parts.path)
        self.tokens += values["token"]
        query = json.loads(values["query"][0])
        assert len(query["trace"]) <= 64
        self.asked.append([each["code"] for each in query["data"]["symbol_list"]])
        made = self._answer(self.asked[-1])
        if isinstance(made, int):
            body = f"no: {values['token'][0]}".encode()
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(made, body), None)
        body = made if isinstance(made, bytes) else json.dumps(made).encode()
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(body), None)


def ticks(codes: list[str]) -> dict[str, Any]:
    """Answer as the vendor's documents show it: numbers are text."""
    found = [
        {"code": code, "seq": "30841439", "tick_time": "1677831545217", "price": "136.302", "volume": "7"}
        for code in codes
    ]
    return {"ret": 200, "msg": "ok", "trace": "t", "data": {"tick_list": found}}


class Told:
    """A listener, as far as a repair needs one."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, float, float, int, int]] = []

    def publish_repair(self, key: bytes, price: float, size: float, exchange_ns: int, sequence: int = 0) -> bool:
        self.told.append((key, price, size, exchange_ns, sequence))
        return key != b"hk:9.HK"


class Block:
    def __init__(self) -> None:
        self.added: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        self.added[name] = self.added.get(name, 0) + count


class Scene:
    """A desk, and a repair that asks it."""

    def __init__(self, answer: Callable[[list[str]], Any], symbols: int = 3, **source: Any) -> None:
        self.desk = Desk(answer)
        self.told = Told()
        self.block = Block()
        self.symbols = tuple(f"{number}.HK" for number in range(1, symbols + 1))
        self.scheme, self.host = "ws", "127.0.0.1"
        self.options: dict[str, Any] = {}
        self._source = source

    async def repair(self, network: Network | None = None) -> Repaired:
        quiet = logging.getLogger("test_repair.server")
        quiet.setLevel(logging.CRITICAL)
        server = await ws_create_server(self.desk, "127.0.0.1", 0, logger_name=quiet, **self.options)
        try:
            self.desk.port = server.sockets[0].getsockname()[1]
            source = Source(
                vendor="alltick",
                symbols=self.symbols,
                prefix="hk:",
                token_env="MY_TOKEN",
                url=f"{self.scheme}://{self.host}:{self.desk.port}/quote-stock-b-ws-api",
                liveness=Liveness(repair_after_gap=True, repair_pause_s=0.0),
                network=network or Network(connect_s=2.0),
                **self._source,
            )
            vendor = create(source)
            return await Repair(source, vendor, self.block, Redactor(vendor)).run(self.told, self.symbols)
        finally:
            server.close()


def run(act: Awaitable[Repaired]) -> Repaired:
    async def bounded() -> Repaired:
        return await asyncio.wait_for(act, 20)

    return uvloop.run(bounded())


def test_every_symbol_is_asked_for_and_told_with_its_prefix() -> None:
    scene = Scene(ticks)
    assert run(scene.repair()) == Repaired(symbols=3, failures=0)
    assert scene.desk.asked == [["1.HK", "2.HK", "3.HK"]]
    assert scene.desk.tokens == [TOKEN]
    assert scene.desk.paths == ["/quote-stock-b-api/trade-tick"]
    assert scene.told.told[0] == (b"hk:1.HK", 136.302, 7.0, 1_677_831_545_217_000_000, 30_841_439)
    assert scene.block.added == {"repairs": 3}


def test_a_request_has_no_more_codes_than_an_address_has_room_for_or_the_plan_allows() -> None:
    scene = Scene(ticks, symbols=120)
    run(scene.repair())
    assert [len(codes) for codes in scene.desk.asked] == [50, 50, 20]
    assert [code for codes in scene.desk.asked for code in codes] == list(scene.symbols)
    scene = Scene(ticks, symbols=5, max_streams=5)
    run(scene.repair())
    assert [len(codes) for codes in scene.desk.asked] == [5]


def test_a_symbol_that_nobody_knows_is_not_counted_as_told() -> None:
    scene = Scene(ticks, symbols=9)
    assert run(scene.repair()).symbols == 8


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf", "1e999"])
def test_a_price_that_is_none_is_not_told(price: str) -> None:
    def answer(codes: list[str]) -> Any:
        made = ticks(codes)
        made["data"]["tick_list"][1]["price"] = price
        return made

    scene = Scene(answer)
    assert run(scene.repair()) == Repaired(symbols=2, failures=0)
    assert [key for key, *_ in scene.told.told] == [b"hk:1.HK", b"hk:3.HK"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"ret": 605, "msg": f"too many from {TOKEN}"}, "error 605: too many from ***"),
        (b"<html>", "none that this vendor is known to give"),
        (b"\xff", "none that this vendor is known to give"),
        (int(HTTPStatus.UNAUTHORIZED), "HTTP 401"),
        (int(HTTPStatus.BAD_GATEWAY), "HTTP 502"),
    ],
)
def test_what_goes_wrong_is_told_without_secrets_and_given_up_after_three_times(
    answer: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(lambda codes: answer, symbols=400)
    assert run(scene.repair()) == Repaired(symbols=0, failures=3)
    assert len(scene.desk.asked) == 3
    assert said in caplog.text
    assert "no further prices" in caplog.text


def test_one_answer_that_goes_wrong_does_not_cost_the_others() -> None:
    answers = iter([500, None, 500, None])
    scene = Scene(lambda codes: next(answers) or ticks(codes), symbols=200)
    assert run(scene.repair()) == Repaired(symbols=100, failures=2)


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(fetching, "BODY_MAX", 1000)
    scene = Scene(lambda codes: b" " * 100_000)
    assert run(scene.repair()).failures == 1
    assert "more than 1,000 bytes" in caplog.text


def test_a_server_that_does_not_answer_is_given_up_and_nobody_waits_for_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def silent() -> Repaired:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        source = Source(
            vendor="alltick",
            symbols=("1.HK",),
            url=f"ws://127.0.0.1:{port}/quote-stock-b-ws-api",
            network=Network(connect_s=0.2),
        )
        vendor = create(source)
        try:
            return await Repair(source, vendor, Block(), Redactor(vendor)).run(Told(), ("1.HK",))
        finally:
            server.close()

    assert run(silent()).failures == 1
    assert "TimeoutError" in caplog.text


@pytest.mark.parametrize("trusted", [True, False])
def test_the_certificate_is_verified_here_as_well(trusted: bool, caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "localhost.pem")
    scene = Scene(ticks)
    scene.scheme, scene.host, scene.options = "wss", "localhost", {"ssl": context}
    network = Network(connect_s=2.0, ca_file=str(TLS / "localhost.pem") if trusted else None)
    assert run(scene.repair(network)).symbols == (3 if trusted else 0)
    if not trusted:
        assert "certificate verify failed" in caplog.text
        assert scene.desk.asked == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_the_same_proxy_is_gone_through(kind: str) -> None:
    tunnels = Tunnels()
    scene = Scene(ticks)

    async def through() -> Repaired:
        async with tunnels.open():
            return await scene.repair(Network(connect_s=2.0, proxy=f"{kind}://127.0.0.1:{tunnels.port}"))

    assert run(through()).symbols == 3
    assert tunnels.asked == [("127.0.0.1", scene.desk.port)]


def test_a_vendor_without_such_an_interface_is_refused_at_once() -> None:
    liveness = Liveness(repair_after_gap=True)
    with pytest.raises(ConfigError, match="repair_after_gap: binance has no HTTP interface"):
        create(Source(vendor="binance", symbols=("BTCUSDT",), liveness=liveness))
    with pytest.raises(ConfigError, match="not at this address"):
        create(Source(vendor="alltick", symbols=("1.HK",), url="ws://127.0.0.1:1/relay", liveness=liveness))


def test_times_in_seconds_are_read_as_such() -> None:
    vendor = create(Source(vendor="alltick", symbols=("1.HK",), url="ws://127.0.0.1:1/quote-stock-b-ws-api"))
    answer = {"ret": 200, "data": {"tick_list": [{"code": "1.HK", "price": 5, "tick_time": 1605509068}]}}
    (latest,) = vendor.read_latest(msgspec.json.encode(answer))
    assert latest.exchange_ns == 1_605_509_068_000_000_000
    with pytest.raises(VendorError, match="error 401"):
        vendor.read_latest(b'{"ret":401,"msg":"token is required"}')

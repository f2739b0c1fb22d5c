"""Finding a vendor, and what the two built-in ones ask and understand."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from openbell import vendors
from openbell.config import Config, Feed, Source
from openbell.core.plan import Plan
from openbell.errors import ConfigError, VendorError
from openbell.reasons import Reason
from openbell.receiver.fallback import Fallback
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.vendors import Ack, Control, HeartbeatAck, Ignore, Notice, Refusal, Route
from openbell.vendors.alltick import AllTick
from openbell.vendors.binance import Binance
from openbell.vendors.plan import MARKER_WINDOW

TOKEN = "c0ffee-very/secret-c-app"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture
def alltick(monkeypatch: pytest.MonkeyPatch) -> AllTick:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    return AllTick(Source(vendor="alltick", symbols=("600519.SH", "700.HK"), token_env="ALLTICK_TOKEN"))


def binance(
    *streams: str, symbols: tuple[str, ...] = ("BTCUSDT",), market: str | None = None, **more: object
) -> Binance:
    return Binance(Source(vendor="binance", symbols=symbols, streams=streams, market=market, **more))  # type: ignore[arg-type]


# ---- the registry ----


def test_built_in_vendors_are_found_by_name() -> None:
    assert vendors.load("alltick") is AllTick
    assert vendors.load("binance") is Binance


def test_a_vendor_of_ones_own_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_vendor_found.py").write_text(
        "from openbell.vendors.binance import Binance\nclass Mine(Binance):\n    name = 'mine'\n", "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = Source(vendor="my_vendor_found:Mine", symbols=("BTCUSDT",))
    assert vendors.create(source).name == "mine"


def test_an_installed_vendor_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = tmp_path / "my_vendor-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: my-vendor\nVersion: 1.0\n", "utf-8")
    (meta / "entry_points.txt").write_text("[openbell.vendors]\nmine = openbell.vendors.binance:Binance\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert vendors.load("mine") is Binance


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "no_such_module_here:X", "no module 'no_such_module_here'; is its folder on PYTHONPATH"),
        ("", "my_broken:Nothing", "module 'my_broken' has no 'Nothing'"),
        ("class Thing: pass\n", "my_broken:Thing", "is not a subclass of openbell.vendors.Vendor"),
        ("def broken(:\n", "my_broken:X", "cannot be imported"),
        ("import no_such_module_there\n", "my_broken:X", "no module 'no_such_module_there'"),
        (
            "import openbell.vendors as v\nclass X(v.Vendor): pass\n",
            "my_broken:X",
            "does not define control, plan, subscribe",
        ),
    ],
)
def test_a_broken_vendor_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, said: str
) -> None:
    (tmp_path / "my_broken.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)
    with pytest.raises(VendorError, match=said):
        vendors.load(name)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)


@pytest.mark.parametrize("name", ["..:X", ":X", "os:", "a b:X", "os.:path", "os:path.", "\x00:X", "::"])
def test_a_path_that_cannot_be_one_is_a_mistake_in_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match=r'names no class; write "package\.module:Class"'):
        vendors.load(name)


# ---- the plans ----


@pytest.mark.parametrize(
    "vendor",
    [
        AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/")),
        AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/", streams=("trade", "book"))),
        AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/", streams=("book",))),
        binance("trade"),
        binance("aggTrade", "bookTicker", "depth@100ms"),
        binance("trade", "bookTicker", market="usdm"),
        binance("trade", "bookTicker", "depth", url="wss://stream.binance.com/ws"),
        binance("miniTicker", "bookTicker"),
        binance("miniTicker", "bookTicker", symbols=("BTCUSDT",), open=True),
        binance("miniTicker", symbols=(), open=True, url="wss://stream.binance.com/ws"),
    ],
    ids=[
        *("alltick", "alltick's books, too", "alltick's books alone", "one stream", "combined", "futures", "raw"),
        *("tickers", "tickers of the whole market", "raw tickers of the whole market"),
    ],
)
def test_every_plan_compiles(vendor: vendors.Vendor) -> None:
    Plan(vendor.plan())


# ---- AllTick ----


def test_alltick_subscribes_to_all_symbols_in_one_message(alltick: AllTick) -> None:
    messages = alltick.subscribe([f"{n:06d}.SZ" for n in range(3000)])
    assert len(messages) == 1
    request = json.loads(messages[0].payload)
    assert set(request) == {"cmd_id", "seq_id", "trace", "data"}
    assert request["cmd_id"] == 22004
    assert 0 < len(request["trace"]) <= 64
    assert request["data"]["symbol_list"][0] == {"code": "000000.SZ"}
    assert len(request["data"]["symbol_list"]) == 3000


def test_alltick_asks_for_books_in_a_message_of_their_own_as_deep_as_each_market_goes() -> None:
    symbols = ("600519.SH", "000627.SZ", "700.HK", "AAPL.US", "BTCUSDT", "USDJPY", "GOLD")
    source = Source(vendor="alltick", symbols=symbols, url="ws://127.0.0.1:1/", streams=("book", "trade"))
    vendor = AllTick(source)
    trades, books = (json.loads(request.payload) for request in vendor.subscribe(symbols))
    assert (trades["cmd_id"], books["cmd_id"]) == (22004, 22002)
    assert (trades["seq_id"], books["seq_id"]) == (1, 2)
    assert [entry["code"] for entry in trades["data"]["symbol_list"]] == list(symbols)
    depths = {entry["code"]: entry["depth_level"] for entry in books["data"]["symbol_list"]}
    assert depths == dict(zip(symbols, (5, 5, 10, 1, 5, 1, 1), strict=True))
    # Two requests of a connection must be a second apart, or the second one is refused.
    assert vendor.manner.pause_s > 1


def test_alltick_gives_books_alone_if_nothing_else_is_wanted() -> None:
    source = Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/", streams=("book",))
    (message,) = AllTick(source).subscribe(source.symbols)
    assert json.loads(message.payload)["cmd_id"] == 22002


def test_requests_of_alltick_connections_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "abc")
    vendor = AllTick(Source(vendor="alltick", symbols=("A",), token_env="T"))
    # As they arrive: three seconds is what the vendor wants.
    assert vendor.connection_spacing_s > 3
    assert AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/")).connection_spacing_s == 0


def test_alltick_numbers_its_requests_and_sends_heartbeats_as_documented(alltick: AllTick) -> None:
    first, second = json.loads(alltick.heartbeat()), json.loads(alltick.heartbeat())
    assert first["cmd_id"] == 22000
    assert first["data"] == {}
    assert (first["seq_id"], second["seq_id"]) == (1, 2)
    assert first["trace"] != second["trace"]
    assert alltick.heartbeat_interval_s == 10
    assert alltick.min_reconnect_s == 3


def test_alltick_puts_the_token_into_the_address_and_nowhere_else(alltick: AllTick) -> None:
    assert alltick.url().reveal() == ("wss://quote.alltick.co/quote-stock-b-ws-api?token=c0ffee-very%2Fsecret-c-app")
    shown = " ".join(
        [alltick.display_url(), repr(alltick.url()), str(alltick.url()), repr(alltick), repr(vars(alltick))]
    )
    assert "secret-c-app" not in shown
    assert alltick.display_url() == "wss://quote.alltick.co/quote-stock-b-ws-api"
    assert b"secret-c-app" not in alltick.subscribe(["A"])[0].payload + alltick.heartbeat()


def test_alltick_keeps_the_query_of_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "abc")
    source = Source(vendor="alltick", symbols=("A",), token_env="T", url="wss://relay.example:8443/x?region=hk")
    vendor = AllTick(source)
    assert vendor.url().reveal() == "wss://relay.example:8443/x?region=hk&token=abc"
    assert vendor.display_url() == "wss://relay.example:8443/…"


def test_alltick_needs_no_token_on_this_machine() -> None:
    vendor = AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:9/x", min_reconnect_s=0.1))
    assert vendor.url().reveal() == "ws://127.0.0.1:9/x?token=local"
    assert vendor.min_reconnect_s == 0.1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"market": "moon"}, "source.market: alltick has no market 'moon'"),
        ({"streams": ("trade", "depth")}, 'source.streams: alltick has no \'depth\'; there are "trade" and "book"'),
        ({"symbols": (), "open": True}, "source.symbols: alltick sends what is listed, and nothing else; list some"),
    ],
)
def test_alltick_refuses_what_it_cannot_give(more: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AllTick(Source(**({"vendor": "alltick", "symbols": ("A",), "url": "ws://127.0.0.1/"} | more)))  # type: ignore[arg-type]


def test_alltick_never_reconnects_sooner_than_the_vendor_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "abc")
    for asked, held in ((None, 3.0), (1.0, 3.0), (10.0, 10.0)):
        vendor = AllTick(Source(vendor="alltick", symbols=("A",), token_env="T", min_reconnect_s=asked))
        assert vendor.min_reconnect_s == held


ALLTICK_CONTROL: dict[bytes, Control | None] = {
    b'{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":7,"trace":"3baaa938","data":{}}': Ack(7),
    b'{"ret":"200","msg":"ok","cmd_id":"22005","seq_id":"7","trace":"3baaa938","data":{}}': Ack(7),
    b'{"ret":200,"msg":"ok","cmd_id":22007,"seq_id":8,"trace":"x","data":{}}': Ack(8),
    b'{"ret":200,"msg":"ok","cmd_id":22001,"seq_id":9,"trace":"x","data":{}}': HeartbeatAck(),
    b'{"ret":201,"msg":"request header param invalid","cmd_id":0,"seq_id":0,"trace":"","data":{}}': Refusal(
        201, "request header param invalid"
    ),
    b'{"ret":603,"msg":"token level not enough","cmd_id":22005,"seq_id":7}': Refusal(
        603, "token level not enough", 7, final=True
    ),
    b'{"msg":"token is required","ret":401}': Refusal(401, "token is required", final=True),
    b'{"ret":999999}': Refusal(999999, ""),
    b'{"cmd_id":22998,"data":{"code":"1288.HK","price":"651.12"}}': None,
    b'{"cmd_id":4242,"ret":200}': None,
    b'{"ret":null,"cmd_id":null}': None,
    b'{"ret":[]}': None,
    b'{"ret":true}': None,
    b"[]": None,
    b"": None,
    b"\xff": None,
    b'{"msg":"\xff","ret":1}': None,
    b'{"x":' + b"[" * 100_000: None,
}


@pytest.mark.parametrize(("payload", "meaning"), ALLTICK_CONTROL.items(), ids=range(len(ALLTICK_CONTROL)))
def test_alltick_answers_are_understood(alltick: AllTick, payload: bytes, meaning: Control | None) -> None:
    assert alltick.control(payload) == meaning


# ---- Binance ----


def test_binance_subscribes_in_batches_in_lower_case() -> None:
    vendor = binance("trade", "bookTicker", symbols=tuple(f"OB{n:05d}USDT" for n in range(150)))
    requests = [json.loads(request.payload) for request in vendor.subscribe(vendor.source.symbols)]
    assert [len(request["params"]) for request in requests] == [200, 100]
    assert [request["id"] for request in requests] == [1, 2]
    assert {request["method"] for request in requests} == {"SUBSCRIBE"}
    assert requests[0]["params"][:2] == ["ob00000usdt@trade", "ob00000usdt@bookTicker"]
    # 5 messages a second are allowed, and an answer to a ping is one.
    assert 1 / vendor.manner.pause_s <= 4


def test_binance_asks_once_for_a_symbol_written_twice() -> None:
    vendor = binance("trade", symbols=("btcusdt", "BTCUSDT"))
    assert json.loads(vendor.subscribe(vendor.source.symbols)[0].payload)["params"] == ["btcusdt@trade"]


def test_binance_gives_tickers_one_by_one_of_listed_symbols_and_in_arrays_of_a_whole_market() -> None:
    def asked(vendor: Binance) -> list[str]:
        return [name for each in vendor.requests(vendor.source.symbols) for name in json.loads(each.payload)["params"]]

    assert asked(binance("miniTicker", symbols=("BTCUSDT", "ETHUSDT"))) == ["btcusdt@miniTicker", "ethusdt@miniTicker"]
    assert asked(binance("miniTicker", symbols=(), open=True)) == ["!miniTicker@arr"]
    # Any number of symbols, and it is still one stream of a connection.
    symbols = tuple(f"S{n}" for n in range(2000))
    assert asked(binance("miniTicker", symbols=symbols, open=True)) == ["!miniTicker@arr"]
    mixed = binance("bookTicker", "miniTicker", symbols=("BTCUSDT",), open=True)
    assert asked(mixed) == ["!miniTicker@arr", "btcusdt@bookTicker"]


@pytest.mark.parametrize("streams", [("bookTicker",), ("miniTicker", "bookTicker")])
def test_binance_gives_nothing_but_tickers_without_a_list_of_symbols(streams: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="gives all symbols as streams"):
        binance(*streams, symbols=(), open=True)


def test_binance_symbols_arrive_in_upper_case() -> None:
    assert binance("trade").symbol_key("btcusdt") == "BTCUSDT"


def test_binance_takes_as_many_symbols_as_a_connection_has_streams_for() -> None:
    assert binance("trade").manner.limit == 1024
    assert binance("trade", "bookTicker").manner.limit == 512
    assert binance("trade", "bookTicker", max_streams=5).manner.limit == 2
    assert binance("miniTicker", symbols=(), open=True).manner.limit is None
    assert binance("bookTicker", "miniTicker", open=True, max_streams=5).manner.limit == 4
    with pytest.raises(ConfigError, match="the streams of one symbol are 2, and a connection may have 1"):
        binance("trade", "bookTicker", max_streams=1)


@pytest.mark.parametrize(
    ("connections", "more", "said"),
    [
        (1, {}, r"7,000 symbols on a connection, and alltick takes 3,000 there; write connections = 3, or conn"),
        (2, {}, r"3,500 symbols on a connection, .* write connections = 3, or connections = \"auto\""),
        (3, {}, None),
        (3, {"max_streams": 200}, r"takes 200 there \(max_streams = 200\); write connections = 35"),
        (1, {"max_streams": 5}, r"takes 5 there \(max_streams = 5\), and a feed has 64 connections at most"),
    ],
)
def test_more_symbols_than_a_connection_takes_are_refused_with_the_connections_they_need(
    connections: int, more: dict[str, int], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", "abc")
    symbols = tuple(f"{number:06d}.SZ" for number in range(7000))
    source = Source(vendor="alltick", symbols=symbols, token_env="T", connections=connections, **more)  # type: ignore[arg-type]
    config = Config(feed=Feed(name="big"), sources=(source,))
    if said is None:
        assert len(vendors.check(config, "feed.toml")) == 3
        return
    with pytest.raises(ConfigError, match=rf"feed\.toml: source\.symbols: .*{said}"):
        vendors.check(config, "feed.toml")


def test_a_recording_is_not_told_to_take_more_connections() -> None:
    source = Source(vendor="ticks", symbols=("A", "B"), url="ws://127.0.0.1:1/", max_streams=1)
    config = Config(feed=Feed(name="big"), sources=(source,))
    with pytest.raises(ConfigError, match=r"takes 1 there .*; a recording has one connection, so ask for fewer"):
        vendors.check(config, "feed.toml", one_connection="a recording has one connection")


@pytest.mark.parametrize(
    ("streams", "market", "said"),
    [
        (("trade", "aggTrade"), None, "would count twice"),
        (("trade", "aggTrade"), "usdm", "would count twice"),
        (("miniTicker", "trade"), None, "states the volume of a whole day, and trades would add to it"),
        (("aggTrade", "miniTicker"), "usdm", "states the volume of a whole day, and trades would add to it"),
        (("miniTicker", "bookTicker"), "usdm", "on another address"),
        (("kline_1m",), None, "'kline_1m' is not supported"),
        (("depth@1ms",), None, "'depth@1ms' is not supported"),
        (("trade",), "coinm", "binance has no market 'coinm'"),
        (("aggTrade", "bookTicker"), "usdm", "on another address"),
    ],
)
def test_binance_refuses_what_it_cannot_give(streams: tuple[str, ...], market: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        binance(*streams, market=market)


@pytest.mark.parametrize(
    ("streams", "market", "url", "expected", "raw"),
    [
        (("trade", "bookTicker"), None, None, "wss://stream.binance.com:9443/stream", False),
        (("trade", "bookTicker"), "usdm", None, "wss://fstream.binance.com/public/stream", False),
        (("aggTrade",), "usdm", None, "wss://fstream.binance.com/market/stream", False),
        (("miniTicker",), "usdm", None, "wss://fstream.binance.com/market/stream", False),
        (("aggTrade", "bookTicker"), "usdm", "wss://relay.example/all/stream", "wss://relay.example/all/stream", False),
        (("trade",), None, "ws://127.0.0.1:9000", "ws://127.0.0.1:9000/stream", False),
        (("trade",), None, "ws://127.0.0.1:9000/ws", "ws://127.0.0.1:9000/ws", True),
        (("trade",), "usdm", "wss://fstream.binance.com/public/ws", "wss://fstream.binance.com/public/ws", True),
    ],
)
def test_binance_connects_where_its_streams_are(
    streams: tuple[str, ...], market: str | None, url: str | None, expected: str, raw: bool
) -> None:
    vendor = binance(*streams, market=market, url=url)
    assert vendor.url().reveal() == expected
    assert vendor.raw is raw


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "wss://stream.binance.com:9443/stream"),
        ("wss://relay.example/ws", "wss://relay.example/ws"),
        ("wss://relay.example/ws/pqia91ma19a5s61cv6a81va65sdf", "wss://relay.example/…"),
        ("wss://relay.example/pqia91ma19a5s61cv6a81va65sdf/stream", "wss://relay.example/…"),
        ("wss://[2001:db8::1]:444/stream?x=pqia91ma19a5s61cv6a81va65sdf", "wss://[2001:db8::1]:444/stream"),
    ],
)
def test_a_path_that_may_be_a_key_is_not_shown(url: str | None, shown: str) -> None:
    assert binance("trade", url=url).display_url() == shown


def test_binance_ignores_streams_that_were_not_asked_for() -> None:
    plan = binance("trade").plan()
    assert [entry.name for entry in plan if isinstance(entry, Route)] == ["trade"]
    assert {entry.reason for entry in plan if isinstance(entry, Ignore)} == {
        Reason.IGNORED_DEPTH,
        Reason.IGNORED_UNSUBSCRIBED,
    }


QUOTED = [
    b'{"error":{"code":2,"msg":"Invalid request: unknown stream btcusdt@depth"},"id":1}',
    b'{"error":{"code":2,"msg":"btcusdt@depth@100ms"},"id":1}',
    b'{"code":2,"msg":"btcusdt@aggTrade","id":1}',
    b'{"code":2,"msg":"btcusdt@trade","id":1}',
    b'{"code":2,"msg":"btcusdt@bookTicker","id":1}',
    rb'{"code":2,"msg":"not understood: {\"e\":\"depthUpdate\",\"u\":1,\"lastUpdateId\":2}","id":1}',
    rb'{"code":2,"msg":"{\"u\":1,\"e\":\"trade\"}","id":1}',
]
WHOLE_BOOK = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}'
PARTIAL_BOOK = b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}'
TURNED_BOOK = b'{"bids":[["0.0024","10"]],"asks":[],"lastUpdateId":160}'


class Counts:
    """Takes what the slow path makes of a message."""

    def __init__(self) -> None:
        self.reasons: list[int] = []
        self.controls: list[Control] = []

    def publish_event(self, route_index: int, event: object) -> int:
        raise AssertionError(f"published {event}")

    def count(self, reason: int, n: int = 1) -> None:
        self.reasons += [reason] * n

    def count_control(self) -> None:
        """Not of interest: `controls` says more."""


def understood(vendor: Binance, message: bytes) -> tuple[list[int], list[Control]]:
    """Return the reasons and controls that `message` comes to, as the listener and the slow path find them."""
    for entry in vendor.plan():
        if entry.marker in message[:MARKER_WINDOW]:
            if isinstance(entry, Ignore):
                return [entry.reason], []
            break
    counts = Counts()
    Fallback(vendor, counts.controls.append, RateLimitedLog(logging.getLogger("test")))(counts, message, 0)
    return counts.reasons, counts.controls


@pytest.mark.parametrize("streams", [("trade", "depth"), ("bookTicker",), ("depth@100ms",)])
@pytest.mark.parametrize("path", ["stream", "ws"])
@pytest.mark.parametrize("message", QUOTED, ids=range(len(QUOTED)))
def test_a_binance_refusal_that_quotes_a_stream_is_a_refusal(
    message: bytes, path: str, streams: tuple[str, ...]
) -> None:
    reasons, controls = understood(binance(*streams, url=f"wss://h.example/{path}"), message)
    assert reasons == []
    assert [(type(control), getattr(control, "request", 0)) for control in controls] == [(Refusal, 1)]


@pytest.mark.parametrize("streams", [("trade", "bookTicker", "depth"), ("aggTrade",), ("depth",)])
@pytest.mark.parametrize("symbol", ["btcusdt", "x" * 120], ids=["short", "long"])
@pytest.mark.parametrize("book", [WHOLE_BOOK, PARTIAL_BOOK, TURNED_BOOK], ids=["whole", "partial", "turned"])
def test_binance_books_are_counted_as_depth_however_they_are_written(
    book: bytes, symbol: str, streams: tuple[str, ...]
) -> None:
    combined, raw = binance(*streams), binance(*streams, url="wss://h.example/ws")
    name = f"{symbol}@depth5@100ms".encode()
    spaced = json.dumps({"stream": name.decode(), "data": json.loads(book)}).encode()
    messages = [
        (raw, book),
        (combined, b'{"stream":"%s","data":%s}' % (name, book)),
        (combined, b'{"data":%s,"stream":"%s"}' % (book, name)),
        (combined, spaced),
    ]
    for vendor, message in messages:
        assert understood(vendor, message) == ([Reason.IGNORED_DEPTH], []), message


def test_the_usual_binance_book_is_ignored_without_being_decoded() -> None:
    message = b'{"stream":"btcusdt@depth@100ms","data":%s}' % WHOLE_BOOK
    entries = [entry for entry in binance("trade", "bookTicker").plan() if entry.marker in message[:MARKER_WINDOW]]
    assert [type(entry) for entry in entries] == [Ignore]


def test_binance_streams_that_were_not_asked_for_are_counted_so() -> None:
    vendor = binance("depth")
    for stream, data in (
        ("trade", b'{"e":"trade","E":1,"s":"BTCUSDT"}'),
        ("aggTrade", b'{"e":"aggTrade","E":1,"s":"BTCUSDT"}'),
        ("bookTicker", b'{"u":1,"s":"BTCUSDT"}'),
        ("bookTicker", b'{"e":"bookTicker","u":1,"s":"BTCUSDT"}'),
        ("miniTicker", b'{"e":"24hrMiniTicker","E":1,"s":"BTCUSDT"}'),
    ):
        message = b'{"stream":"btcusdt@%s","data":%s}' % (stream.encode(), data)
        assert understood(vendor, message) == ([Reason.IGNORED_UNSUBSCRIBED], [])


BINANCE_CONTROL: dict[bytes, Control | None] = {
    b'{"result":null,"id":1}': Ack(1),
    b'{"id":"abc","result":null}': Ack(None),
    b'{"result":["btcusdt@trade"],"id":3}': Ack(3),
    b'{"code":2,"msg":"Invalid request: unknown variant","id":4}': Refusal(2, "Invalid request: unknown variant", 4),
    b'{"code":3,"msg":"Invalid JSON"}': Refusal(3, "Invalid JSON"),
    b'{"error":{"code":2,"msg":"no"},"id":5}': Refusal(2, "no", 5),
    b'{"error":{},"id":"x"}': Refusal(None, ""),
    b'{"e":"serverShutdown","E":1770123456789}': Notice(
        "the server announces its shutdown; it will close the connection", leaving=True
    ),
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}': Notice(
        "the server announces its shutdown; it will close the connection", leaving=True
    ),
    b'{"stream":"btcusdt@trade","data":{"e":"trade"}}': None,
    b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}': None,
    b'{"result":null}': None,
    b"null": None,
    b"\xff": None,
    b'{"x":' + b"[" * 100_000: None,
}


@pytest.mark.parametrize(("payload", "meaning"), BINANCE_CONTROL.items(), ids=range(len(BINANCE_CONTROL)))
def test_binance_answers_are_understood(payload: bytes, meaning: Control | None) -> None:
    assert binance("trade").control(payload) == meaning

"""The slow path: every message ends in exact counts, good events beside bad ones are published, nothing ever raises."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.config import Source
from openbell.reasons import Reason
from openbell.receiver.fallback import Fallback
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.record import Kind
from openbell.secret import Secret
from openbell.vendors import Ack, Control, Field, HeartbeatAck, Op, Refusal, Request, Route, Vendor
from openbell.vendors.alltick import AllTick
from openbell.vendors.binance import Binance

log = logging.getLogger("openbell.test.fallback")

ALLTICK = AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/"))
BOOKS = AllTick(Source(vendor="alltick", symbols=("A",), url="ws://127.0.0.1:1/", streams=("trade", "book")))
COMBINED = Binance(Source(vendor="binance", symbols=("A",), streams=("trade", "bookTicker", "depth")))
AGGREGATE = Binance(Source(vendor="binance", symbols=("A",), streams=("aggTrade", "bookTicker")))
RAW = Binance(
    Source(vendor="binance", symbols=("A",), streams=("trade", "bookTicker", "depth"), url="wss://x.example/ws")
)

TICKERS = Binance(Source(vendor="binance", streams=("miniTicker",), open=True))
RAW_TICKERS = Binance(Source(vendor="binance", streams=("miniTicker",), open=True, url="wss://x.example/ws"))


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Sink:
    """Stands in for the frame listener: notes what it is given."""

    def __init__(self, plan: tuple[object, ...]) -> None:
        self.plan = plan
        self.published: list[tuple[str, msgspec.Struct]] = []
        self.counted: list[Reason] = []
        self.controls = 0

    def publish_event(self, route_index: int, event: msgspec.Struct) -> int:
        route = self.plan[route_index]
        assert isinstance(route, Route)
        assert type(event) is route.event
        self.published.append((route.name, event))
        return -1

    def count(self, reason: int, n: int = 1) -> None:
        self.counted += [Reason(reason)] * n

    def count_control(self) -> None:
        self.controls += 1

    @property
    def total(self) -> int:
        return len(self.published) + len(self.counted) + self.controls


class Slow:
    """A vendor's slow path with everything that comes out of it."""

    def __init__(self, vendor: Vendor) -> None:
        self.controls: list[Control] = []
        self.limited = RateLimitedLog(log)
        self.fallback = Fallback(vendor, self.controls.append, self.limited)
        self.plan = vendor.plan()

    def __call__(self, payload: bytes) -> Sink:
        sink = Sink(self.plan)
        self.fallback(sink, payload, 0)
        return sink


def outcome(vendor: Vendor, payload: bytes) -> list[object]:
    """Return what became of a message: names of routes and reasons."""
    sink = Slow(vendor)(payload)
    return [*(name for name, _ in sink.published), *sink.counted, *["control"] * sink.controls]


def trade(**fields: bytes) -> bytes:
    """Return an AllTick trade push with some fields replaced by the given JSON texts (``b""``: left out)."""
    whole = {
        "code": b'"A"',
        "seq": b"1605509068000001",
        "tick_time": b"1605509068",
        "price": b'"651.12"',
        "volume": b'"300"',
        "turnover": b'"12345.6"',
        "trade_direction": b"1",
    } | fields
    inner = b",".join(b'"%b":%b' % (key.encode(), value) for key, value in whole.items() if value)
    return b'{"cmd_id":22998,"data":{%b}}' % inner


# ---- AllTick: the documented shapes ----


@pytest.mark.parametrize(
    "payload",
    [
        trade(),
        trade(seq=b'"1605509068000001"', tick_time=b'"1605509068"'),
        b'{"data":{"price":"651.12","code":"A","seq":1605509068000001,"tick_time":1605509068,"volume":"300",'
        b'"turnover":"12345.6","trade_direction":1},"cmd_id":22998}',
        b'  { "cmd_id" : 22998 , "data" : { "code" : "A", "price" : 651.12, "volume" : 300, "turnover" : 12345.6,'
        b' "seq": 1605509068000001, "tick_time": 1605509068, "trade_direction": "1" } }\n',
        trade(extra=b'{"deep":[1,2,{"x":null}]}'),
    ],
    ids=["documented", "numbers as strings", "keys in another order", "spaced", "unknown keys"],
)
def test_a_trade_in_any_shape_is_the_same_trade(payload: bytes) -> None:
    ((name, event),) = Slow(ALLTICK)(payload).published
    assert name == "trade"
    assert msgspec.structs.asdict(event) == {
        "code": "A",
        "price": 651.12,
        "volume": 300.0,
        "turnover": 12345.6,
        "seq": 1605509068000001,
        "tick_time": 1605509068,
        "trade_direction": 1,
    }


def test_forex_trades_without_volume_are_trades() -> None:
    ((_, event),) = Slow(ALLTICK)(b'{"cmd_id":22998,"data":{"code":"EURUSD","price":"1.1"}}').published
    assert (getattr(event, "volume", 0), getattr(event, "turnover", 0)) == (None, None)


# ---- every way in which a value can be wrong, with its exact reason ----

TOO_LONG = b"9" * 5000

WRONG: list[tuple[bytes, Reason]] = [
    (trade(code=b""), Reason.SYMBOL_MISSING),
    (trade(code=b"null"), Reason.SYMBOL_MISSING),
    (trade(code=b"7"), Reason.SYMBOL_WRONG_TYPE),
    (trade(code=b'["A"]'), Reason.SYMBOL_WRONG_TYPE),
    (trade(code=b'"\xff"'), Reason.NOT_UTF8),
    (trade(price=b""), Reason.PRICE_MISSING),
    (trade(price=b"null"), Reason.PRICE_MISSING),
    (trade(price=b'"null"'), Reason.PRICE_WRONG_TYPE),
    (trade(price=b"true"), Reason.PRICE_WRONG_TYPE),
    (trade(price=b'""'), Reason.PRICE_WRONG_TYPE),
    (trade(price=b'" 1"'), Reason.PRICE_WRONG_TYPE),
    (trade(price=b'"1,5"'), Reason.PRICE_WRONG_TYPE),
    (trade(price=b'"0x10"'), Reason.PRICE_WRONG_TYPE),
    (trade(price=b"[1]"), Reason.PRICE_WRONG_TYPE),
    (trade(price=b"{}"), Reason.PRICE_WRONG_TYPE),
    (trade(price=b"1e400"), Reason.PRICE_NOT_FINITE),
    (trade(price=b'"-1e400"'), Reason.PRICE_NOT_FINITE),
    (trade(price=TOO_LONG), Reason.PRICE_NOT_FINITE),
    (trade(volume=b"true"), Reason.SIZE_WRONG_TYPE),
    (trade(volume=b'"many"'), Reason.SIZE_WRONG_TYPE),
    (trade(volume=b"1e999"), Reason.SIZE_NOT_FINITE),
    (trade(turnover=b"[]"), Reason.AMOUNT_WRONG_TYPE),
    (trade(turnover=b"1e999"), Reason.AMOUNT_NOT_FINITE),
    (trade(seq=b"null"), Reason.SEQUENCE_WRONG_TYPE),
    (trade(seq=b"5.5"), Reason.SEQUENCE_WRONG_TYPE),
    (trade(seq=b'"abc"'), Reason.SEQUENCE_WRONG_TYPE),
    (trade(seq=b"true"), Reason.SEQUENCE_WRONG_TYPE),
    (trade(seq=TOO_LONG), Reason.SEQUENCE_OUT_OF_RANGE),
    (trade(seq=b"1e400"), Reason.SEQUENCE_OUT_OF_RANGE),
    (trade(tick_time=b"5.5"), Reason.TIME_WRONG_TYPE),
    (trade(tick_time=b'"today"'), Reason.TIME_WRONG_TYPE),
    (trade(tick_time=TOO_LONG), Reason.TIME_OUT_OF_RANGE),
    (trade(trade_direction=b'"buy"'), Reason.SIDE_WRONG_TYPE),
    (trade(trade_direction=b"null"), Reason.SIDE_WRONG_TYPE),
    (b'{"cmd_id":22998,"data":null}', Reason.WRONG_SHAPE),
    (b'{"cmd_id":22998,"data":"x"}', Reason.WRONG_SHAPE),
    (b'{"cmd_id":22998}', Reason.UNKNOWN_MESSAGE),
    (b'{"cmd_id":22998,"data":[]}', Reason.UNKNOWN_MESSAGE),
    (b'{"cmd_id":1,"data":{"code":"A","price":1}}', Reason.UNKNOWN_MESSAGE),
    (b'{"cmd_id":{},"data":{"code":"A","price":1}}', Reason.UNKNOWN_MESSAGE),
    (b"{}", Reason.UNKNOWN_MESSAGE),
    (b"[]", Reason.UNKNOWN_MESSAGE),
    (b"null", Reason.UNKNOWN_MESSAGE),
    (b'"text"', Reason.UNKNOWN_MESSAGE),
    (trade(price=b"NaN"), Reason.NOT_JSON),
    (trade(price=b"Infinity"), Reason.NOT_JSON),
    (trade(price=b"01"), Reason.NOT_JSON),
    (trade()[:-1], Reason.NOT_JSON),
    (trade() + b"x", Reason.NOT_JSON),
    (b"\xef\xbb\xbf" + trade(), Reason.NOT_JSON),
    (trade(code=b'"\\ud800"'), Reason.NOT_JSON),
    (b"", Reason.NOT_JSON),
    (b" \n ", Reason.NOT_JSON),
    (b"a\nb\nc", Reason.NOT_JSON),
    (b"\xff\xfe", Reason.NOT_UTF8),
    (b"[" * 100_000, Reason.TOO_DEEP),
    (trade(extra=b"[" * 100_000 + b"]" * 100_000), Reason.TOO_DEEP),
    (b'{"data":{"code":"A","bids":[],"asks":[]},"cmd_id":22999}', Reason.IGNORED_DEPTH),
    (b'{"data":{"code":"A","bids":[],"asks":[]},"cmd_id": 22999}', Reason.IGNORED_DEPTH),
]


@pytest.mark.parametrize(
    ("payload", "reason"), WRONG, ids=[f"{i}-{reason.name}" for i, (_, reason) in enumerate(WRONG)]
)
def test_what_is_wrong_is_counted_once_under_its_exact_reason(payload: bytes, reason: Reason) -> None:
    assert outcome(ALLTICK, payload) == [reason]


@pytest.mark.parametrize("text", [b'"nan"', b'"inf"', b'"-Infinity"'])
def test_what_only_looks_like_a_number_is_left_to_the_listeners_guard(text: bytes) -> None:
    ((_, event),) = Slow(ALLTICK)(trade(price=text)).published
    assert not math.isfinite(getattr(event, "price", 0.0))


def test_an_integer_of_any_size_is_left_to_the_listeners_guard() -> None:
    ((_, event),) = Slow(ALLTICK)(trade(seq=b"18446744073709551616")).published
    assert getattr(event, "seq", 0) == 1 << 64


# ---- order books ----


def book(bids: bytes = b'[{"price":"9.12","volume":"300"}]', asks: bytes = b"[]", code: bytes = b'"A"') -> bytes:
    """Return an AllTick order book whose keys come in an order that only the slow path reads."""
    return b'{"data":{"code":%b,"seq":5,"tick_time":1605509068,"bids":%b,"asks":%b},"cmd_id":22999}' % (
        code, bids, asks,
    )  # fmt: skip


BOOK_FAULTS: list[tuple[bytes, Reason]] = [
    (book(b'[{"price":1,"volume":1},{"price":null,"volume":1}]'), Reason.PRICE_MISSING),
    (book(b'[{"volume":1}]'), Reason.PRICE_MISSING),
    (book(b'[{"price":"ten"}]'), Reason.PRICE_WRONG_TYPE),
    (book(b'[{"price":1e400}]'), Reason.PRICE_NOT_FINITE),
    (book(b'[{"price":1,"volume":true}]'), Reason.SIZE_WRONG_TYPE),
    (book(b'[{"price":1,"volume":"1e999"}]'), Reason.SIZE_NOT_FINITE),
    (book(asks=b'[{"price":1,"volume":[]}]'), Reason.SIZE_WRONG_TYPE),
    (book(b'{"price":1}'), Reason.WRONG_SHAPE),
    (book(b'"none"'), Reason.WRONG_SHAPE),
    (book(b"[7]"), Reason.WRONG_SHAPE),
    (book(b"[null]"), Reason.WRONG_SHAPE),
    (book(b'[["9.12","300"]]'), Reason.WRONG_SHAPE),
    (book(code=b"7"), Reason.SYMBOL_WRONG_TYPE),
    (book(code=b'"\xff"'), Reason.NOT_UTF8),
    (b'{"data":null,"cmd_id":22999}', Reason.WRONG_SHAPE),
]


@pytest.mark.parametrize(
    ("payload", "reason"), BOOK_FAULTS, ids=[f"{i}-{reason.name}" for i, (_, reason) in enumerate(BOOK_FAULTS)]
)
def test_what_is_wrong_with_a_book_is_found_down_to_its_levels(payload: bytes, reason: Reason) -> None:
    assert outcome(BOOKS, payload) == [reason]


@pytest.mark.parametrize("asks", [b"[]", b"null"])
def test_a_book_at_its_daily_limit_has_no_side_and_is_a_book(asks: bytes) -> None:
    ((name, event),) = Slow(BOOKS)(book(asks=asks)).published
    assert name == "book"
    assert not getattr(event, "asks", 0)
    assert [(level.price, level.volume) for level in getattr(event, "bids", [])] == [(9.12, 300.0)]


def test_levels_without_volume_are_levels() -> None:
    ((_, event),) = Slow(BOOKS)(book(b'[{"price":"1.1"}]', b'[{"price":1.2,"volume":null}]')).published
    assert [level.volume for level in getattr(event, "bids", []) + getattr(event, "asks", [])] == [None, None]


def test_one_bad_book_does_not_cost_its_neighbours() -> None:
    books = [b'{"code":"%d","bids":[{"price":%b}],"asks":[]}' % (n, b"1" if n != 1 else b"null") for n in range(3)]
    sink = Slow(BOOKS)(b'{"data":[%b],"cmd_id":22999}' % b",".join(books))
    assert [getattr(event, "code", "") for _, event in sink.published] == ["0", "2"]
    assert sink.counted == [Reason.PRICE_MISSING]


def test_trades_and_books_joined_by_newlines_go_their_own_ways() -> None:
    ack = b'{"ret":200,"msg":"ok","cmd_id":22003,"seq_id":9,"trace":"x","data":{}}'
    sink = Slow(BOOKS)(b"\n".join([trade(), book(), ack, trade(price=b"true"), book(b"[7]"), book()]))
    assert [name for name, _ in sink.published] == ["trade", "book", "book"]
    assert sink.counted == [Reason.PRICE_WRONG_TYPE, Reason.WRONG_SHAPE]
    assert sink.controls == 1


# ---- neighbours ----


def test_one_bad_event_does_not_cost_its_neighbours() -> None:
    payload = (
        b'{"cmd_id":22998,"data":[{"code":"A","price":1},{"code":"B","price":null},{"code":"C\xff","price":1},7,'
        b'{"code":"D","price":1e999},{"code":"E","price":"2"}]}'
    )
    sink = Slow(ALLTICK)(payload)
    assert [getattr(event, "code", "") for _, event in sink.published] == ["A", "E"]
    assert sink.counted == [Reason.PRICE_MISSING, Reason.NOT_UTF8, Reason.WRONG_SHAPE, Reason.PRICE_NOT_FINITE]


def test_documents_joined_by_newlines_are_read_one_by_one() -> None:
    ack = b'{"ret":200,"msg":"ok","cmd_id":22001,"seq_id":9,"trace":"x","data":{}}'
    slow = Slow(ALLTICK)
    sink = slow(b"\n".join([trade(), b"", ack, trade(price=b"null"), b'{"cut', trade()]) + b"\r\n")
    assert len(sink.published) == 2
    assert sink.counted == [Reason.PRICE_MISSING, Reason.NOT_JSON]
    assert slow.controls == [HeartbeatAck()]
    assert sink.controls == 1


def test_a_document_printed_over_several_lines_is_one_document() -> None:
    assert outcome(ALLTICK, trade().replace(b",", b",\n  ")) == ["trade"]


def test_an_array_of_messages_is_read_message_by_message() -> None:
    sink = Slow(ALLTICK)(b"[" + b",".join([trade(), b"7", trade()]) + b"]")
    assert len(sink.published) == 2
    assert sink.counted == [Reason.UNKNOWN_MESSAGE]


class Sale(msgspec.Struct):
    ev: str
    sym: str
    p: float


class Offer(msgspec.Struct):
    ev: str
    sym: str
    bp: float


class SaleFrame(msgspec.Struct):
    events: list[Sale]


class OfferFrame(msgspec.Struct):
    events: list[Offer]


class Mixed(Vendor):
    """A vendor whose frames hold events of several kinds, told apart by a field of theirs; and with a mistake in it."""

    name = "mixed"

    def plan(self) -> tuple[Route, ...]:
        sale = (Field("ev", Op.EXPECT, expect="T"), Field("sym", Op.SYMBOL), Field("p", Op.PRICE, target="a"))
        offer = (Field("ev", Op.EXPECT, expect="Q"), Field("sym", Op.SYMBOL), Field("bp", Op.PRICE, target="a"))
        return (
            Route("sale", Kind.TRADE, SaleFrame, Sale, "events", True, sale),
            Route("offer", Kind.QUOTE, OfferFrame, Offer, "events", True, offer),
        )

    def url(self) -> Secret:
        return Secret("wss://mixed.example/?key=hidden-away")

    def secret(self) -> Secret:
        return Secret("hidden-away")

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        return []

    def control(self, payload: bytes) -> Control | None:
        if payload.startswith(b'{"boom"'):
            raise ZeroDivisionError(f"choked on {payload!r}")
        return None


MIXED = Mixed(Source(vendor="mixed", symbols=("A",)))


def test_events_of_several_kinds_in_one_frame_go_their_own_ways() -> None:
    sink = Slow(MIXED)(
        b'{"events":[{"ev":"T","sym":"A","p":1},{"ev":"Q","sym":"A","bp":2},{"ev":"Q","sym":"A","bp":null},'
        b'{"ev":"status"},{"sym":"A","p":1}]}'
    )
    assert [name for name, _ in sink.published] == ["sale", "offer"]
    assert sink.counted == [Reason.PRICE_MISSING, Reason.UNKNOWN_MESSAGE, Reason.UNKNOWN_MESSAGE]


# ---- Binance: combined and raw ----


def wrapped(stream: str, data: bytes, *, late: bool) -> bytes:
    name = stream.encode()
    return b'{"data":%b,"stream":"%b"}' % (data, name) if late else b'{"stream":"%b","data":%b}' % (name, data)


SPOT_TRADE = (
    b'{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"61837.64","q":"0.5","b":28457,"a":28461,"T":1723161255208,'
    b'"m":true,"M":true}'
)
BOOK = b'{"u":50093239212,"s":"BTCUSDT","b":"61837.63","B":"3.7","a":"61837.64","A":"1.5"}'
FUTURES_BOOK = b'{"e":"bookTicker","u":5,"E":2,"T":1,"s":"BTCUSDT","b":"1","B":"3","a":"2","A":"1"}'
AGG_TRADE = (
    b'{"e":"aggTrade","E":1,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true}'
)
DEPTH = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["61737.63","0.0"]],"a":[]}'

BINANCE: list[tuple[Vendor, str, bytes, list[object]]] = [
    (COMBINED, "btcusdt@trade", SPOT_TRADE, ["trade"]),
    (COMBINED, "btcusdt@trade", SPOT_TRADE.replace(b'"e":"trade",', b""), [Reason.UNKNOWN_MESSAGE]),
    (COMBINED, "btcusdt@trade", SPOT_TRADE.replace(b'"0.5"', b"null"), [Reason.SIZE_MISSING]),
    (COMBINED, "btcusdt@trade", SPOT_TRADE.replace(b'"q":"0.5",', b""), [Reason.SIZE_MISSING]),
    (COMBINED, "btcusdt@trade", SPOT_TRADE.replace(b"true,", b"7,"), [Reason.SIDE_WRONG_TYPE]),
    (COMBINED, "btcusdt@trade", b"null", [Reason.WRONG_SHAPE]),
    (COMBINED, "btcusdt@bookTicker", BOOK, ["bookTicker"]),
    (COMBINED, "btcusdt@bookTicker", FUTURES_BOOK, ["bookTicker"]),
    (COMBINED, "btcusdt@bookTicker", BOOK.replace(b'"61837.63"', b"null"), [Reason.PRICE_MISSING]),
    (COMBINED, "btcusdt@bookTicker", BOOK.replace(b'"u":50093239212,', b""), [Reason.SEQUENCE_WRONG_TYPE]),
    (COMBINED, "btcusdt@depth", DEPTH, [Reason.IGNORED_DEPTH]),
    (COMBINED, "bnbbtc@aggTrade", AGG_TRADE, [Reason.IGNORED_UNSUBSCRIBED]),
    (COMBINED, "btcusdt@kline_1m", b'{"e":"kline"}', [Reason.UNKNOWN_MESSAGE]),
    (AGGREGATE, "bnbbtc@aggTrade", AGG_TRADE, ["aggTrade"]),
    (AGGREGATE, "btcusdt@trade", SPOT_TRADE, [Reason.IGNORED_UNSUBSCRIBED]),
    (RAW, "", SPOT_TRADE, ["trade"]),
    (RAW, "", SPOT_TRADE.replace(b'"e":"trade",', b"").replace(b"}", b',"e":"trade"}'), ["trade"]),
    (RAW, "", BOOK, ["bookTicker"]),
    (RAW, "", b'{"s":"BTCUSDT","u":5,"b":"1","B":"3","a":"2","A":"1"}', ["bookTicker"]),
    (RAW, "", FUTURES_BOOK, ["bookTicker"]),
    (RAW, "", DEPTH, [Reason.IGNORED_DEPTH]),
    (RAW, "", b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}', [Reason.IGNORED_DEPTH]),
    (RAW, "", AGG_TRADE, [Reason.IGNORED_UNSUBSCRIBED]),
    (RAW, "", b'{"s":"BTCUSDT"}', [Reason.UNKNOWN_MESSAGE]),
]


@pytest.mark.parametrize("late", [False, True], ids=["stream first", "stream last"])
@pytest.mark.parametrize(("vendor", "stream", "data", "expected"), BINANCE, ids=range(len(BINANCE)))
def test_binance_events_are_known_by_what_they_hold(
    vendor: Vendor, stream: str, data: bytes, expected: list[object], late: bool
) -> None:
    payload = wrapped(stream, data, late=late) if stream else data
    names = [name.split(",")[0] if isinstance(name, str) else name for name in outcome(vendor, payload)]
    assert names == expected


def mini(symbol: str = "BTCUSDT", **changes: object) -> bytes:
    whole = {
        "e": "24hrMiniTicker", "E": 1672515782136, "s": symbol, "c": "0.0025", "o": "0.0010", "h": "0.0026",
        "l": "0.0009", "v": "10000", "q": "18",
    }  # fmt: skip
    return msgspec.json.encode({key: value for key, value in (whole | changes).items() if value is not ...})


def tickers(vendor: Vendor, *elements: bytes) -> bytes:
    array = b"[%b]" % b",".join(elements)
    return array if vendor is RAW_TICKERS else wrapped("!miniTicker@arr", array, late=True)


@pytest.mark.parametrize("vendor", [TICKERS, RAW_TICKERS], ids=["combined", "raw"])
def test_one_bad_ticker_does_not_cost_the_others_of_its_array(vendor: Vendor) -> None:
    good = [mini(f"S{n}USDT") for n in range(3)]
    bad = [mini(c=None), mini(v="much"), mini(s=...), b"7", mini(e="24hrTicker"), mini(q="1e999")]
    sink = Slow(vendor)(tickers(vendor, good[0], *bad, good[1], b"null", good[2]))
    assert [getattr(event, "symbol", "") for _, event in sink.published] == ["S0USDT", "S1USDT", "S2USDT"]
    assert {name for name, _ in sink.published} == {"miniTickers"}
    shapeless = Reason.UNKNOWN_MESSAGE if vendor is RAW_TICKERS else Reason.WRONG_SHAPE
    assert sink.counted == [
        Reason.PRICE_MISSING, Reason.AMOUNT_WRONG_TYPE, Reason.SYMBOL_MISSING, shapeless, Reason.UNKNOWN_MESSAGE,
        Reason.AMOUNT_NOT_FINITE, shapeless,
    ]  # fmt: skip


@pytest.mark.parametrize("vendor", [TICKERS, RAW_TICKERS], ids=["combined", "raw"])
def test_an_array_without_a_ticker_is_known_and_has_nothing_to_count(vendor: Vendor) -> None:
    assert Slow(vendor)(tickers(vendor)).total == 0


@pytest.mark.parametrize("vendor", [TICKERS, RAW_TICKERS], ids=["combined", "raw"])
def test_a_ticker_that_comes_alone_is_taken_where_arrays_were_asked_for(vendor: Vendor) -> None:
    message = mini() if vendor is RAW_TICKERS else wrapped("btcusdt@miniTicker", mini(), late=True)
    assert outcome(vendor, message) == ["miniTickers"]


def test_an_answer_is_an_answer_on_a_connection_of_arrays() -> None:
    slow = Slow(RAW_TICKERS)
    assert slow(b'{"result":null,"id":1}').controls == 1
    assert slow.controls == [Ack(1)]


def test_order_ids_of_old_spot_trades_are_not_taken_for_prices() -> None:
    ((name, event),) = Slow(COMBINED)(wrapped("btcusdt@trade", SPOT_TRADE, late=True)).published
    assert name == "trade"
    assert getattr(event, "price", 0) == 61837.64


def test_trades_that_make_no_market_price_carry_their_mark_to_the_listener() -> None:
    data = SPOT_TRADE.replace(b'"m":true', b'"X":"INSURANCE_FUND","m":true').replace(b"61837.64", b"0")
    ((_, event),) = Slow(COMBINED)(wrapped("btcusdt@trade", data, late=False)).published
    assert getattr(event, "kind", None) == "INSURANCE_FUND"


# ---- messages about the connection ----


def test_messages_about_the_connection_go_to_the_connection() -> None:
    slow = Slow(COMBINED)
    sink = slow(b'{"result":null,"id":1}')
    slow(b'{"code":2,"msg":"Invalid request","id":2}')
    assert slow.controls == [Ack(1), Refusal(2, "Invalid request", 2)]
    assert (sink.controls, sink.counted, sink.published) == (1, [], [])


def test_a_mistake_in_a_vendors_code_is_counted_and_told_without_the_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert outcome(MIXED, b'{"boom":"hidden-away"}') == [Reason.UNKNOWN_MESSAGE]
    assert "ZeroDivisionError" in caplog.text
    assert "test_fallback.py" in caplog.text
    assert "hidden-away" not in caplog.text


# ---- logs ----


def test_a_token_that_comes_back_in_a_message_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        outcome(MIXED, b'{"echo":"hidden-away"}')
    assert "echo" in caplog.text
    assert "hidden-away" not in caplog.text


def test_a_flood_of_bad_messages_writes_few_lines_and_counts_all(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(ALLTICK)
    sink = Sink(slow.plan)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5000):
            slow.fallback(sink, b"{", 0)
    assert sink.counted == [Reason.NOT_JSON] * 5000
    assert len(caplog.records) <= 20, "at most 10 lines a second"
    assert len(caplog.records) + slow.limited.suppressed >= 5000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_left_out_is_said_exactly(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    limited = RateLimitedLog(log, 10, clock)
    with caplog.at_level(logging.DEBUG):
        for _ in range(25):
            limited.log(logging.WARNING, "bad %d", 1)
        assert [record.getMessage() for record in caplog.records] == ["bad 1"] * 10
        clock.now += 0.99
        limited.flush()
        assert len(caplog.records) == 10
        clock.now += 0.02
        limited.flush()
        assert caplog.records[-1].getMessage() == "15 more log lines were suppressed"
        for _ in range(25):
            limited.log(logging.WARNING, "bad again")
        assert len(caplog.records) == 20, "the line about lines counts as one"
        clock.now += 1.0
        limited.log(logging.WARNING, "later")
        assert [record.getMessage() for record in caplog.records[-2:]] == ["16 more log lines were suppressed", "later"]
        clock.now += 5.0
        limited.flush()
        assert len(caplog.records) == 22, "nothing was left out, so nothing is said"


# ---- anything at all ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SEEDS = st.sampled_from(
    [trade(), SPOT_TRADE, BOOK, AGG_TRADE, DEPTH, FUTURES_BOOK, wrapped("btcusdt@trade", SPOT_TRADE, late=False)]
    + [payload for payload, _ in WRONG if len(payload) < 1000]
    + [book(), mini(), tickers(RAW_TICKERS, mini(), mini(c=None)), *(payload for payload, _ in BOOK_FAULTS)]
    + [b'{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":7}', b'{"result":null,"id":1}']
)
KEYS = [
    "cmd_id",
    "data",
    "code",
    "price",
    "volume",
    "seq",
    "ret",
    "e",
    "s",
    "p",
    "q",
    "m",
    "u",
    "b",
    "a",
    "stream",
    "id",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a message with bytes replaced, removed, inserted or repeated."""
    data = bytearray(draw(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(max_size=3))
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case 2:
                data[at:at] = draw(
                    st.sampled_from([b"null", b'"', b"{", b"]", b",", b"\n", b"\xff", b"1e400", b"\\u0000"])
                )
            case _:
                data += data[at : at + 50]
    return bytes(data)


LIKE_A_MESSAGE = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)


EVERY = [Slow(vendor) for vendor in (ALLTICK, BOOKS, COMBINED, RAW, MIXED, TICKERS, RAW_TICKERS)]


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=200) | mutated() | (LIKE_A_MESSAGE | JSON).map(msgspec.json.encode))
def test_whatever_bytes_come_something_is_counted_and_nothing_is_raised(payload: bytes) -> None:
    for slow in EVERY:
        slow.controls.clear()
        sink = slow(payload)
        # An empty array of events has nothing to count, and only there.
        assert sink.total >= 1 or re.search(rb"\[\s*\]", payload)
        assert sink.controls == len(slow.controls)
        if b"\n" not in payload and b"[" not in payload:
            assert sink.total == 1


PARTS = [trade(), trade(price=b"null"), b'{"ret":200,"cmd_id":22001}', b"{}", b"{"]


@settings(max_examples=50, deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=20))
def test_joined_documents_are_counted_as_many(parts: list[bytes]) -> None:
    total = EVERY[0](b"\n".join(parts)).total
    assert total == (len(parts) if any(part != b"{" for part in parts) else 1)

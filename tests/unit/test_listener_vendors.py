"""The vendors' own messages through the compiled listener and the slow path: exact records, exact counts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from corelab.records import HAS_A, HAS_B, HAS_C, HAS_D, LEVEL, TICKER, Record
from corelab.rig import Rig
from corelab.wire import C_CONTROL, C_EVENTS, Receiver
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.config import Source
from openbell.reasons import Reason
from openbell.receiver.fallback import Fallback
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.record import Flag, Kind, Side
from openbell.vendors import Ack, Control, HeartbeatAck, Refusal, Vendor
from openbell.vendors.alltick import AllTick
from openbell.vendors.binance import Binance

SECOND_NS = 10**9
ALLTICK = AllTick(Source(vendor="alltick", symbols=("600519.SH",), url="ws://127.0.0.1:1/"))
BOOKS = AllTick(Source(vendor="alltick", symbols=("600519.SH",), url="ws://127.0.0.1:1/", streams=("trade", "book")))
STREAMS = ("trade", "bookTicker", "depth@100ms")
SPOT = Binance(Source(vendor="binance", symbols=("btcusdt",), streams=STREAMS))
RAW = Binance(Source(vendor="binance", symbols=("btcusdt",), streams=STREAMS, url="wss://stream.example/ws"))
FUTURES = Binance(Source(vendor="binance", symbols=("btcusdt",), streams=("trade",), market="usdm"))
AGGREGATE = Binance(Source(vendor="binance", symbols=("btcusdt",), streams=("aggTrade",)))
TICKERS = Binance(Source(vendor="binance", streams=("miniTicker",), open=True))
RAW_TICKERS = Binance(Source(vendor="binance", streams=("miniTicker",), open=True, url="wss://stream.example/ws"))
TICKERS_ASKED = Binance(Source(vendor="binance", symbols=("btcusdt",), streams=("miniTicker",)))
KNOWN = (b"600519.SH", b"BTCUSDT", "币安人生USDT".encode())


class Wired(Receiver):
    """A receiver as a connection makes it: a vendor's plan, and the slow path behind it."""

    def __init__(self, directory: Path, vendor: Vendor, **options: Any) -> None:
        self.controls: list[Control] = []
        log = RateLimitedLog(logging.getLogger("openbell.test.listener"))
        fallback = Fallback(vendor, self.controls.append, log)
        options.setdefault("known", KNOWN)
        super().__init__(directory, vendor.plan(), shards=1, fallback=fallback, **options)

    def one(self, payload: bytes) -> Record:
        """Send a message that makes exactly one record."""
        self.send(payload)
        (record,) = self.records()
        assert self.counted() == {}
        return record._replace(receive_ns=0)


def encoded(message: object, *, spaced: bool = False) -> bytes:
    return json.dumps(message, separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=False).encode()


def alltick(**changes: Any) -> dict[str, Any]:
    data = {
        "code": "600519.SH", "seq": "30537465", "tick_time": "1677831545217", "price": "136.302", "volume": "2.5",
        "turnover": "340.755", "trade_direction": 1,
    }  # fmt: skip
    data.update(changes)
    return {"cmd_id": 22998, "data": {name: value for name, value in data.items() if value is not ...}}


def trade(**changes: Any) -> dict[str, Any]:
    data = {
        "e": "trade", "E": 1672515782136, "s": "BTCUSDT", "t": 12345, "p": "0.001", "q": "100", "T": 1672515782130,
        "m": True, "M": True,
    }  # fmt: skip
    data.update(changes)
    return {name: value for name, value in data.items() if value is not ...}


def combined(stream: str, data: object) -> dict[str, Any]:
    return {"stream": f"btcusdt@{stream}", "data": data}


BOOK = {"u": 400900217, "s": "BTCUSDT", "b": "25.35", "B": "31.21", "a": "25.36", "A": "40.66"}


# ---- AllTick ----


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_alltick_push_is_a_trade_however_its_numbers_are_written(
    tmp_path: Path, spaced: bool, as_text: bool
) -> None:
    message = alltick() if as_text else alltick(seq=30537465, tick_time=1677831545217, price=136.302, volume=2.5)
    record = Wired(tmp_path, ALLTICK).one(encoded(message, spaced=spaced))
    assert record == Record(
        0, Kind.TRADE, Side.BUY, HAS_A | HAS_B | HAS_C, 1677831545217 * 10**6, 0, 30537465, 136.302, 2.5, 340.755,
        record.d,
    )  # fmt: skip


def test_an_alltick_push_may_lack_volume_turnover_sequence_time_and_direction(tmp_path: Path) -> None:
    message = alltick(volume=..., turnover=..., seq=..., tick_time=..., trade_direction=...)
    record = Wired(tmp_path, ALLTICK).one(encoded(message))
    assert record[:7] == (0, Kind.TRADE, Side.UNKNOWN, HAS_A, 0, 0, 0)
    assert record.a == 136.302


@pytest.mark.parametrize(("time", "seconds"), [("1677831545", 1677831545), (1677831545217, 1677831545.217), ("0", 0)])
def test_an_alltick_time_may_be_seconds_or_milliseconds(tmp_path: Path, time: object, seconds: float) -> None:
    found = Wired(tmp_path, ALLTICK).one(encoded(alltick(tick_time=time))).exchange_ns
    assert found == round(seconds * 1000) * 10**6


ALLTICK_FAULTS: list[tuple[dict[str, Any], Reason]] = [
    ({"code": ...}, Reason.SYMBOL_MISSING), ({"code": None}, Reason.SYMBOL_MISSING),
    ({"code": ""}, Reason.SYMBOL_EMPTY), ({"code": 600519}, Reason.SYMBOL_WRONG_TYPE),
    ({"code": "600519.sh"}, Reason.SYMBOL_NOT_ASKED), ({"code": "x" * 1024}, Reason.SYMBOL_TOO_LONG),
    ({"code": "600519\0SH"}, Reason.SYMBOL_NUL), ({"code": "贵州茅台"}, Reason.SYMBOL_NOT_ASCII),
    ({"price": ...}, Reason.PRICE_MISSING), ({"price": None}, Reason.PRICE_MISSING),
    ({"price": "nan"}, Reason.PRICE_NOT_FINITE),
    ({"price": "inf"}, Reason.PRICE_NOT_FINITE), ({"price": "-inf"}, Reason.PRICE_NOT_FINITE),
    ({"price": "1e400"}, Reason.PRICE_NOT_FINITE), ({"price": 0}, Reason.PRICE_NOT_POSITIVE),
    ({"price": "-1"}, Reason.PRICE_NOT_POSITIVE), ({"price": "ten"}, Reason.PRICE_WRONG_TYPE),
    ({"price": [1]}, Reason.PRICE_WRONG_TYPE), ({"price": True}, Reason.PRICE_WRONG_TYPE),
    ({"volume": -1}, Reason.SIZE_NEGATIVE), ({"volume": "nan"}, Reason.SIZE_NOT_FINITE),
    ({"volume": "much"}, Reason.SIZE_WRONG_TYPE), ({"turnover": "-0.5"}, Reason.AMOUNT_NEGATIVE),
    ({"turnover": "inf"}, Reason.AMOUNT_NOT_FINITE), ({"turnover": {}}, Reason.AMOUNT_WRONG_TYPE),
    ({"seq": 2**63}, Reason.SEQUENCE_OUT_OF_RANGE), ({"seq": "1" + "0" * 40}, Reason.SEQUENCE_OUT_OF_RANGE),
    ({"seq": "next"}, Reason.SEQUENCE_WRONG_TYPE), ({"tick_time": 5}, Reason.TIME_OUT_OF_RANGE),
    ({"tick_time": 2**64}, Reason.TIME_OUT_OF_RANGE), ({"tick_time": "noon"}, Reason.TIME_WRONG_TYPE),
    ({"trade_direction": 7}, Reason.SIDE_WRONG_TYPE), ({"trade_direction": "BUY"}, Reason.SIDE_WRONG_TYPE),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), ALLTICK_FAULTS)
def test_a_bad_alltick_push_has_its_exact_reason_by_whichever_path_it_goes(
    tmp_path: Path, changes: dict[str, Any], reason: Reason
) -> None:
    wired = Wired(tmp_path, ALLTICK)
    wired.send(encoded(alltick(**changes)), encoded(alltick()))
    assert wired.counted() == {reason: 1}
    assert len(wired.records()) == 1
    assert wired.balanced()
    assert wired.controls == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"cmd_id":22998,"data":{"code":"\xff"}}', Reason.NOT_UTF8),
        (b'{"cmd_id":22998,"data":{', Reason.NOT_JSON),
        (b'{"cmd_id":22998,"data":{"code":"600519.SH","price":NaN}}', Reason.NOT_JSON),
        (b'{"cmd_id":22998,"data":{"code":"600519.SH","price":1,"x":' + b"[" * 10**5 + b"]" * 10**5, Reason.TOO_DEEP),
        (b'{"cmd_id":22999,"data":{"code":"600519.SH","bids":[]}}', Reason.IGNORED_DEPTH),
        (b'{"cmd_id": 22999, "data": no JSON}', Reason.IGNORED_DEPTH),
        (b'{"cmd_id":22998}', Reason.UNKNOWN_MESSAGE),
        (b'{"cmd_id":22998,"data":5}', Reason.WRONG_SHAPE),
        (b'{"cmd_id":4711,"data":{}}', Reason.UNKNOWN_MESSAGE),
        (b"hello", Reason.NOT_JSON),
    ],
)
def test_a_frame_that_is_no_push_has_its_reason(tmp_path: Path, payload: bytes, reason: Reason) -> None:
    wired = Wired(tmp_path, ALLTICK)
    wired.send(payload)
    assert wired.counted() == {reason: 1}
    assert wired.records() == []
    assert wired.balanced()


def test_a_push_whose_keys_come_in_another_order_is_read_all_the_same(tmp_path: Path) -> None:
    message = alltick()
    late = {"data": message["data"], "padding": "x" * 200, "cmd_id": 22998}
    assert Wired(tmp_path, ALLTICK).one(encoded(late)).a == 136.302


def test_answers_are_about_the_connection_and_no_events(tmp_path: Path) -> None:
    wired = Wired(tmp_path, ALLTICK)
    wired.send(
        b'{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":123}',
        b'{"ret":200,"msg":"ok","cmd_id":22001,"seq_id":1}',
        b'{"ret":402,"msg":"no such code","cmd_id":0,"seq_id":9}',
    )
    assert wired.controls == [Ack(123), HeartbeatAck(), Refusal(402, "no such code", 9, final=True)]
    assert wired.counter(C_CONTROL) == 3
    assert (wired.counter(C_EVENTS), wired.counted()) == (0, {})


# ---- AllTick: order books ----


def book(bids: object, asks: object, *, late: bool = False, **changes: Any) -> bytes:
    data = {"code": "600519.SH", "seq": 17, "tick_time": 1677831545217, "bids": bids, "asks": asks} | changes
    data = {name: value for name, value in data.items() if value is not ...}
    return encoded({"data": data, "cmd_id": 22999} if late else {"cmd_id": 22999, "data": data})


def levels(first: float, count: int, step: float) -> list[dict[str, str]]:
    """Return levels as the vendor writes them: a price a step further away, a hundred more, each."""
    return [{"price": f"{first + n * step:.2f}", "volume": str(100 * (n + 1))} for n in range(count)]


def sides(records: list[Record]) -> list[tuple[int, tuple[float | None, ...]]]:
    """Return the levels of one whole book."""
    assert {record.kind for record in records} == {LEVEL}
    assert [record.flags & (Flag.FIRST | Flag.LAST) for record in records] == [
        (Flag.FIRST if n == 0 else 0) | (Flag.LAST if n == len(records) - 1 else 0) for n in range(len(records))
    ]
    return [(record.side, tuple(record.value(index) for index in range(4))) for record in records]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "slow path"])
def test_an_alltick_book_is_a_group_of_its_levels(tmp_path: Path, late: bool) -> None:
    wired = Wired(tmp_path, BOOKS, book_levels=5)
    wired.send(book(levels(9.12, 5, -0.01), levels(9.13, 3, 0.01), late=late))
    records = wired.records()
    assert sides(records) == [
        (1, (9.12, 100, 9.13, 100)),
        (2, (9.11, 200, 9.14, 200)),
        (3, (9.10, 300, 9.15, 300)),
        (4, (9.09, 400, None, None)),
        (5, (9.08, 500, None, None)),
    ]
    assert {(record.sequence, record.exchange_ns) for record in records} == {(17, 1677831545217 * 10**6)}
    # Five records, and one event.
    assert (wired.counter(C_EVENTS), wired.counted(), wired.balanced()) == (1, {}, True)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "slow path"])
@pytest.mark.parametrize("neither", [None, ...], ids=["null", "missing"])
def test_what_has_neither_side_is_no_book_and_empties_none(tmp_path: Path, neither: object, late: bool) -> None:
    wired = Wired(tmp_path, BOOKS, book_levels=2)
    wired.send(book(neither, neither, late=late))
    assert wired.records() == []
    assert (wired.counted(), wired.balanced()) == ({Reason.WRONG_SHAPE: 1}, True)
    # An empty book is one.
    wired.send(book([], [], late=late))
    assert sides(wired.records()) == [(1, (None, None, None, None))]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "slow path"])
@pytest.mark.parametrize("empty", [[], None, ...], ids=["empty", "null", "missing"])
def test_a_side_that_is_missing_at_the_daily_limit_is_absent(tmp_path: Path, empty: object, late: bool) -> None:
    wired = Wired(tmp_path, BOOKS, book_levels=2)
    side = levels(9.12, 2, -0.01)
    wired.send(book(side, empty, late=late), book(empty, side, late=late))
    records = wired.records()
    assert sides(records[:2]) == [(1, (9.12, 100, None, None)), (2, (9.11, 200, None, None))]
    assert sides(records[2:]) == [(1, (None, None, 9.12, 100)), (2, (None, None, 9.11, 200))]
    assert wired.counted() == {}


def test_levels_beyond_those_of_the_feed_are_left_out_and_the_best_is_always_there(tmp_path: Path) -> None:
    for wanted in (0, 1, 3):
        (directory := tmp_path / str(wanted)).mkdir()
        wired = Wired(directory, BOOKS, book_levels=wanted)
        wired.send(book(levels(9.12, 5, -0.01), levels(9.13, 5, 0.01)))
        assert [level for level, _ in sides(wired.records())] == list(range(1, max(1, wanted) + 1))


def test_forex_levels_have_no_volume(tmp_path: Path) -> None:
    wired = Wired(tmp_path, BOOKS)
    wired.send(book([{"price": "1.1"}], [{"price": "1.2"}]))
    assert sides(wired.records()) == [(1, (1.1, None, 1.2, None))]


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ({"price": "0", "volume": "1"}, Reason.PRICE_NOT_POSITIVE), ({"volume": "1"}, Reason.PRICE_MISSING),
        ({"price": "nan"}, Reason.PRICE_NOT_FINITE), ({"price": "ten"}, Reason.PRICE_WRONG_TYPE),
        ({"price": "1", "volume": "-1"}, Reason.SIZE_NEGATIVE), ({"price": "1", "volume": []}, Reason.SIZE_WRONG_TYPE),
        (7, Reason.WRONG_SHAPE),
    ],
)  # fmt: skip
def test_a_bad_level_refuses_its_book_and_no_other(tmp_path: Path, level: object, reason: Reason) -> None:
    wired = Wired(tmp_path, BOOKS, book_levels=5)
    wired.send(
        book([*levels(9.12, 1, 0), level], []),
        book([], [level], late=True),
        book([level], [], code="unknown"),
        book(levels(9.12, 1, 0), []),
    )
    assert sum(wired.counted().values()) == 3
    assert wired.counted()[reason] >= 2
    assert sides(wired.records()) == [(1, (9.12, 100, None, None))]
    assert wired.balanced()


def test_documents_joined_by_newlines_are_trades_and_books_as_if_they_came_alone(tmp_path: Path) -> None:
    parts = [
        encoded(alltick(seq=1)),
        book(levels(9.12, 2, -0.01), []),
        b'{"ret":200,"msg":"ok","cmd_id":22003,"seq_id":4}',
        encoded(alltick(price="nan")),
        b"{cut",
        encoded(alltick(seq=2)),
    ]
    wired = Wired(tmp_path, BOOKS, book_levels=5)
    wired.send(b"\n".join(parts))
    assert [(record.kind, record.sequence) for record in wired.records()] == [
        (Kind.TRADE, 1), (Kind.LEVEL, 17), (Kind.LEVEL, 17), (Kind.TRADE, 2),
    ]  # fmt: skip
    assert wired.counted() == {Reason.PRICE_NOT_FINITE: 1, Reason.NOT_JSON: 1}
    assert wired.controls == [Ack(4)]
    assert (wired.counter(C_EVENTS), wired.balanced()) == (5, True)


# ---- Binance ----


@pytest.mark.parametrize(("vendor", "wrap"), [(SPOT, True), (RAW, False), (FUTURES, True)])
@pytest.mark.parametrize(("maker", "side"), [(True, Side.SELL), (False, Side.BUY)])
def test_a_binance_trade_is_a_trade(tmp_path: Path, vendor: Vendor, wrap: bool, maker: bool, side: Side) -> None:
    data = trade(m=maker)
    record = Wired(tmp_path, vendor).one(encoded(combined("trade", data) if wrap else data))
    assert record[:9] == (1, Kind.TRADE, side, HAS_A | HAS_B, 1672515782130 * 10**6, 0, 12345, 0.001, 100.0)


def test_a_binance_aggregate_trade_is_a_trade(tmp_path: Path) -> None:
    data = trade(e="aggTrade", a=77, f=1, l=2, t=...)
    record = Wired(tmp_path, AGGREGATE).one(encoded(combined("aggTrade", data)))
    assert (record.kind, record.sequence, record.a, record.b) == (Kind.TRADE, 77, 0.001, 100.0)


@pytest.mark.parametrize(("vendor", "wrap"), [(SPOT, True), (RAW, False)])
def test_a_binance_book_ticker_is_a_quote(tmp_path: Path, vendor: Vendor, wrap: bool) -> None:
    record = Wired(tmp_path, vendor).one(encoded(combined("bookTicker", BOOK) if wrap else BOOK))
    assert record == Record(
        1, Kind.QUOTE, 0, HAS_A | HAS_B | HAS_C | HAS_D, 0, 0, 400900217, 25.35, 31.21, 25.36, 40.66
    )


def mini(symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    data = {
        "e": "24hrMiniTicker", "E": 1672515782136, "s": symbol, "c": "0.0025", "o": "0.0010", "h": "0.0026",
        "l": "0.0009", "v": "10000.5", "q": "18.25",
    }  # fmt: skip
    data.update(changes)
    return {name: value for name, value in data.items() if value is not ...}


def test_a_binance_mini_ticker_is_a_ticker(tmp_path: Path) -> None:
    expected = Record(
        1, TICKER, 0, HAS_A | HAS_B | HAS_C | HAS_D, 1672515782136 * 10**6, 0, 0, 0.0025, 0.0010, 10000.5, 18.25
    )
    assert Wired(tmp_path, TICKERS_ASKED).one(encoded(combined("miniTicker", mini()))) == expected
    # What has no reference price has a price all the same.
    new = Wired(tmp_path, TICKERS_ASKED).one(encoded(combined("miniTicker", mini() | {"o": "0.00000000"})))
    assert new.flags == HAS_A | HAS_C | HAS_D
    assert (new.a, new.c, new.d) == (0.0025, 10000.5, 18.25)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "slow path"])
@pytest.mark.parametrize("vendor", [TICKERS, RAW_TICKERS], ids=["combined", "raw"])
def test_a_frame_of_mini_tickers_is_a_ticker_each(tmp_path: Path, vendor: Vendor, late: bool) -> None:
    wired = Wired(tmp_path, vendor, open_symbols=True)
    array = [mini("BTCUSDT"), mini("币安人生USDT", c="1"), mini("NEWUSDT", c="2"), mini("BTCUSDT", c="3", v="10001")]
    if late:
        # One that does not decode: the listener leaves the whole frame to the slow path.
        array.insert(1, mini("BADUSDT", c="much"))
    message: object = array
    if vendor is TICKERS:
        message = {"stream": "!miniTicker@arr", "data": array}
    wired.send(encoded(message))
    records = wired.records()
    assert [(record.kind, record.a, record.c) for record in records] == [
        (TICKER, 0.0025, 10000.5), (TICKER, 1.0, 10000.5), (TICKER, 2.0, 10000.5), (TICKER, 3.0, 10001.0),
    ]  # fmt: skip
    symbols = [wired.table.key(record.row).decode() for record in records]
    assert symbols == ["BTCUSDT", "币安人生USDT", "NEWUSDT", "BTCUSDT"]
    assert wired.counted() == ({Reason.PRICE_WRONG_TYPE: 1} if late else {})
    assert (wired.counter(C_EVENTS), wired.balanced()) == (len(array), True)


@pytest.mark.parametrize("vendor", [TICKERS, RAW_TICKERS], ids=["combined", "raw"])
def test_a_ticker_that_a_guard_refuses_does_not_cost_its_neighbours(tmp_path: Path, vendor: Vendor) -> None:
    wired = Wired(tmp_path, vendor, open_symbols=True)
    # A pair that never traded has no price.
    array = [mini(), mini("NEVERUSDT", c="0.00000000", o="0.00000000"), mini(v="-1"), mini()]
    wired.send(encoded(array if vendor is RAW_TICKERS else {"stream": "!miniTicker@arr", "data": array}))
    assert len(wired.records()) == 2
    assert wired.counted() == {Reason.PRICE_NOT_POSITIVE: 1, Reason.AMOUNT_NEGATIVE: 1}
    assert wired.balanced()


def test_tickers_set_a_days_volume_and_never_add_to_it(tmp_path: Path) -> None:
    wired = Wired(tmp_path, TICKERS, open_symbols=True)
    for volume in ("100.5", "100.5", "130", "20"):
        wired.send(encoded({"stream": "!miniTicker@arr", "data": [mini(v=volume, q="7", c="2.5")]}))
    rig = Rig()
    rig.feed(wired.records())
    row = wired.table.lookup(b"BTCUSDT")
    copy = rig.copy()
    found = {name: copy[name][row] for name in ("volume", "turnover", "last", "prev_close", "trades")}
    # Nobody said how many trades there were.
    assert found == {"volume": 20.0, "turnover": 7.0, "last": 2.5, "prev_close": 0.0010, "trades": 0}


def test_a_binance_symbol_may_be_chinese(tmp_path: Path) -> None:
    wired = Wired(tmp_path, SPOT)
    assert wired.one(encoded(combined("trade", trade(s="币安人生USDT")))).row == 2
    wired.send(encoded(combined("trade", trade(s="币安USDT"))))
    assert wired.counted() == {Reason.SYMBOL_NOT_ASCII: 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"X": "INSURANCE_FUND", "p": "0"}, Reason.IGNORED_NOT_MARKET),
        ({"X": "NA", "p": "0"}, Reason.IGNORED_NOT_MARKET), ({"X": "ADL"}, Reason.IGNORED_NOT_MARKET),
        ({"X": "MARKET", "p": "0"}, Reason.PRICE_NOT_POSITIVE),
    ],
)  # fmt: skip
def test_a_futures_trade_that_made_no_market_price_is_ignored(
    tmp_path: Path, changes: dict[str, Any], reason: Reason
) -> None:
    wired = Wired(tmp_path, FUTURES)
    wired.send(encoded(combined("trade", trade(**changes))), encoded(combined("trade", trade(X="MARKET"))))
    assert wired.counted() == {reason: 1}
    assert len(wired.records()) == 1


BINANCE_FAULTS: list[tuple[dict[str, Any], Reason]] = [
    ({"s": ...}, Reason.SYMBOL_MISSING), ({"s": "btcusdt"}, Reason.SYMBOL_NOT_ASKED), ({"s": ""}, Reason.SYMBOL_EMPTY),
    ({"p": "nan"}, Reason.PRICE_NOT_FINITE), ({"p": "0.00000000"}, Reason.PRICE_NOT_POSITIVE),
    ({"p": "1e400"}, Reason.PRICE_NOT_FINITE), ({"p": None}, Reason.PRICE_MISSING), ({"p": ...}, Reason.PRICE_MISSING),
    ({"q": "-1"}, Reason.SIZE_NEGATIVE), ({"q": ...}, Reason.SIZE_MISSING), ({"q": "inf"}, Reason.SIZE_NOT_FINITE),
    ({"m": "maybe"}, Reason.SIDE_WRONG_TYPE), ({"m": None}, Reason.SIDE_WRONG_TYPE),
    ({"t": 2**64}, Reason.SEQUENCE_OUT_OF_RANGE), ({"t": 0.5}, Reason.SEQUENCE_WRONG_TYPE),
    ({"T": 1}, Reason.TIME_OUT_OF_RANGE), ({"T": "later"}, Reason.TIME_WRONG_TYPE),
]  # fmt: skip


@pytest.mark.parametrize("vendor", [SPOT, RAW], ids=["combined", "raw"])
@pytest.mark.parametrize(("changes", "reason"), BINANCE_FAULTS)
def test_a_bad_binance_trade_has_its_exact_reason(
    tmp_path: Path, vendor: Vendor, changes: dict[str, Any], reason: Reason
) -> None:
    wired = Wired(tmp_path, vendor)
    for data in (trade(**changes), trade()):
        wired.send(encoded(combined("trade", data) if vendor is SPOT else data))
    assert wired.counted() == {reason: 1}
    assert len(wired.records()) == 1
    assert wired.balanced()


@pytest.mark.parametrize(
    ("vendor", "message", "reason"),
    [
        (SPOT, combined("depth@100ms", {"e": "depthUpdate", "s": "BTCUSDT", "b": [], "a": []}), Reason.IGNORED_DEPTH),
        (RAW, {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "b": [], "a": []}, Reason.IGNORED_DEPTH),
        (FUTURES, combined("bookTicker", {**BOOK, "e": "bookTicker"}), Reason.IGNORED_UNSUBSCRIBED),
        (AGGREGATE, combined("trade", trade()), Reason.IGNORED_UNSUBSCRIBED),
    ],
)
def test_streams_that_carry_no_price_for_us_are_ignored_and_counted(
    tmp_path: Path, vendor: Vendor, message: dict[str, Any], reason: Reason
) -> None:
    wired = Wired(tmp_path, vendor)
    wired.send(encoded(message))
    assert wired.counted() == {reason: 1}
    assert wired.records() == []


# ---- anything at all ----

VENDORS = {"alltick": ALLTICK, "spot": SPOT, "raw": RAW, "futures": FUTURES, "aggregate": AGGREGATE}
JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=40),
        st.sampled_from(["600519.SH", "BTCUSDT", "nan", "inf", "1e400", "5", "-1", "trade", 22998, 10**400]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(list("espqmtTbaxu")), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "alltick": alltick()["data"],
    "spot": trade(),
    "raw": trade(),
    "futures": trade(X="MARKET"),
    "aggregate": trade(e="aggTrade", a=5),
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a vendor and a message of it with some things changed, cut short, or nothing like it."""
    name = draw(st.sampled_from(sorted(VENDORS)))
    data = dict(BASES[name])
    for key in draw(st.lists(st.sampled_from([*sorted(data), "x"]), max_size=3)):
        data[key] = draw(JUNK)
    for key in draw(st.lists(st.sampled_from(sorted(BASES[name])), max_size=1)):
        data.pop(key, None)
    message: Any = data
    if name == "alltick":
        message = {"cmd_id": draw(st.sampled_from([22998, "22998", 22999, 0, None])), "data": data}
    elif name != "raw":
        message = combined("aggTrade" if name == "aggregate" else "trade", data)
    shape = draw(st.integers(0, 9))
    if shape == 0:
        message = draw(JUNK)
    elif shape == 1:
        message = [message, message]
    # Python's own encoder writes NaN and Infinity, as careless servers do.
    payload = json.dumps(message, separators=(",", ":")).encode()
    if shape == 2:
        payload = payload[: draw(st.integers(0, len(payload)))]
    elif shape == 3:
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(st.binary(max_size=5)) + payload[at:]
    elif shape == 4:
        payload = draw(st.binary(max_size=200))
    return name, payload


@pytest.fixture(scope="module")
def wired_by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wired]:
    return {name: Wired(tmp_path_factory.mktemp(name), vendor) for name, vendor in VENDORS.items()}


@settings(max_examples=100, deadline=None)
@given(messages())
def test_whatever_arrives_every_event_ends_in_one_count_and_only_good_ones_in_a_record(
    wired_by_name: dict[str, Wired], message: tuple[str, bytes]
) -> None:
    name, payload = message
    wired = wired_by_name[name]
    before = wired.counter(C_EVENTS) + wired.counter(C_CONTROL)
    wired.send(payload)
    assert wired.counter(C_EVENTS) + wired.counter(C_CONTROL) >= before + (payload not in (b"[]", b""))
    assert wired.balanced()
    for record in wired.records():
        assert record.kind in (Kind.TRADE, Kind.QUOTE)
        assert 0 < record.a < float("inf")
        assert record.value(1) is None or 0 <= record.b < float("inf")
        assert record.side in (0, 1, 2)
        assert record.exchange_ns == 0 or 946_684_800 * SECOND_NS <= record.exchange_ns < 4_102_444_800 * SECOND_NS
        assert wired.table.key(record.row) in KNOWN
    assert wired.table.count == len(KNOWN)


def test_half_of_all_messages_being_malformed_costs_the_other_half_nothing(tmp_path: Path) -> None:
    wired = Wired(tmp_path, SPOT, capacity=1 << 14)
    faults = [
        b"\xff\xfe", b'{"stream":"btcusdt@trade","data":{', b'{"stream":"btcusdt@trade","data":{"e":"trade"}}',
        encoded(combined("trade", trade(p="nan"))), encoded(combined("trade", trade(s="NOPE"))), b"[" * 5000, b"",
    ]  # fmt: skip
    count = 5000
    decoder = msgspec.json.Encoder()
    for number in range(count):
        wired.send(decoder.encode(combined("trade", trade(t=number))), faults[number % len(faults)])
    assert [record.sequence for record in wired.records()] == list(range(count))
    assert sum(wired.counted().values()) == count
    assert wired.balanced()

"""Captured messages: what a venue's dialect reads in them, how they are relabelled, and their oracle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from openbell.errors import ConfigError, OpenBellError
from openbell.simulator import SimulatorError, SimulatorOptions, parse_speed
from openbell.simulator.alltick import AllTickDialect
from openbell.simulator.binance import BinanceDialect
from openbell.simulator.events import Book, Kind, Message, Quote, Ticker, Trade, nanoseconds
from openbell.simulator.oracle import EMPTY_ROW, MessageOracle, write_oracle

TRADE = {
    "e": "trade",
    "E": 1672515782137,
    "s": "BNBBTC",
    "t": 12345,
    "p": "0.00100000",
    "q": "100.5",
    "T": 1672515782136,
}
TICKER = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21", "a": "25.36520000", "A": "40.66"}
DEPTH = {"e": "depthUpdate", "E": 1672515782136, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]], "a": []}


def combined(stream: str, data: object, separators: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=separators).encode()


def trade(
    price: str = "10.5", size: str | None = "2", *, turnover: str | None = None, is_market: bool = True
) -> Message:
    event = Trade("A", price, size, turnover, is_market, time=5, sequence=9)
    return Message(b"", False, "a@trade", "A", Kind.TRADE, event)


def quote(bid: str = "1", bid_size: str = "2", ask: str = "3", ask_size: str = "4") -> Message:
    event = Quote("A", bid, bid_size, ask, ask_size, 0, 7)
    return Message(b"", False, "a@bookTicker", "A", Kind.QUOTE, event)


def book(bids: list[tuple[str, str | None]], asks: list[tuple[str, str | None]]) -> Message:
    return Message(b"", False, "book:A", "A", Kind.BOOK, Book("A", bids, asks, 5, 9))


def ticker(price: str = "10.5", reference: str = "10", volume: str = "7", turnover: str = "70.5") -> Message:
    event = Ticker("A", price, reference, volume, turnover, 5)
    return Message(b"", False, "a@miniTicker", "A", Kind.TICKER, event)


def test_a_captured_book_replaces_the_one_before_and_an_empty_side_is_none() -> None:
    payload = (
        b'{"cmd_id":22999,"data":{"code":"1.HK","seq":"4","tick_time":"1605509068","bids":[],'
        b'"asks":[{"price":"9.12","volume":"100"},{"price":"9.13"}]}}'
    )
    message = AllTickDialect().parse(payload)
    assert (message.key, message.kind) == ("book:1.HK", Kind.BOOK)
    assert message.event == Book("1.HK", [], [("9.12", "100"), ("9.13", None)], 1605509068, 4)
    oracle = MessageOracle()
    oracle.apply(book([("1", "2"), ("0.5", "3")], [("2", "4")]))
    oracle.apply(message)
    oracle.apply(book([("1.5", "2")], []))
    row = oracle.rows()["A"]
    assert (row["bid"], row["bid_size"], row["book_bid_1"], row["book_bid_size_1"]) == (1.5, 2.0, 1.5, 2.0)
    for absent in ("ask", "book_ask_1", "book_bid_2", "book_bid_10"):
        assert math.isnan(row[absent])
    assert (row["ask_size"], row["book_ask_size_1"], row["book_bid_size_2"]) == (0.0, 0.0, 0.0)
    assert (row["quote_exchange_ns"], row["quote_sequence"]) == (5_000_000_000, 9)
    other = oracle.rows()["1.HK"]
    assert (other["ask"], other["book_ask_2"], other["book_ask_size_2"]) == (9.12, 9.13, 0.0)
    assert (oracle.counts.sent, oracle.counts.books) == (3, 3)


def test_a_captured_mini_ticker_assigns_and_adds_nothing() -> None:
    data = {"e": "24hrMiniTicker", "E": 1672515782136, "s": "BNBBTC", "c": "12", "o": "10", "h": "15", "l": "8"}
    message = BinanceDialect().parse(combined("bnbbtc@miniTicker", data | {"v": "10000", "q": "18.5"}))
    assert message.kind is Kind.TICKER
    oracle = MessageOracle()
    for each in (message, message, ticker(), ticker("9", volume="8", turnover="79.5")):
        oracle.apply(each)
    row = oracle.rows()["BNBBTC"]
    assert [row[name] for name in ("last", "prev_close", "volume", "turnover", "trades")] == [12, 10, 10000, 18.5, 0]
    row = oracle.rows()["A"]
    assert [row[name] for name in ("last", "open", "high", "low", "volume")] == [9, 10.5, 10.5, 9, 8]
    assert (row["trade_exchange_ns"], row["trade_sequence"]) == (5_000_000_000, 0)
    assert (oracle.counts.sent, oracle.counts.tickers) == (4, 4)


def test_a_combined_trade_is_read() -> None:
    message = BinanceDialect().parse(combined("bnbbtc@trade", TRADE))
    assert message.key == "bnbbtc@trade"
    assert message.event == Trade("BNBBTC", "0.00100000", "100.5", None, True, 1672515782136, 12345)
    assert message.wrapped


@pytest.mark.parametrize(
    ("data", "key", "kind"),
    [
        (TRADE, "bnbbtc@trade", Kind.TRADE),
        (TRADE | {"e": "aggTrade", "a": 5, "f": 1, "l": 2}, "bnbbtc@aggTrade", Kind.TRADE),
        (TICKER, "bnbusdt@bookTicker", Kind.QUOTE),
        (TICKER | {"e": "bookTicker", "E": 3, "T": 2}, "bnbusdt@bookTicker", Kind.QUOTE),
        (DEPTH, "bnbbtc@depth", Kind.DEPTH),
        ({"lastUpdateId": 1, "bids": [], "asks": []}, None, Kind.OTHER),
        ({"result": None, "id": 1}, None, Kind.OTHER),
        ([TRADE], None, Kind.OTHER),
    ],
)
def test_the_stream_of_a_raw_message_is_told_by_its_content(data: object, key: str | None, kind: Kind) -> None:
    payload = json.dumps(data).encode()
    message = BinanceDialect().parse(payload)
    assert (message.key, message.kind) == (key, kind)
    assert message.whole == payload
    assert not message.wrapped


def test_the_order_ids_of_old_trades_are_not_taken_for_prices() -> None:
    message = BinanceDialect().parse(combined("bnbbtc@trade", TRADE | {"b": 88, "a": 50}))
    assert isinstance(message.event, Trade)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " :  ")])
@pytest.mark.parametrize("data", [TRADE, TICKER, DEPTH])
def test_relabelling_changes_the_symbol_and_the_number_of_a_trade_and_nothing_else(
    separators: tuple[str, str], data: dict[str, object]
) -> None:
    dialect = BinanceDialect()
    old = str(data["s"])
    before = combined(f"{old.lower()}@x@100ms" if data is DEPTH else f"{old.lower()}@trade", data, separators)
    if data is TICKER:
        before = combined(f"{old.lower()}@bookTicker", data, separators)
    after = dialect.relabel(dialect.parse(before), "OB00042USDT")
    expected = json.loads(before)
    expected["stream"] = "ob00042usdt@" + expected["stream"].partition("@")[2]
    expected["data"]["s"] = "OB00042USDT"
    shorter = 0
    if data is TRADE:
        shorter = len(str(expected["data"]["t"])) - 1
        expected["data"]["t"] = 1
    assert json.loads(after.whole) == expected
    assert list(json.loads(after.whole)["data"]) == list(data)
    assert after.key == expected["stream"]
    assert after.symbol == "OB00042USDT"
    assert after == dialect.parse(after.whole)
    assert len(after.whole) - len(before) == 2 * (len("OB00042USDT") - len(old)) - shorter


@pytest.mark.parametrize(("channel", "name"), [("trade", "t"), ("aggTrade", "a")])
def test_relabelled_trades_of_each_symbol_are_numbered_without_a_break(channel: str, name: str) -> None:
    dialect = BinanceDialect()
    numbers: dict[str, list[int]] = {"AUSDT": [], "BUSDT": []}
    for at, symbol in enumerate(["AUSDT", "BUSDT", "BUSDT", "AUSDT", "BUSDT"]):
        event = {"e": channel, "s": "BNBBTC", name: 7000 + at, "p": "1", "q": "2", "T": 3}
        after = dialect.relabel(dialect.parse(combined(f"bnbbtc@{channel}", event)), symbol)
        assert isinstance(after.event, Trade)
        assert json.loads(after.whole)["data"][name] == after.event.sequence
        numbers[symbol].append(after.event.sequence)
    assert numbers == {"AUSDT": [1, 2], "BUSDT": [1, 2, 3]}


def test_a_message_about_no_symbol_is_not_relabelled() -> None:
    dialect = BinanceDialect()
    for payload in (b'{"lastUpdateId":1,"bids":[]}', combined("!miniTicker@arr", [{"s": "A"}])):
        assert dialect.relabel(dialect.parse(payload), "B").whole == payload


@pytest.mark.parametrize(
    "payload",
    [
        combined("a@trade", {"s": "A"}),
        combined("a@trade", []),
        combined("a@bookTicker", {"s": "A", "u": "x"}),
        b"[1]",
        b"7",
    ],
)
def test_what_is_not_what_its_stream_promises_is_other_and_never_an_error(payload: bytes) -> None:
    message = BinanceDialect().parse(payload)
    assert (message.kind, message.event, message.symbol) == (Kind.OTHER, None, None)


@pytest.mark.parametrize("as_text", [False, True])
def test_an_alltick_push_is_read_whether_numbers_are_text_or_not(as_text: bool) -> None:
    form = str if as_text else int
    data = {"code": "1288.HK", "seq": form(16), "tick_time": form(1605509068), "price": "651.12", "volume": "300"}
    payload = json.dumps({"cmd_id": 22998, "data": data | {"turnover": "12345.6", "trade_direction": 1}}).encode()
    dialect = AllTickDialect()
    message = dialect.parse(payload)
    assert message.event == Trade("1288.HK", "651.12", "300", "12345.6", True, 1605509068, 16)
    assert message.key == "1288.HK"
    assert json.loads(dialect.relabel(message, "600519.SH").whole)["data"]["code"] == "600519.SH"


def test_alltick_answers_are_no_market() -> None:
    message = AllTickDialect().parse(b'{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":1,"trace":"","data":{}}')
    assert (message.kind, message.key) == (Kind.OTHER, None)


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (0, 0),
        (1605509068, 1605509068 * 10**9),
        (1605509068123, 1605509068123 * 10**6),
        (1605509068123456, 1605509068123456000),
        (1605509068123456789, 1605509068123456789),
    ],
)
def test_the_unit_of_a_time_goes_by_its_magnitude(time: int, ns: int) -> None:
    assert nanoseconds(time) == ns


def test_trades_are_summed_exactly() -> None:
    oracle = MessageOracle()
    for price, size in (("0.1", "0.7"), ("0.3", "0.1"), ("0.2", "0.2")):
        oracle.apply(trade(price, size))
    row = oracle.rows()["A"]
    assert (row["open"], row["high"], row["low"], row["last"], row["size"]) == (0.1, 0.3, 0.1, 0.2, 0.2)
    assert row["volume"] == 1.0  # 0.7 + 0.1 + 0.2 as floats is 0.9999999999999999
    assert row["turnover"] == 0.14
    assert (row["trades"], row["trade_exchange_ns"], row["trade_sequence"]) == (3, 5 * 10**9, 9)
    assert math.isnan(row["bid"])
    assert row.keys() == EMPTY_ROW.keys()


def test_a_turnover_that_is_sent_is_taken_as_sent() -> None:
    oracle = MessageOracle()
    oracle.apply(trade("10", "2", turnover="21.5"))
    oracle.apply(trade("10", None, turnover="1"))
    row = oracle.rows()["A"]
    assert (row["turnover"], row["volume"], row["trades"], row["size"]) == (22.5, 2.0, 2, 0.0)


def test_quotes_and_trades_do_not_touch_each_other() -> None:
    oracle = MessageOracle()
    oracle.apply(quote())
    row = oracle.rows()["A"]
    assert (row["bid"], row["bid_size"], row["ask"], row["ask_size"], row["quote_sequence"]) == (1, 2, 3, 4, 7)
    assert math.isnan(row["last"])
    assert row["trades"] == 0


@pytest.mark.parametrize(
    ("message", "counted"),
    [
        (trade(is_market=False), "ignored"),
        (trade("0"), "ignored"),
        (trade("-1"), "ignored"),
        (trade("nan"), "ignored"),
        (trade("abc"), "other"),
        (trade("1", "-1"), "other"),
        (trade("1", "nan"), "other"),
        (quote("0"), "other"),
        (quote("nan"), "other"),
        (quote(ask_size="-2"), "other"),
        (quote("x"), "other"),
        (book([("0", "1")], []), "other"),
        (book([], [("1", "-1")]), "other"),
        (book([("x", "1")], []), "other"),
        (ticker("0"), "other"),
        (ticker(reference="-1"), "other"),
        (ticker(volume="nan"), "other"),
        (ticker(turnover="x"), "other"),
        (Message(b"", False, "a@depth", "A", Kind.DEPTH, None), "ignored"),
        (Message(b"", False, None, None, Kind.OTHER, None), "other"),
    ],
)
def test_what_is_no_price_is_counted_and_changes_nothing(message: Message, counted: str) -> None:
    oracle = MessageOracle()
    oracle.apply(trade())
    oracle.apply(quote())
    before = oracle.rows()
    oracle.apply(message)
    assert oracle.rows() == before
    counts = oracle.counts
    assert (counts.sent, counts.trades, counts.quotes, getattr(counts, counted)) == (3, 1, 1, 1)


def test_the_oracle_is_written_whole_and_for_the_user_alone(tmp_path: Path) -> None:
    oracle = MessageOracle()
    oracle.apply(trade())
    path = tmp_path / "oracle.json"
    path.write_text("old")
    write_oracle(path, "binance", oracle)
    stated = json.loads(path.read_text())
    assert stated["rows"]["A"]["last"] == 10.5
    assert stated["rows"]["A"]["bid"] is None
    none = dict.fromkeys(("quotes", "books", "tickers", "ignored", "other"), 0)
    assert stated["counts"] == none | {"sent": 1, "trades": 1}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["oracle.json"]
    with pytest.raises(SimulatorError, match="cannot write"):
        write_oracle(tmp_path / "none" / "oracle.json", "binance", oracle)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("universe", "mars"),
        ("dialect", "morse"),
        ("profile", "close"),
        ("scale", 0.0),
        ("frame_ticks", 0),
        ("frame_ticks", 100),
        ("join", 1001),
        ("open_ms", 5),
        ("host", "0.0.0.0"),
        ("host", "example.com"),
        ("symbols", -1),
        ("seed", -1),
        ("rate", 0.0),
        ("rate", math.inf),
        ("speed", 0.0),
        ("speed", math.nan),
        ("seconds", 0.0),
        ("port", 65536),
        ("start_quiet_s", -1.0),
        ("flush_timeout_s", 0.0),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        SimulatorOptions(**{name: value})  # type: ignore[arg-type]
    assert name in str(caught.value) or "loopback" in str(caught.value)


def test_a_speed_is_a_number_or_max() -> None:
    assert parse_speed("2.5") == 2.5
    assert parse_speed("max") == math.inf
    for text in ("", "fast", "0", "-1", "nan", "inf"):
        with pytest.raises(OpenBellError, match="max"):
            parse_speed(text)

"""The compiled listener and the slow path together: whatever way a message takes, it ends in the same counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from test_fallback import AGG_TRADE, BOOK, DEPTH, SPOT_TRADE, WRONG, trade, wrapped

from openbell.config import Source
from openbell.reasons import Reason
from openbell.receiver.preview import Preview, PreviewRecord
from openbell.record import Kind, Side
from openbell.vendors import HeartbeatAck, create

FUTURES_TRADE = SPOT_TRADE.replace(b'"m":true', b'"X":"INSURANCE_FUND","m":true').replace(b"61837.64", b"0")

ALLTICK_GUARDS: list[tuple[bytes, Reason | None]] = [
    (trade(), None),
    (trade(seq=b'"5"', tick_time=b'"1605509068000"'), None),
    (trade(code=b'"\xe8\xb4\xb5\xe5\xb7\x9e"'), None),
    (trade(code=b'""'), Reason.SYMBOL_EMPTY),
    (trade(code=b'"%b"' % (b"A" * 1024)), Reason.SYMBOL_TOO_LONG),
    (trade(code=b'"A\\u0000"'), Reason.SYMBOL_NUL),
    (trade(code='"é"'.encode()), Reason.SYMBOL_NOT_ASCII),
    (trade(code=b'"a"'), Reason.SYMBOL_NOT_ASKED),
    (trade(price=b'"nan"'), Reason.PRICE_NOT_FINITE),
    (trade(price=b'"inf"'), Reason.PRICE_NOT_FINITE),
    (trade(price=b'"-Infinity"'), Reason.PRICE_NOT_FINITE),
    (trade(price=b"0"), Reason.PRICE_NOT_POSITIVE),
    (trade(price=b'"-0.0"'), Reason.PRICE_NOT_POSITIVE),
    (trade(price=b"-1"), Reason.PRICE_NOT_POSITIVE),
    (trade(volume=b"-1"), Reason.SIZE_NEGATIVE),
    (trade(volume=b'"nan"'), Reason.SIZE_NOT_FINITE),
    (trade(volume=b"null"), None),
    (trade(volume=b"0"), None),
    (trade(turnover=b"-1"), Reason.AMOUNT_NEGATIVE),
    (trade(turnover=b'"inf"'), Reason.AMOUNT_NOT_FINITE),
    (trade(seq=b"18446744073709551616"), Reason.SEQUENCE_OUT_OF_RANGE),
    (trade(tick_time=b"18446744073709551616"), Reason.TIME_OUT_OF_RANGE),
    (trade(tick_time=b"1"), Reason.TIME_OUT_OF_RANGE),
    (trade(tick_time=b"-1605509068"), Reason.TIME_OUT_OF_RANGE),
    (trade(tick_time=b"0"), None),
    (trade(trade_direction=b"7"), Reason.SIDE_WRONG_TYPE),
    *[(payload, reason) for payload, reason in WRONG],
]
BINANCE: list[tuple[bytes, Reason | None]] = [
    (wrapped("btcusdt@trade", SPOT_TRADE, late=False), None),
    (wrapped("btcusdt@bookTicker", BOOK, late=False), None),
    (wrapped("btcusdt@trade", FUTURES_TRADE, late=False), Reason.IGNORED_NOT_MARKET),
    (wrapped("btcusdt@trade", SPOT_TRADE.replace(b"61837.64", b"0"), late=False), Reason.PRICE_NOT_POSITIVE),
    (wrapped("btcusdt@depth@100ms", DEPTH, late=False), Reason.IGNORED_DEPTH),
    (wrapped("bnbbtc@aggTrade", AGG_TRADE, late=False), Reason.IGNORED_UNSUBSCRIBED),
]


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(scope="module")
def alltick() -> Preview:
    return Preview(create(Source(vendor="alltick", symbols=("A", "贵州"), url="ws://127.0.0.1:1/")))


@pytest.fixture(scope="module")
def binance() -> Preview:
    source = Source(vendor="binance", symbols=("btcusdt",), streams=("trade", "bookTicker", "depth@100ms"))
    return Preview(create(source))


def reordered(payload: bytes) -> Iterator[bytes]:
    """Yield the message as it is and, where it has one, with its marker too late to be seen."""
    yield payload
    if payload.startswith(b'{"cmd_id":22998,"data"'):
        yield payload.replace(b'{"cmd_id":22998,', b'{"padding":"%b","cmd_id":22998,' % (b"x" * 96), 1)


@pytest.mark.parametrize(("payload", "reason"), ALLTICK_GUARDS, ids=range(len(ALLTICK_GUARDS)))
def test_alltick_messages_end_in_one_count_by_either_path(
    alltick: Preview, payload: bytes, reason: Reason | None
) -> None:
    for message in reordered(payload):
        outcome = alltick.take(message)
        assert (len(outcome.records), outcome.reasons) == ((1, {}) if reason is None else (0, {reason: 1}))
    assert alltick.counters.events == alltick.counters.published + sum(alltick.counters.reasons().values())


@pytest.mark.parametrize(("payload", "reason"), BINANCE, ids=range(len(BINANCE)))
def test_binance_messages_end_in_one_count(binance: Preview, payload: bytes, reason: Reason | None) -> None:
    outcome = binance.take(payload)
    assert (len(outcome.records), outcome.reasons) == ((1, {}) if reason is None else (0, {reason: 1}))
    assert binance.counters.events == binance.counters.published + sum(binance.counters.reasons().values())


def test_an_alltick_trade_becomes_the_same_record_by_either_path(alltick: Preview) -> None:
    expected = PreviewRecord(
        "A", Kind.TRADE, Side.BUY, 1605509068_000_000_000, 1605509068000001, {"a": 651.12, "b": 300.0, "c": 12345.6}
    )
    for message in reordered(trade()):
        assert alltick.take(message).records == [expected]


def test_what_an_alltick_trade_lacks_is_absent_from_its_record(alltick: Preview) -> None:
    (record,) = alltick.take(b'{"cmd_id":22998,"data":{"code":"A","price":"1.1"}}').records
    assert record == PreviewRecord("A", Kind.TRADE, Side.UNKNOWN, 0, 0, {"a": 1.1})


def test_a_spot_trade_becomes_a_trade_with_the_time_at_which_it_happened(binance: Preview) -> None:
    (record,) = binance.take(wrapped("btcusdt@trade", SPOT_TRADE, late=False)).records
    expected = {"a": 61837.64, "b": 0.5}
    assert record == PreviewRecord("BTCUSDT", Kind.TRADE, Side.SELL, 1723161255208_000_000, 5, expected)


def test_microseconds_are_known_by_their_magnitude(binance: Preview) -> None:
    payload = wrapped("btcusdt@trade", SPOT_TRADE.replace(b"1723161255208", b"1723161255208123"), late=False)
    (record,) = binance.take(payload).records
    assert record.exchange_ns == 1723161255208123_000


def test_a_book_ticker_becomes_a_quote(binance: Preview) -> None:
    (record,) = binance.take(wrapped("btcusdt@bookTicker", BOOK, late=False)).records
    expected = {"a": 61837.63, "b": 3.7, "c": 61837.64, "d": 1.5}
    assert record == PreviewRecord("BTCUSDT", Kind.QUOTE, Side.UNKNOWN, 0, 50093239212, expected)


def test_answers_are_counted_as_control_messages_and_not_as_events(alltick: Preview) -> None:
    events, control = alltick.counters.events, alltick.counters.control_messages
    outcome = alltick.take(b'{"ret":200,"msg":"ok","cmd_id":22001,"seq_id":9,"trace":"x","data":{}}')
    assert (outcome.records, outcome.reasons, outcome.controls) == ([], {}, [HeartbeatAck()])
    assert (alltick.counters.events, alltick.counters.control_messages) == (events, control + 1)


def test_a_message_of_more_events_than_a_ring_holds_loses_none(alltick: Preview) -> None:
    trades = b",".join(b'{"code":"A","price":%d}' % price for price in range(1, 10_001))
    outcome = alltick.take(b'{"cmd_id":22998,"data":[%b]}' % trades)
    assert [record.values["a"] for record in outcome.records] == list(range(1, 10_001))

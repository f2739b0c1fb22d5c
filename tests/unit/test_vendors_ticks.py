"""The plain dialect: what it asks, what it understands, and what becomes of its ticks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell import vendors
from openbell.config import Source
from openbell.core.plan import Plan
from openbell.errors import ConfigError
from openbell.reasons import Reason
from openbell.receiver.preview import Preview
from openbell.record import Kind, Side
from openbell.vendors import Ack, Control, Refusal
from openbell.vendors.ticks import PlainTicks

TOKEN = "c0ffee-very-secret"
URL = "ws://127.0.0.1:1/ticks"
FULL = {
    "symbol": "600519.SH", "price": 1500.01, "volume": 100, "turnover": 150001.0, "time": 1767576600000000000,
    "seq": 17, "side": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def ticks(**more: Any) -> PlainTicks:
    return PlainTicks(Source(**({"vendor": "ticks", "symbols": ("600519.SH", "700.HK"), "url": URL} | more)))


def push(*events: object, spaced: bool = False) -> bytes:
    return json.dumps({"ticks": list(events)}, separators=(", ", ": ") if spaced else (",", ":")).encode()


def test_it_is_found_by_its_name_and_its_plan_compiles() -> None:
    assert vendors.load("ticks") is PlainTicks
    Plan(ticks().plan())


def test_it_asks_for_symbols_in_messages_of_twenty_and_cancels_them_by_name() -> None:
    (message,) = ticks().subscribe(("600519.SH", "700.HK"))
    assert json.loads(message.payload) == {"action": "subscribe", "symbols": ["600519.SH", "700.HK"]}
    codes = [f"{number:06d}.SZ" for number in range(45)]
    assert [len(request.symbols) for request in ticks().requests(codes)] == [20, 20, 5]
    (message,) = ticks().unsubscribe(("600519.SH",))
    assert json.loads(message.payload) == {"action": "unsubscribe", "symbols": ["600519.SH"]}
    assert ticks().subscribe(()) == ticks().unsubscribe(()) == []
    assert ticks().heartbeat() is None and ticks().heartbeat_interval_s == 0


def test_a_token_travels_in_a_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    vendor = ticks(token_env="T")
    assert vendor.headers() == [("Authorization", f"Bearer {TOKEN}")]
    assert TOKEN not in vendor.url().reveal() and TOKEN not in repr(vendor.secret())
    assert ticks().headers() == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": None}, "source.url: the plain dialect has no address of its own"),
        ({"streams": ("book",)}, 'source.streams: the plain dialect has "trade" alone'),
        ({"market": "stock"}, "source.market: the plain dialect has no markets"),
    ],
)
def test_it_refuses_what_it_cannot_give(more: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ticks(**more)


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [
        (b'{"action":"subscribed","symbols":2}', Ack()),
        (b'{"action":"error","message":"no such symbol"}', Refusal(None, "no such symbol")),
        (b'{"action":"error"}', Refusal(None, "")),
        (push(FULL), None),
        (b'{"action":7}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 10_000, None),
    ],
    ids=range(8),
)
def test_answers_are_understood(payload: bytes, meaning: Control | None) -> None:
    assert ticks().control(payload) == meaning


@pytest.mark.parametrize("spaced", [False, True])
def test_ticks_become_trades_in_their_order(spaced: bool) -> None:
    preview = Preview(ticks())
    outcome = preview.take(push(FULL, {"symbol": "700.HK", "price": 5}, spaced=spaced))
    first, second = outcome.records
    assert (first.symbol, first.kind, first.side, first.sequence) == ("600519.SH", Kind.TRADE, Side.BUY, 17)
    assert first.exchange_ns == 1767576600000000000
    assert first.values == {"a": 1500.01, "b": 100.0, "c": 150001.0}
    assert (second.symbol, second.exchange_ns, second.values) == ("700.HK", 0, {"a": 5.0}), "absent is absent"
    assert outcome.reasons == {} and outcome.controls == []


@pytest.mark.parametrize("frame", ['{"n":7,"ticks":[%s]}', '{ "time" : 7, "ticks": [ %s ] }', '{"ticks":[%s],"n":7}'])
def test_ticks_are_found_wherever_a_relay_puts_them(frame: str) -> None:
    outcome = Preview(ticks()).take(frame.replace("%s", '{"symbol":"700.HK","price":5}').encode())
    assert [(record.symbol, record.values) for record in outcome.records] == [("700.HK", {"a": 5.0})]
    assert outcome.reasons == {}


def test_a_bad_tick_does_not_cost_its_neighbours() -> None:
    bad = [
        {"symbol": "600519.SH"},
        {"symbol": "600519.SH", "price": "x"},
        {"symbol": "600519.SH", "price": -1},
        {"symbol": "NOT.ASKED", "price": 1},
        {"symbol": "600519.SH", "price": 1, "time": 5},
        {"symbol": "600519.SH", "price": 1, "side": 3},
        7,
    ]
    outcome = Preview(ticks()).take(push(FULL, *bad, FULL))
    assert [record.symbol for record in outcome.records] == ["600519.SH", "600519.SH"]
    assert outcome.reasons == {
        Reason.PRICE_MISSING: 1,
        Reason.PRICE_WRONG_TYPE: 1,
        Reason.PRICE_NOT_POSITIVE: 1,
        Reason.SYMBOL_NOT_ASKED: 1,
        Reason.TIME_OUT_OF_RANGE: 1,
        Reason.SIDE_WRONG_TYPE: 1,
        Reason.WRONG_SHAPE: 1,
    }


@given(st.integers(0, 300), st.booleans())
def test_every_tick_of_a_push_is_counted_once(count: int, answered: bool) -> None:
    preview = Preview(ticks())
    documents = [push(*([FULL] * count))]
    if answered:
        # Some gateways join documents by newlines.
        documents.insert(0, b'{"action":"subscribed","symbols":2}')
    outcome = preview.take(b"\n".join(documents))
    assert len(outcome.records) == preview.counters.published == count
    assert len(outcome.controls) == answered
    assert outcome.reasons == {}

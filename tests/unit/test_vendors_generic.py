"""A described vendor: what it sends, what it understands, and what the compiled listener makes of its messages."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell import vendors
from openbell.config import Source
from openbell.config.generic import Generic as Description
from openbell.config.generic import generic, with_profile
from openbell.core.plan import Plan
from openbell.reasons import Reason
from openbell.receiver.preview import Preview
from openbell.record import Kind, Side
from openbell.vendors import Ack, Control, HeartbeatAck, Refusal, Vendor
from openbell.vendors.ticks import Tick

TOKEN = "c0ffee-very-secret"
PUSH = {"symbol": "s", "price": "p"}
SUBSCRIBE = {"op": "sub", "codes": "{symbols}"}


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def described(**keys: Any) -> Description:
    """Return a description by hand, or by a profile."""
    whole = with_profile(keys) if "profile" in keys else {"push": PUSH, "subscribe": SUBSCRIBE, **keys}
    return msgspec.convert(whole, Description)


def made(description: Description, **more: Any) -> Vendor:
    keys: dict[str, Any] = {"symbols": ("A", "B"), "url": "ws://127.0.0.1:1/feed"}
    return vendors.create(Source(vendor="generic", generic=description, **keys | more))


def asked(vendor: Vendor, *symbols: str) -> list[Any]:
    return [json.loads(request.payload) for request in vendor.subscribe(symbols)]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("symbol-array", {"action": "subscribe", "symbols": ["A", "B"]}),
        ("symbol-text", {"action": "subscribe", "symbols": "A,B"}),
        ("command-code", {"cmd_id": 22004, "action": "subscribe", "code": ["X:A", "X:B"]}),
    ],
)
def test_each_profile_asks_as_its_dialect_does(profile: str, message: dict[str, Any]) -> None:
    symbols = ("X:A", "X:B") if profile == "command-code" else ("A", "B")
    keys = {"volume_is": "trade"} if profile == "symbol-array" else {}
    vendor = made(generic(profile, **keys), symbols=symbols)
    (request,) = vendor.subscribe(symbols)
    assert (json.loads(request.payload), request.symbols) == (message, symbols)
    (request,) = vendor.unsubscribe(symbols[:1])
    assert json.loads(request.payload)["action"] == "unsubscribe" and request.symbols == symbols[:1]
    assert vendor.semantics.cancels == "symbols" and vendor.semantics.adds and vendor.semantics.batch == 20
    assert vendor.subscribe(()) == vendor.unsubscribe(()) == []


def test_an_open_source_asks_for_everything_and_for_nothing_else() -> None:
    vendor = made(generic("symbol-text"), symbols=("A",), open=True)
    assert [json.loads(request.payload)["symbols"] for request in vendor.requests(("A",))] == ["*"]
    vendor = made(described(wildcard="ALL"), symbols=(), open=True)
    assert asked(vendor) == [{"op": "sub", "codes": ["ALL"]}]
    # Everything comes to everybody: there is nothing to be asked.
    unasked = msgspec.convert({"push": PUSH}, Description)
    assert list(made(unasked, symbols=(), open=True).requests(())) == []


def test_codes_in_the_address_are_encoded_one_by_one() -> None:
    vendor = made(generic("symbol-query"), symbols=("A:1", "B&x=é"), url="wss://h.example/feed?v=2")
    assert vendor.url().reveal() == "wss://h.example/feed?v=2&codes=A:1,B%26x%3D%C3%A9"
    assert vendor.subscribe(("A:1",)) == [] and vendor.semantics.cancels == "never"
    query = {"codes": "{symbols}", "t": "{only_traded}"}
    everything = made(generic("symbol-query", query=query), symbols=(), open=True)
    assert everything.url().reveal() == "ws://127.0.0.1:1/feed?codes=*&t=false"


def test_the_token_may_stand_in_the_path_of_the_address_and_is_never_shown_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("T", f"{TOKEN}/+")
    vendor = made(generic("symbol-text"), url="wss://h.example/ws/{token}/v1?a=b", token_env="T")
    assert vendor.url().reveal() == f"wss://h.example/ws/{TOKEN}%2F%2B/v1?a=b"
    assert vendor.display_url() == "wss://h.example/…"


def test_one_symbol_a_message_makes_as_many_messages() -> None:
    vendor = made(described(subscribe={"sub": "{symbol}", "n": "{id}"}, ack={"when": {"ok": True}, "id": "n"}))
    first, second = vendor.subscribe(("A", "B"))
    assert (json.loads(first.payload), first.symbols, first.number) == ({"sub": "A", "n": 1}, ("A",), 1)
    assert (json.loads(second.payload), second.symbols, second.number) == ({"sub": "B", "n": 2}, ("B",), 2)
    assert not vendor.semantics.many and vendor.manner.batch == 1


def test_an_unsubscription_without_symbols_cancels_all() -> None:
    vendor = made(described(unsubscribe="stop", replaces=True))
    assert vendor.semantics.cancels == "all" and not vendor.semantics.adds and vendor.semantics.batch == 0
    assert [request.payload for request in vendor.unsubscribe_all()] == [b"stop"]


def test_heartbeats_are_sent_and_their_answers_known() -> None:
    vendor = made(described(heartbeat={"ping": "{id}"}, heartbeat_s=0.5, heartbeat_answer={"data.pong": True}))
    assert (vendor.heartbeat(), vendor.heartbeat(), vendor.heartbeat_interval_s) == (b'{"ping":1}', b'{"ping":2}', 0.5)
    assert vendor.control(b'{"data":{"pong":true}}') == HeartbeatAck()
    assert vendor.control(b'{"data":{"pong":1}}') is None
    assert made(described()).heartbeat() is None


LEFT_OUT = "left out of what it granted"
ANSWERED = {
    "ack": {"when": {"code": [0, 200], "data.kind": "sub"}, "id": "rid", "symbols": "data.on", "refused": "data.off"},
    "error": {"unless": {"code": [0, 200]}, "code": "code", "message": "msg", "id": "rid", "symbols": "data.off"},
}


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [
        (b'{"code":0,"rid":"5","data":{"kind":"sub"}}', Ack(5)),
        (b'{"code":"200","rid":5,"data":{"kind":"sub","on":["A"]}}', Ack(5, ("A",))),
        (b'{"code":0,"data":{"kind":"sub","off":"A,B"}}', Refusal(None, LEFT_OUT, None, ("A", "B"))),
        # Who grants nothing grants nothing, and what is listed in another way than is described was not granted.
        (b'{"code":0,"rid":5,"data":{"kind":"sub","on":[],"off":[]}}', Ack(5, ())),
        (b'{"code":0,"rid":5,"data":{"kind":"sub","off":[{"code":"A"}]}}', Refusal(None, LEFT_OUT, 5)),
        (b'{"code":"-7","msg":"no"}', Refusal(-7, "no")),
        (b'{"code":0,"data":{"kind":"other"}}', None),
        (b'{"code":600,"msg":"no","rid":6,"data":{"off":["A"]}}', Refusal(600, "no", 6, ("A",))),
        (b'{"code":"E1","msg":{"a":1}}', Refusal(None, "{'a': 1}")),
        (b'{"msg":"no code, no error"}', None),
        (b'{"code":600,"s":"A","p":1.5}', None),
        (b'{"code":600,"s":"A"}', Refusal(600, "")),
        (b"[1]", None),
        (b"nonsense", None),
        (b"\xff{}", None),
        (b"[" * 100_000, None),
    ],
)
def test_answers_are_known_by_their_fields_and_prices_are_none(payload: bytes, meaning: Control | None) -> None:
    assert made(described(**ANSWERED)).control(payload) == meaning


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "data", "kind", "rid", "on", "off"]), inner)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=100) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_reading_an_answer_never_raises(payload: bytes) -> None:
    made(described(**ANSWERED)).control(payload)


@pytest.mark.parametrize(
    ("keys", "message", "kind", "values"),
    [
        ({}, {"s": "A", "p": "1.5", "x": [1]}, Kind.TRADE, {"a": 1.5}),
        ({"push": PUSH | {"events": "[]"}}, [{"s": "A", "p": 1.5}], Kind.TRADE, {"a": 1.5}),
        ({"push": PUSH | {"events": "d"}}, {"d": {"s": "A", "p": 1.5}}, Kind.TRADE, {"a": 1.5}),
        ({"push": PUSH | {"events": "d[]"}}, {"n": 1, "d": [{"s": "A", "p": 1.5}]}, Kind.TRADE, {"a": 1.5}),
        (
            {"push": PUSH | {"volume": "v", "turnover": "t"}, "volume_is": "trade"},
            {"s": "A", "p": 1.5, "v": "2", "t": 3},
            Kind.TRADE,
            {"a": 1.5, "b": 2.0, "c": 3.0},
        ),
        (
            {"push": PUSH | {"volume": "v", "turnover": "t", "reference": "r"}, "volume_is": "cumulative"},
            {"s": "A", "p": 1.5, "v": "2", "t": 3, "r": 1},
            Kind.TICKER,
            {"a": 1.5, "b": 1.0, "c": 2.0, "d": 3.0},
        ),
        ({"push": PUSH | {"reference": "r"}}, {"s": "A", "p": 1.5}, Kind.TICKER, {"a": 1.5}),
        (
            {"push": PUSH | {"events": "d", "when": {"cmd_id": 22998}}},
            {"cmd_id": 22998, "d": {"s": "A", "p": 1.5}},
            Kind.TRADE,
            {"a": 1.5},
        ),
        (
            {"push": None, "quote": {"symbol": "s", "bid": "b", "ask": "a", "bid_size": "B", "ask_size": "A"}},
            {"s": "A", "b": 1, "a": 2, "A": "3"},
            Kind.QUOTE,
            {"a": 1.0, "c": 2.0, "d": 3.0},
        ),
    ],
    ids=["alone", "array", "object", "list", "trade", "cumulative", "reference", "condition", "quote"],
)
def test_messages_of_every_shape_become_records(
    keys: dict[str, Any], message: Any, kind: Kind, values: dict[str, float]
) -> None:
    vendor = made(described(**keys))
    Plan(vendor.plan())
    preview = Preview(vendor)
    for separators in ((",", ":"), (", ", ": "), (" , ", " : ")):
        outcome = preview.take(json.dumps(message, separators=separators).encode())
        assert outcome.reasons == {}
        (record,) = outcome.records
        assert (record.symbol, record.kind, record.values) == ("A", kind, values)


def test_trades_and_quotes_are_told_apart_by_their_condition() -> None:
    quote = {"symbol": "s", "bid": "b", "ask": "a", "when": {"e": "quote"}}
    preview = Preview(made(described(push=PUSH | {"when": {"e": "trade"}}, quote=quote)))
    kinds = {}
    for text in (
        '{"e":"trade","s":"A","p":1}',
        '{"e": "quote", "s": "A", "b": 1, "a": 2}',
        '{"s":"A","p":1,"e":"trade"}',
    ):
        (record,) = preview.take(text.encode()).records
        kinds[text] = record.kind
    assert list(kinds.values()) == [Kind.TRADE, Kind.QUOTE, Kind.TRADE]
    assert preview.take(b'{"e":"status","s":"A","p":1}').records == []


def test_a_bad_event_costs_itself_and_is_counted_by_its_reason() -> None:
    vendor = made(generic("symbol-array", volume_is="trade", push={"time": "t", "sequence": "n", "side": "d"}))
    events = [
        {"symbol": "A", "price": 1},
        {"symbol": "A", "price": None},
        {"symbol": "A"},
        {"price": 1},
        {"symbol": "A", "price": "nan"},
        {"symbol": "A", "price": -1},
        {"symbol": "A", "price": 1, "volume": -1},
        {"symbol": "A", "price": 1, "t": 12},
        {"symbol": "A", "price": 1, "n": 1.5},
        {"symbol": "A", "price": 1, "d": 3},
        {"symbol": "C", "price": 1},
        {"symbol": "B", "price": 2, "volume": None, "t": None, "n": None, "d": None},
    ]
    outcome = Preview(vendor).take(json.dumps({"ticks": events}).encode())
    assert [(record.symbol, record.values) for record in outcome.records] == [("A", {"a": 1.0}), ("B", {"a": 2.0})]
    assert outcome.reasons == {
        Reason.PRICE_MISSING: 2, Reason.SYMBOL_MISSING: 1, Reason.PRICE_NOT_FINITE: 1, Reason.PRICE_NOT_POSITIVE: 1,
        Reason.SIZE_NEGATIVE: 1, Reason.TIME_OUT_OF_RANGE: 1, Reason.SEQUENCE_WRONG_TYPE: 1, Reason.SIDE_WRONG_TYPE: 1,
        Reason.SYMBOL_NOT_ASKED: 1,
    }  # fmt: skip


def test_an_event_that_is_made_costs_the_collector_nothing() -> None:
    for profile in ("symbol-text", "command-code"):
        symbols = ("X:A",) if profile == "command-code" else ("A",)
        (route, *_) = made(generic(profile), symbols=symbols).plan()
        assert isinstance(route, vendors.Route)
        assert issubclass(route.event, msgspec.Struct) and not route.event.__struct_config__.gc
        assert route.event.__struct_config__.frozen == Tick.__struct_config__.frozen


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='[]."\\'), min_size=1, max_size=8)
KEYS = st.lists(NAMES, min_size=9, max_size=9, unique=True)
PRICES = st.floats(0.0001, 1e9).map(lambda value: round(value, 4))


@given(
    keys=KEYS,
    events=st.lists(
        st.fixed_dictionaries(
            {"symbol": st.sampled_from(["A", "B"]), "price": PRICES},
            optional={
                "volume": st.integers(0, 10**9), "turnover": PRICES, "time": st.integers(10**9, 4 * 10**9),
                "sequence": st.integers(0, 2**62), "side": st.integers(0, 2),
            },
        ),
        max_size=20,
    ),
    quoted=st.booleans(),
    listed=st.booleans(),
    cumulative=st.booleans(),
)  # fmt: skip
def test_whatever_fields_are_called_what_is_sent_is_what_arrives(
    keys: list[str], events: list[dict[str, Any]], quoted: bool, listed: bool, cumulative: bool
) -> None:
    path, *names = keys
    roles = ("symbol", "price", "volume", "turnover", "time", "sequence", "side")
    names_of = dict(zip(roles, names, strict=False))
    push = names_of | {"events": f"{path}[]" if listed else "[]", "time_unit": "s"}
    vendor = made(described(push=push, volume_is="cumulative" if cumulative else "trade"))
    written: list[dict[str, Any]] = [
        {names_of[role]: str(value) if quoted else value for role, value in event.items()} | {names[-1]: {"x": [None]}}
        for event in events
    ]
    outcome = Preview(vendor).take(json.dumps({path: written} if listed else written).encode())
    assert outcome.reasons == {}
    # One shard, so all of them in their order.
    assert len(outcome.records) == len(events)
    for record, event in zip(outcome.records, events, strict=True):
        volume, turnover = ("c", "d") if cumulative else ("b", "c")
        values = {"a": event["price"], volume: event.get("volume"), turnover: event.get("turnover")}
        assert record.values == {name: value for name, value in values.items() if value is not None}
        assert (record.symbol, record.side) == (event["symbol"], Side(event.get("side", 0)))
        assert record.kind is (Kind.TICKER if cumulative else Kind.TRADE)
        assert (record.exchange_ns, record.sequence) == (event.get("time", 0) * 10**9, event.get("sequence", 0))

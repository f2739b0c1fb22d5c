"""Every guard of the frame listener: what fails one is counted under its reason, and nothing of it is stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from corelab.records import HAS_A, HAS_B, HAS_C, HAS_D, Record
from corelab.wire import C_EVENTS, LIST_INDEX, LOOSE_INDEX, QUOTE_INDEX, Loose, Receiver

from openbell.reasons import Reason
from openbell.record import Kind, Side

NAN, INF = math.nan, math.inf
YEAR_2000, YEAR_2100 = 946_684_800, 4_102_444_800
BEYOND = 10**400
GOOD: dict[str, Any] = {"symbol": "AAA", "price": 10.0, "size": 2.0}

PRICES: list[tuple[Any, Reason]] = [
    (None, Reason.PRICE_MISSING), ("10", Reason.PRICE_WRONG_TYPE), (True, Reason.PRICE_WRONG_TYPE),
    ([1], Reason.PRICE_WRONG_TYPE), ({}, Reason.PRICE_WRONG_TYPE), (NAN, Reason.PRICE_NOT_FINITE),
    (INF, Reason.PRICE_NOT_FINITE), (-INF, Reason.PRICE_NOT_FINITE), (BEYOND, Reason.PRICE_NOT_FINITE),
    (-BEYOND, Reason.PRICE_NOT_FINITE), (0, Reason.PRICE_NOT_POSITIVE), (0.0, Reason.PRICE_NOT_POSITIVE),
    (-0.0, Reason.PRICE_NOT_POSITIVE), (-1, Reason.PRICE_NOT_POSITIVE), (-1.0, Reason.PRICE_NOT_POSITIVE),
    (-5e-324, Reason.PRICE_NOT_POSITIVE), (-(2**70), Reason.PRICE_NOT_POSITIVE),
]  # fmt: skip
SIZES: list[tuple[Any, Reason]] = [
    ("1", Reason.SIZE_WRONG_TYPE), (False, Reason.SIZE_WRONG_TYPE), ([], Reason.SIZE_WRONG_TYPE),
    (NAN, Reason.SIZE_NOT_FINITE), (INF, Reason.SIZE_NOT_FINITE), (-INF, Reason.SIZE_NOT_FINITE),
    (BEYOND, Reason.SIZE_NOT_FINITE), (-1, Reason.SIZE_NEGATIVE), (-1.0, Reason.SIZE_NEGATIVE),
    (-5e-324, Reason.SIZE_NEGATIVE),
]  # fmt: skip
AMOUNTS = [(value, Reason[reason.name.replace("SIZE", "AMOUNT")]) for value, reason in SIZES]
SYMBOLS: list[tuple[Any, Reason]] = [
    (None, Reason.SYMBOL_MISSING), (5, Reason.SYMBOL_WRONG_TYPE), (True, Reason.SYMBOL_WRONG_TYPE),
    (["AAA"], Reason.SYMBOL_WRONG_TYPE), (b"AAA", Reason.SYMBOL_WRONG_TYPE), ("", Reason.SYMBOL_EMPTY),
    ("x" * 32, Reason.SYMBOL_TOO_LONG), ("x" * 1024, Reason.SYMBOL_TOO_LONG), ("贵" * 11, Reason.SYMBOL_TOO_LONG),
    ("AA\0", Reason.SYMBOL_NUL), ("\0", Reason.SYMBOL_NUL), ("AAA\0", Reason.SYMBOL_NUL), ("é\0", Reason.SYMBOL_NUL),
    ("aaa", Reason.SYMBOL_NOT_ASKED), ("AAA ", Reason.SYMBOL_NOT_ASKED), ("AA", Reason.SYMBOL_NOT_ASKED),
    ("x" * 31, Reason.SYMBOL_NOT_ASKED), ("AAA\x7f", Reason.SYMBOL_NOT_ASKED), ("ÄÄÄ", Reason.SYMBOL_NOT_ASCII),
    ("茅台", Reason.SYMBOL_NOT_ASCII), ("贵" * 10, Reason.SYMBOL_NOT_ASCII), ("\ud800", Reason.SYMBOL_NOT_ASCII),
]  # fmt: skip
SEQUENCES: list[tuple[Any, Reason]] = [
    ("5", Reason.SEQUENCE_WRONG_TYPE), (5.0, Reason.SEQUENCE_WRONG_TYPE), (True, Reason.SEQUENCE_WRONG_TYPE),
    (2**63, Reason.SEQUENCE_OUT_OF_RANGE), (-(2**63) - 1, Reason.SEQUENCE_OUT_OF_RANGE),
    (2**64, Reason.SEQUENCE_OUT_OF_RANGE), (BEYOND, Reason.SEQUENCE_OUT_OF_RANGE),
]  # fmt: skip
TIMES: list[tuple[Any, Reason]] = [
    ("5", Reason.TIME_WRONG_TYPE), (1.7e9, Reason.TIME_WRONG_TYPE), (False, Reason.TIME_WRONG_TYPE),
    (2**63, Reason.TIME_OUT_OF_RANGE), (-(2**80), Reason.TIME_OUT_OF_RANGE), (1, Reason.TIME_OUT_OF_RANGE),
    (-1, Reason.TIME_OUT_OF_RANGE), (2**63 - 1, Reason.TIME_OUT_OF_RANGE), (-(2**63), Reason.TIME_OUT_OF_RANGE),
    (YEAR_2000 - 1, Reason.TIME_OUT_OF_RANGE), (YEAR_2100, Reason.TIME_OUT_OF_RANGE),
    (YEAR_2000 * 1000 - 1, Reason.TIME_OUT_OF_RANGE), (YEAR_2100 * 1000, Reason.TIME_OUT_OF_RANGE),
    (YEAR_2000 * 10**6 - 1, Reason.TIME_OUT_OF_RANGE), (YEAR_2100 * 10**6, Reason.TIME_OUT_OF_RANGE),
    (YEAR_2000 * 10**9 - 1, Reason.TIME_OUT_OF_RANGE), (YEAR_2100 * 10**9, Reason.TIME_OUT_OF_RANGE),
]  # fmt: skip


def all_for(reason: Reason, *values: Any) -> list[tuple[Any, Reason]]:
    return [(value, reason) for value in values]


SIDES = all_for(Reason.SIDE_WRONG_TYPE, "BUY", 3, -1, 2**40, 2**64, BEYOND, 1.0, True)
MAKERS = all_for(Reason.SIDE_WRONG_TYPE, 0, 1, "true", 1.0, [])
TYPES = all_for(Reason.UNKNOWN_MESSAGE, None, "T", "tt", "", 1, "ť", True, ["t"])
KEEPS = all_for(Reason.IGNORED_NOT_MARKET, "no", "", "YES", "yes ", 1, True, "ýes")
GUARDS = [
    (name, value, reason)
    for name, cases in (
        ("symbol", SYMBOLS), ("price", PRICES), ("size", SIZES), ("amount", AMOUNTS), ("other", AMOUNTS),
        ("sequence", SEQUENCES), ("time", TIMES), ("code", SIDES), ("maker", MAKERS), ("type", TYPES),
        ("keep", KEEPS),
    )
    for value, reason in cases
]  # fmt: skip


def shown(value: object) -> str:
    return f"{type(value).__name__}-{value!r:.12}"


IDS = [f"{name}-{shown(value)}-{reason.name}" for name, value, reason in GUARDS]


@pytest.mark.parametrize(("name", "value", "reason"), GUARDS, ids=IDS)
def test_an_event_that_fails_a_guard_is_counted_and_goes_no_further(
    tmp_path: Path, name: str, value: object, reason: Reason
) -> None:
    receiver = Receiver(tmp_path)
    assert receiver.listener.publish_event(LOOSE_INDEX, Loose(**{**GOOD, name: value})) == reason
    assert receiver.counted() == {reason: 1}
    assert receiver.counter(C_EVENTS) == 1
    assert receiver.listener.records_published == 0
    receiver.listener.publish()
    assert receiver.records() == []
    assert receiver.table.count == 4


JSONABLE = [
    (name, value, reason)
    for name, value, reason in GUARDS
    if not isinstance(value, bytes)
    and not (isinstance(value, float) and not math.isfinite(value))
    and value != "\ud800"
    and not (isinstance(value, int) and abs(value) == BEYOND)
]


def test_the_same_guards_hold_for_events_of_a_list_and_cost_their_neighbours_nothing(tmp_path: Path) -> None:
    # 16 events are looked at together: bad ones at every place of such a block, good ones between them.
    receiver = Receiver(tmp_path)
    events: list[Loose] = []
    for name, value, _ in JSONABLE:
        events += [Loose(**{**GOOD, name: value}), Loose(**GOOD, sequence=len(events))]
    receiver.send(b'{"events":' + msgspec.json.encode(events) + b"}")
    expected: dict[Reason, int] = {}
    for _, _, reason in JSONABLE:
        expected[reason] = expected.get(reason, 0) + 1
    assert receiver.counted() == expected
    assert [record.sequence for record in receiver.records()] == [2 * index for index in range(len(JSONABLE))]
    assert receiver.counter(C_EVENTS) == 2 * len(JSONABLE)
    assert receiver.balanced()


@pytest.mark.parametrize(("name", "value", "reason"), JSONABLE[:: len(JSONABLE) // 40])
def test_the_same_guards_hold_for_a_frame_that_is_one_event(
    tmp_path: Path, name: str, value: object, reason: Reason
) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(msgspec.json.encode(Loose(**{**GOOD, name: value})), msgspec.json.encode(Loose(**GOOD)))
    assert receiver.counted() == {reason: 1}
    assert len(receiver.records()) == 1
    assert receiver.unclaimed == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("symbol", Reason.SYMBOL_MISSING), ("price", Reason.PRICE_MISSING), ("type", Reason.UNKNOWN_MESSAGE),
        ("size", -1), ("amount", -1), ("sequence", -1), ("time", -1), ("code", -1), ("maker", -1), ("keep", -1),
    ],
)  # fmt: skip
def test_a_member_that_is_not_set_is_absent(tmp_path: Path, name: str, reason: int) -> None:
    event = Loose(**GOOD)
    delattr(event, name)
    assert Receiver(tmp_path).listener.publish_event(LOOSE_INDEX, event) == reason


def test_the_symbol_is_judged_first_and_then_the_fields_in_the_order_of_the_plan(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    wrong: dict[str, Any] = {
        "symbol": "NOPE", "type": "x", "keep": "no", "price": -1, "size": -1, "amount": -1, "sequence": "x",
        "time": 1, "code": 9, "maker": 1,
    }  # fmt: skip
    right = {**GOOD, "type": "t", "keep": "yes", "amount": 1, "sequence": 1, "time": None, "code": 1, "maker": None}
    found = []
    for name in ("symbol", "type", "keep", "price", "size", "amount", "sequence", "time", "code", "maker"):
        found.append(receiver.listener.publish_event(LOOSE_INDEX, Loose(**wrong)))
        wrong[name] = right[name]
    assert found == [
        Reason.SYMBOL_NOT_ASKED, Reason.UNKNOWN_MESSAGE, Reason.IGNORED_NOT_MARKET, Reason.PRICE_NOT_POSITIVE,
        Reason.SIZE_NEGATIVE, Reason.AMOUNT_NEGATIVE, Reason.SEQUENCE_WRONG_TYPE, Reason.TIME_OUT_OF_RANGE,
        Reason.SIDE_WRONG_TYPE, Reason.SIDE_WRONG_TYPE,
    ]  # fmt: skip
    assert receiver.listener.publish_event(LOOSE_INDEX, Loose(**wrong)) == -1


# ---- what passes ----


def published(receiver: Receiver, route: int = LOOSE_INDEX, **values: Any) -> Record:
    """Publish one event and return its record."""
    assert receiver.listener.publish_event(route, Loose(**{**GOOD, **values})) == -1
    receiver.listener.publish()
    (record,) = receiver.records()
    return record


def test_every_value_lands_where_the_plan_says(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    record = published(
        receiver, symbol="BBB", price=1.5, size=2.5, amount=3.5, other=4.5, sequence=-7, time=1_700_000_000_123, code=2
    )
    assert record == Record(
        receiver.table.lookup(b"BBB"), Kind.TRADE, Side.SELL, HAS_A | HAS_B | HAS_C | HAS_D,
        1_700_000_000_123_000_000, record.receive_ns, -7, 1.5, 2.5, 3.5, 4.5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("absent", "flags"),
    [
        (("size",), HAS_A | HAS_C | HAS_D), (("amount",), HAS_A | HAS_B | HAS_D), (("other",), HAS_A | HAS_B | HAS_C),
        (("size", "amount", "other"), HAS_A),
    ],
)  # fmt: skip
def test_what_is_absent_has_no_flag(tmp_path: Path, absent: tuple[str, ...], flags: int) -> None:
    values: dict[str, Any] = {"size": 1.0, "amount": 1.0, "other": 1.0, **dict.fromkeys(absent)}
    assert published(Receiver(tmp_path), **values).flags == flags


def test_a_quote_may_lack_any_of_its_values(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    record = published(receiver, QUOTE_INDEX, price=None, size=None, other=5)
    assert (record.kind, record.flags, record.d) == (Kind.QUOTE, HAS_D, 5.0)
    assert receiver.listener.publish_event(QUOTE_INDEX, Loose("AAA", price=-1)) == Reason.PRICE_NOT_POSITIVE


@pytest.mark.parametrize("value", [5e-324, 1e-8, 1.7976931348623157e308, 1, 2**53 + 1, 2**63, 2**64, 10**300])
def test_a_price_may_be_any_finite_number_above_zero(tmp_path: Path, value: float) -> None:
    assert published(Receiver(tmp_path), price=value).a == float(value)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 5e-324, 1e308, 10**300])
def test_a_size_or_a_turnover_may_be_zero(tmp_path: Path, value: float) -> None:
    record = published(Receiver(tmp_path), size=value, amount=value)
    assert (record.b, record.c, record.flags) == (float(value), float(value), HAS_A | HAS_B | HAS_C)


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_a_sequence_may_be_any_64_bit_number(tmp_path: Path, value: int) -> None:
    assert published(Receiver(tmp_path), sequence=value).sequence == value


@pytest.mark.parametrize("second", [YEAR_2000, 1_700_000_000, YEAR_2100 - 1])
@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_time_goes_by_its_magnitude(tmp_path: Path, second: int, scale: int) -> None:
    last = (second + 1) * scale - 1
    receiver = Receiver(tmp_path)
    assert published(receiver, time=second * scale).exchange_ns == second * 10**9
    assert published(receiver, time=last).exchange_ns == last * (10**9 // scale)


@pytest.mark.parametrize("value", [0, None])
def test_a_time_of_zero_is_none(tmp_path: Path, value: int | None) -> None:
    assert published(Receiver(tmp_path), time=value).exchange_ns == 0


@pytest.mark.parametrize(
    ("values", "side"),
    [
        ({"code": 0}, Side.UNKNOWN), ({"code": 1}, Side.BUY), ({"code": 2}, Side.SELL), ({"code": None}, Side.UNKNOWN),
        ({"maker": True}, Side.SELL), ({"maker": False}, Side.BUY), ({"maker": None}, Side.UNKNOWN),
    ],
)  # fmt: skip
def test_a_side_is_the_aggressors(tmp_path: Path, values: dict[str, Any], side: Side) -> None:
    assert published(Receiver(tmp_path), **values).side == side


@pytest.mark.parametrize("keep", [None, "yes"])
def test_an_event_is_kept_if_its_mark_is_absent_or_right(tmp_path: Path, keep: str | None) -> None:
    assert published(Receiver(tmp_path), keep=keep).a == 10.0


def test_an_asked_for_symbol_may_be_any_utf_8(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    assert published(receiver, symbol="贵州").row == receiver.table.lookup("贵州".encode())


@pytest.mark.parametrize("length", range(1, 32))
def test_symbols_of_every_length_are_told_apart(tmp_path: Path, length: int) -> None:
    known = [b"abcdefghijklmnopqrstuvwxyz01234"[:length], b"Abcdefghijklmnopqrstuvwxyz0123!"[-length:]]
    receiver = Receiver(tmp_path, known=known)
    for key in known:
        assert published(receiver, symbol=key.decode()).row == receiver.table.lookup(key)


# ---- the last good value ----


def test_a_bad_event_leaves_the_last_good_value(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    good = published(receiver, price=10.0)
    for name, value, _ in GUARDS:
        receiver.listener.publish_event(LIST_INDEX, Loose(**{**GOOD, name: value}))
    receiver.listener.publish()
    assert receiver.records() == []
    assert published(receiver, price=11.0)._replace(receive_ns=0) == good._replace(a=11.0, receive_ns=0)


# ---- for the slow path ----


def test_an_event_of_another_type_is_no_event_of_the_route(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)

    class Looser(Loose):
        pass

    strangers: list[Any] = [Looser("AAA", 1.0), None, {}, "AAA", Loose]
    for stranger in strangers:
        with pytest.raises(TypeError, match="takes another type than"):
            receiver.listener.publish_event(LOOSE_INDEX, stranger)
    assert receiver.counter(C_EVENTS) == 0


@pytest.mark.parametrize("index", [-1, 5, 6, 1000])
def test_an_entry_that_is_no_route_publishes_nothing(tmp_path: Path, index: int) -> None:
    with pytest.raises(ValueError, match=f"entry {index} of the plan is no route"):
        Receiver(tmp_path).listener.publish_event(index, Loose("AAA", 1.0))


def test_the_slow_path_counts_what_it_could_not_use(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.listener.count(Reason.NOT_JSON)
    receiver.listener.count(Reason.WRONG_SHAPE, 3)
    receiver.listener.count(Reason.WRONG_SHAPE, 0)
    assert receiver.counted() == {Reason.NOT_JSON: 1, Reason.WRONG_SHAPE: 3}
    assert receiver.balanced()


@pytest.mark.parametrize(("reason", "n"), [(-1, 1), (64, 1), (1000, 1), (0, -1)])
def test_a_reason_that_has_no_counter_is_refused(tmp_path: Path, reason: int, n: int) -> None:
    receiver = Receiver(tmp_path)
    before = bytes(receiver.counters)
    with pytest.raises(ValueError, match="no such reason"):
        receiver.listener.count(reason, n)
    assert bytes(receiver.counters) == before


@pytest.mark.parametrize("publish", [Receiver.send, lambda receiver, _: receiver.listener.publish()])
def test_nothing_given_is_nothing_counted(tmp_path: Path, publish: Callable[[Receiver, bytes], None]) -> None:
    receiver = Receiver(tmp_path)
    publish(receiver, b'{"events":[]}')
    assert receiver.counter(C_EVENTS) == 0
    assert receiver.counted() == {}

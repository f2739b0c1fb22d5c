"""A vendor's declaration, compiled: what is impossible is refused when it is made, not met with when a frame comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from corelab.wire import DEPTH, FIELDS, LIST, LOOSE, ONE, PLAN, QUOTES, Loose, Receiver, Strict

from openbell.core.plan import Plan
from openbell.record import Kind
from openbell.vendors.plan import MARKER_WINDOW, Field, Ignore, Op, Route

SYMBOL = Field("symbol", Op.SYMBOL)
PRICE = Field("price", Op.PRICE, target="a")


def loose(*fields: Field, kind: Kind = Kind.TRADE) -> Route:
    return Route("mine", kind, Loose, Loose, "", False, fields)


def test_a_plan_remembers_what_it_was_made_of() -> None:
    plan = Plan(PLAN)
    assert plan.declaration == PLAN
    assert plan.count == len(PLAN)


@pytest.mark.parametrize(
    ("route", "complaint"),
    [
        (loose(PRICE), "no SYMBOL field"),
        (loose(SYMBOL, SYMBOL, PRICE), "two SYMBOL fields"),
        (loose(SYMBOL, Field("cost", Op.PRICE, target="a")), "Loose has no field 'cost'"),
        (loose(SYMBOL, Field("__doc__", Op.PRICE, target="a")), "Loose has no field '__doc__'"),
        (loose(SYMBOL, Field("__struct_fields__", Op.PRICE, target="a")), "has no field '__struct_fields__'"),
        (loose(SYMBOL, Field("price", Op.PRICE)), "target of a, b, c or d, not ''"),
        (loose(SYMBOL, Field("price", Op.PRICE, target="e")), "target of a, b, c or d, not 'e'"),
        (loose(SYMBOL, PRICE, Field("time", Op.TIME, unit="min")), "no such time unit: 'min'"),
        (loose(SYMBOL, PRICE, Field("type", Op.EXPECT)), "expect must be an int or a str, not None"),
        (loose(SYMBOL, PRICE, Field("type", Op.KEEP_IF, expect=1.5)), "expect must be an int or a str"),  # type: ignore[arg-type]
        (loose(SYMBOL, *[PRICE] * 17), "more than 16 fields"),
        (loose(SYMBOL), "a trade needs a PRICE with target a"),
        (loose(SYMBOL, Field("price", Op.PRICE, target="b")), "a trade needs a PRICE with target a"),
        (loose(SYMBOL, Field("price", Op.SIZE, target="a")), "a trade needs a PRICE with target a"),
        (replace(LIST, path="things"), "LooseList has no field 'things'"),
        (replace(LIST, event=Strict, fields=(Field("s", Op.SYMBOL), Field("p", Op.PRICE, target="a"))), "list.Strict."),
        (replace(LIST, path=""), "without a path, the frame itself is the event"),
        (replace(LIST, path="", frame=Loose), "without a path, the frame itself is the event"),
        (replace(ONE, frame_expect=("label", 1)), "One has no field 'label'"),
        (replace(ONE, frame_expect=("tag", None)), "expect must be an int or a str"),  # type: ignore[arg-type]
        (replace(LOOSE, marker=b"x" * (MARKER_WINDOW + 1)), "at most 96 bytes, not 97"),
    ],
)
def test_an_impossible_route_is_refused_by_name(route: Route, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        Plan((route,))
    assert "marker" in complaint or "bytes" in complaint or repr(route.name) in str(error.value)


class Wide(msgspec.Struct):
    a: list[Loose | None]
    b: list[Any]
    c: list[Strict]
    d: Any
    e: dict[str, Loose]
    f: tuple[Loose, ...]
    g: list[Loose] | list[Loose] | None
    h: Sequence[Loose]
    i: Annotated[list[Annotated[Loose, msgspec.Meta(title="event")]], msgspec.Meta(title="events")]
    j: list[list[Loose]]


@pytest.mark.parametrize("path", list("abcdefj"))
def test_a_list_that_may_hold_anything_but_the_event_is_refused(path: str) -> None:
    # A member would be read at the event's offset of something that has no such member.
    with pytest.raises(ValueError, match=rf"{path} must be declared as list\[Loose\], and nothing wider"):
        Plan((replace(LIST, frame=Wide, path=path),))


@pytest.mark.parametrize("path", list("ghi"))
def test_a_list_that_holds_nothing_but_the_event_is_taken_however_it_is_written(path: str) -> None:
    assert Plan((replace(LIST, frame=Wide, path=path),)).count == 1


@pytest.mark.parametrize("count", [0, 17])
def test_a_plan_has_one_to_sixteen_entries(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 16 entries, not {count}"):
        Plan((LOOSE,) * count)
    assert Plan((LOOSE,) * 16).count == 16


def test_only_routes_and_ignores_make_a_plan() -> None:
    class Impostor:
        marker = b"x"

    with pytest.raises(ValueError, match="holds Route and Ignore, not Impostor"):
        Plan((Impostor(),))  # type: ignore[arg-type]


def test_a_prefix_leaves_room_for_a_symbol() -> None:
    assert Plan(PLAN, b"x" * 30).count == len(PLAN)
    with pytest.raises(ValueError, match="prefix of 31 bytes leaves no room"):
        Plan(PLAN, b"x" * 31)


# ---- markers ----

TRADE_FRAME = b'{"symbol":"AAA","price":1}'
QUOTE_FRAME = b'{"quote":1,"symbol":"AAA","price":2}'


def test_the_first_entry_whose_marker_is_near_the_beginning_has_the_frame(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(TRADE_FRAME, QUOTE_FRAME, TRADE_FRAME, b" " * 40 + QUOTE_FRAME, b" \n" + TRADE_FRAME)
    kinds = [record.kind for record in receiver.records()]
    assert kinds == [Kind.TRADE, Kind.QUOTE, Kind.TRADE, Kind.QUOTE, Kind.TRADE]
    assert receiver.unclaimed == []


def test_a_marker_that_ends_within_the_window_counts_and_one_that_passes_it_does_not(tmp_path: Path) -> None:
    room = MARKER_WINDOW - len(LOOSE.marker)
    inside, outside = b" " * room + TRADE_FRAME, b" " * (room + 1) + TRADE_FRAME
    receiver = Receiver(tmp_path)
    receiver.send(outside, inside, outside)
    assert len(receiver.records()) == 1
    assert receiver.unclaimed == [(outside, 0), (outside, 0)]


def test_a_frame_shorter_than_its_marker_is_nobodys(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(TRADE_FRAME, b"", b"{", LOOSE.marker[:-1])
    assert receiver.unclaimed == [(b"", 0), (b"{", 0), (LOOSE.marker[:-1], 0)]


def test_an_empty_marker_takes_what_no_entry_before_it_took(tmp_path: Path) -> None:
    anything = replace(QUOTES, name="anything", marker=b"")
    receiver = Receiver(tmp_path, (LOOSE, anything))
    # At every place of the first marker, also where it was not seen before.
    receiver.send(*(b" " * spaces + TRADE_FRAME for spaces in (3, 3, 0, 7, 0)))
    receiver.send(b'{"price":5,"symbol":"BBB"}')
    kinds = [record.kind for ring in receiver.taken() for record in ring]
    assert sorted(kinds) == [Kind.TRADE] * 5 + [Kind.QUOTE]
    assert receiver.counted() == {}


def test_what_is_declared_behind_an_empty_marker_is_never_reached(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, (replace(QUOTES, marker=b""), LOOSE))
    receiver.send(TRADE_FRAME, TRADE_FRAME)
    assert [record.kind for record in receiver.records()] == [Kind.QUOTE, Kind.QUOTE]


def test_an_ignored_frame_is_counted_without_being_decoded(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(b'{"depth" this is no JSON at all \xff', b'{"depth":[[1,2]]}')
    assert receiver.counted() == {DEPTH.reason: 2}
    assert receiver.balanced()
    assert receiver.unclaimed == []
    assert receiver.records() == []


def test_an_ignore_may_be_all_of_a_plan(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, (Ignore(b"", DEPTH.reason),))
    receiver.send(b"", b"x", TRADE_FRAME)
    assert receiver.counted() == {DEPTH.reason: 3}


def test_a_struct_that_reorders_its_members_is_read_by_name(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, (replace(LOOSE, fields=tuple(reversed(FIELDS))),))
    receiver.send(b'{"symbol":"BBB","price":3,"size":4}')
    (record,) = receiver.records()
    assert (receiver.table.key(record.row), record.a, record.b) == (b"BBB", 3.0, 4.0)

"""Where a vendor numbers its events without a break, a number left out is told: of which row, which, and how many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corelab.memory import memory
from corelab.records import GAP, TRADE, Record
from corelab.wire import LIST, LOOSE, LOOSE_INDEX, QUOTES, Loose, Receiver
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import words
from openbell.core.holes import Holes
from openbell.core.overlap import Overlap
from openbell.core.plan import Plan
from openbell.reasons import Reason
from openbell.record import GapReason, Kind

NUMBERED = (replace(LOOSE, consecutive=True), replace(LIST, consecutive=True), QUOTES)
ONE = (replace(LOOSE, consecutive=True),)
ROWS = 128
Hole = tuple[int, int, int, int]


class Numbered:
    """A listener of a vendor that numbers its events, and what follows the numbers."""

    def __init__(self, directory: Path, plan: Sequence[Any] = NUMBERED, **options: Any) -> None:
        self.words = memory(64)
        self.holes = Holes(ROWS, 2, self.words)
        self.receiver = Receiver(directory, plan, shards=1, holes=self.holes, **options)
        self.plan = plan

    def beside(self) -> Receiver:
        """Return the next life of the connection, or one that is to replace it."""
        return Receiver(Path(), self.plan, beside=self.receiver, holes=self.holes)

    @property
    def counted(self) -> tuple[int, int]:
        """How often numbers were left out, and how many never came."""
        return words.load(self.words, 0), words.load(self.words, 8)


def tick(number: int | None, symbol: str = "AAA", **other: Any) -> bytes:
    event = {"symbol": symbol, "price": 10, "sequence": number} | other
    return json.dumps(event, separators=(",", ":")).encode()


def ticks(*events: tuple[str, int]) -> bytes:
    made = [{"symbol": symbol, "price": 10, "sequence": number} for symbol, number in events]
    return json.dumps({"events": made}, separators=(",", ":")).encode()


def quote(number: int) -> bytes:
    return json.dumps({"quote": 1, "symbol": "AAA", "price": 10, "sequence": number}, separators=(",", ":")).encode()


def hole(record: Record) -> Hole:
    """Return count, first, last and whether it was told before, of a GAP that is a hole."""
    reason, count, first, last = (record.value(index) for index in range(4))
    assert (record.kind, reason) == (GAP, GapReason.VENUE_HOLE)
    assert record.receive_ns > 0
    assert count is not None and first is not None and last is not None
    return int(count), int(first), int(last), record.side


def told(records: Sequence[Record]) -> list[int | Hole]:
    """Return what consumers are given, in order: the numbers of trades, and holes."""
    return [hole(record) if record.kind == GAP else record.sequence for record in records]


def test_a_number_left_out_is_told_in_place_with_which_and_how_many(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(7), tick(8), tick(12), tick(13))
    records = numbered.receiver.records()
    assert told(records) == [7, 8, (3, 9, 11, 0), 12, 13]
    assert {record.row for record in records} == {records[0].row}
    assert numbered.counted == (1, 3)
    # A gap is no event.
    assert numbered.receiver.balanced() and numbered.receiver.listener.records_published == 4


def test_the_events_of_one_message_are_followed_each_by_its_symbol(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(ticks(("AAA", 1), ("BBB", 100), ("AAA", 3), ("BBB", 101), ("AAA", 4), ("BBB", 110)))
    assert told(numbered.receiver.records()) == [1, 100, (1, 2, 2, 0), 3, 101, 4, (8, 102, 109, 0), 110]
    assert numbered.counted == (2, 9)


def test_streams_are_followed_apart_and_what_is_not_declared_is_not_followed(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1), ticks(("AAA", 50)), quote(1), quote(9), tick(2), ticks(("AAA", 51)))
    assert told(numbered.receiver.records()) == [1, 50, 1, 9, 2, 51]
    assert numbered.counted == (0, 0)


def test_what_comes_again_or_late_is_published_as_ever_and_no_hole(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(5), tick(5), tick(7), tick(6), tick(7), tick(8))
    assert told(numbered.receiver.records()) == [5, 5, (1, 6, 6, 0), 7, 6, 7, 8]


@pytest.mark.parametrize("number", [0, -5, None])
def test_an_event_without_a_number_says_nothing(tmp_path: Path, number: int | None) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(5), tick(number), tick(6))
    assert told(numbered.receiver.records()) == [5, number or 0, 6]


def test_the_greatest_numbers_there_are_do_not_overflow(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1), tick(2**63 - 1), tick(-(2**63)), tick(2**63 - 1))
    assert told(numbered.receiver.records()) == [1, (2**63 - 3, 2, 2**63 - 2, 0), 2**63 - 1, -(2**63), 2**63 - 1]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"price": -1}, Reason.PRICE_NOT_POSITIVE),
        ({"keep": "no"}, Reason.IGNORED_NOT_MARKET),
        ({"type": "x"}, Reason.UNKNOWN_MESSAGE),
    ],
)
def test_what_came_and_is_not_published_is_not_missing(tmp_path: Path, other: dict[str, Any], reason: Reason) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(5), tick(6, **other), tick(7), tick(9, **other), tick(10))
    # What the one that is refused shows to be missing is told all the same.
    assert told(numbered.receiver.records()) == [5, 7, (1, 8, 8, 0), 10]
    assert numbered.receiver.counted() == {reason: 2}


def test_an_event_whose_number_cannot_be_read_is_one_that_is_missing(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(5), tick("6", price="x"), b'{"symbol":"AAA","sequence":7', tick(8))  # type: ignore[arg-type]
    assert told(numbered.receiver.records()) == [5, (2, 6, 7, 0), 8]


def test_symbols_that_nobody_asked_for_and_keys_that_are_none_are_not_followed(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1, "ZZZ"), tick(9, "ZZZ"), tick(1, ""), tick(9, ""))
    numbered.receiver.table.mute(b"AAA")
    numbered.receiver.send(tick(1), tick(9))
    numbered.receiver.table.unmute(b"AAA")
    numbered.receiver.send(tick(20))
    assert told(numbered.receiver.records()) == [20]
    assert numbered.counted == (0, 0)


def test_a_symbol_that_was_unsubscribed_for_a_while_missed_nothing(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1), ticks(("AAA", 1)), tick(1, "BBB"))
    numbered.holes.forget(numbered.receiver.table.lookup(b"AAA"))
    numbered.holes.forget(ROWS)
    numbered.receiver.send(tick(9), ticks(("AAA", 9)), tick(3, "BBB"))
    assert told(numbered.receiver.records()) == [1, 1, 1, 9, 9, (1, 2, 2, 0), 3]


def test_after_an_interruption_the_first_number_says_how_much_it_cost_and_counts_it_once(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    old = numbered.receiver
    old.send(tick(1), tick(1, "BBB"), tick(1, "CCC"))
    old.listener.interrupted()
    assert told(old.records()) == [1, 1, 1]
    new = numbered.beside()
    # AAA lost 2 to 5 with the connection, and 7 afterwards; BBB nothing.
    new.send(tick(6), tick(2, "BBB"), tick(8), tick(4, "BBB"))
    assert told(new.records()) == [(4, 2, 5, 1), 6, 2, (1, 7, 7, 0), 8, (1, 3, 3, 0), 4]
    assert numbered.counted == (2, 6)
    # However many there were: CCC has not been heard of since before the first of them.
    new.listener.interrupted()
    new.send(tick(3, "CCC"))
    assert told(new.records()) == [(1, 2, 2, 1), 3]
    assert numbered.counted == (2, 7)


def test_numbers_may_begin_anew_with_a_connection(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1000))
    numbered.receiver.listener.interrupted()
    numbered.receiver.send(tick(1), tick(2), tick(4))
    assert told(numbered.receiver.records()) == [1000, 1, 2, (1, 3, 3, 0), 4]


def test_a_connection_that_takes_over_goes_on_with_the_numbers_of_the_one_before(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    old, new, overlap = numbered.receiver, numbered.beside(), Overlap(ROWS)
    old.send(tick(1))
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick(2))
    new.send(tick(2), tick(3), tick(4), tick(6))
    old.send(tick(3), tick(4))
    assert told(old.records()) == [1, 2, 3, 4]
    new.listener.release(overlap)
    assert told(new.records()) == [(1, 5, 5, 0), 6]
    # Its own loss shows, too: what neither brought.
    new.send(tick(6), tick(9))
    assert told(new.records()) == [6, (2, 7, 8, 0), 9]
    assert numbered.counted == (2, 3)


def test_a_connection_that_takes_over_too_late_says_what_was_lost_in_between(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    old, new, overlap = numbered.receiver, numbered.beside(), Overlap(ROWS)
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick(1), tick(2))
    new.send(tick(2), tick(5), tick(6))
    old.listener.interrupted()
    assert told(old.records()) == [1, 2]
    new.listener.release(overlap)
    assert told(new.records()) == [(2, 3, 4, 1), 5, 6]


def test_what_the_slow_path_publishes_is_followed_like_the_rest(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.receiver.send(tick(1))
    numbered.receiver.listener.publish_event(LOOSE_INDEX, Loose(symbol="AAA", price=10.0, sequence=3))
    numbered.receiver.listener.publish()
    assert told(numbered.receiver.records()) == [1, (1, 2, 2, 0), 3]


@pytest.mark.parametrize("make", [lambda at: tick(at), lambda at: ticks(("AAA", at))], ids=["alone", "in a list"])
@pytest.mark.parametrize("policy", ["block", "conflate", "drop"])
def test_what_was_dropped_or_merged_for_want_of_room_is_no_hole(tmp_path: Path, policy: str, make: Any) -> None:
    numbered = Numbered(tmp_path, capacity=16, overflow=policy, side_queue_records=8)
    numbered.receiver.send(*(make(number) for number in range(1, 101)))
    # One number left out while there is no room is told behind what waits, or behind what was dropped.
    numbered.receiver.send(*(make(number) for number in range(102, 111)))
    found: list[Record] = []
    while taken := numbered.receiver.records():
        found += taken
        numbered.receiver.listener.drain()
    numbered.receiver.send(make(111))
    found += numbered.receiver.records()
    holes = [hole(record) for record in found if record.kind == GAP and record.value(0) == GapReason.VENUE_HOLE]
    assert holes == [(1, 101, 101, 0)]
    assert numbered.counted == (1, 1)
    assert found[-1].sequence == 111


def test_a_hole_at_the_edge_of_a_full_ring_is_told_before_its_event(tmp_path: Path) -> None:
    for room in range(6):
        numbered = Numbered(tmp_path, capacity=16, overflow="drop")
        numbered.receiver.send(*(tick(number) for number in range(1, 17 - room)))
        numbered.receiver.send(ticks(("AAA", 1), ("AAA", 3)), tick(18 - room))
        found: list[Record] = []
        while taken := numbered.receiver.records():
            found += taken
            numbered.receiver.listener.drain()
        numbers = [record.sequence for record in found if record.kind == TRADE]
        holes = [hole(record) for record in found if record.kind == GAP and record.value(0) == GapReason.VENUE_HOLE]
        assert holes == [(1, 2, 2, 0), (1, 17 - room, 17 - room, 0)], room
        assert numbers[: 16 - room] == list(range(1, 17 - room)), room


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["AAA", "BBB"]), st.integers(1, 30), st.booleans(), st.booleans()), max_size=40)
)
def test_for_any_numbers_what_is_told_is_what_never_came(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, bool, bool]]
) -> None:
    numbered = Numbered(tmp_path_factory.mktemp("holes"), ONE)
    last: dict[str, int] = {}
    late: set[str] = set()
    expected: list[int | Hole] = []
    for symbol, number, interrupted, sound in events:
        if interrupted:
            numbered.receiver.listener.interrupted()
            late = set(last)
        numbered.receiver.send(tick(number, symbol, price=10 if sound else -1))
        if symbol in last and number > last[symbol] + 1:
            expected.append((number - last[symbol] - 1, last[symbol] + 1, number - 1, int(symbol in late)))
        if symbol not in last or number > last[symbol] or symbol in late:
            last[symbol] = number
            late.discard(symbol)
        if sound:
            expected.append(number)
    assert told(numbered.receiver.records()) == expected
    holes = [each for each in expected if isinstance(each, tuple)]
    assert numbered.counted == (sum(not each[3] for each in holes), sum(each[0] for each in holes))


def test_a_plan_says_which_of_its_streams_are_numbered() -> None:
    assert Plan(NUMBERED).streams == 2
    without = tuple(field for field in LOOSE.fields if field.source != "sequence")
    with pytest.raises(ValueError, match="needs a SEQUENCE field"):
        Plan((replace(LOOSE, consecutive=True, fields=without),))


def test_what_does_not_fit_the_plan_or_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holes in 0 streams"):
        Holes(8, 0, memory(16))
    with pytest.raises(ValueError, match="8 bytes"):
        Holes(8, 1, memory(8))
    with pytest.raises(ValueError, match="holes of 1 streams"):
        Receiver(tmp_path, NUMBERED, holes=Holes(ROWS, 1, memory(16)))
    with pytest.raises(ValueError, match="and 1 rows"):
        Receiver(tmp_path, NUMBERED, holes=Holes(1, 2, memory(16)))


def test_a_vendor_that_numbers_nothing_so_is_not_followed(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path, (LOOSE, QUOTES))
    numbered.receiver.send(tick(1), tick(9), quote(4))
    assert [record.kind for record in numbered.receiver.records()] == [Kind.TRADE, Kind.TRADE, Kind.QUOTE]
    numbered.receiver.listener.interrupted()
    assert numbered.counted == (0, 0)

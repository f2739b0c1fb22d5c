"""Two connections for the same events, one about to replace the other: every event once, in order, none missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corelab.wire import LIST, LOOSE, LOOSE_INDEX, PLAN, Loose, Receiver
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core.overlap import Overlap
from openbell.reasons import Reason

ROWS = 128


def tick(symbol: str, sequence: int) -> bytes:
    return json.dumps({"symbol": symbol, "price": 10, "sequence": sequence}, separators=(",", ":")).encode()


def quote(symbol: str, sequence: int) -> bytes:
    return json.dumps({"quote": 1, "symbol": symbol, "price": 10, "sequence": sequence}, separators=(",", ":")).encode()


def ticks(*events: tuple[str, int]) -> bytes:
    made = [{"symbol": symbol, "price": 10, "sequence": sequence} for symbol, sequence in events]
    return json.dumps({"events": made}, separators=(",", ":")).encode()


def pair(directory: Path, **options: object) -> tuple[Receiver, Receiver, Overlap]:
    """Return a connection, the one that is to replace it, and what the first one notes."""
    old = Receiver(directory, **options)  # type: ignore[arg-type]
    new = Receiver(directory, beside=old)
    return old, new, Overlap(ROWS)


def sequences(receiver: Receiver) -> list[int]:
    return [record.sequence for record in receiver.records()]


def test_what_is_parked_is_published_behind_the_old_connections_end_and_nothing_twice(tmp_path: Path) -> None:
    old, new, overlap = pair(tmp_path, shards=1)
    old.send(tick("AAA", 1))
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick("AAA", 2))
    # The new one hears everything from 2 on; the old one goes on for a while.
    new.send(tick("AAA", 2), tick("AAA", 3), tick("BBB", 7), tick("AAA", 4))
    assert new.listener.parked_bytes > 0
    old.send(tick("AAA", 3))
    assert sequences(old) == [1, 2, 3]
    assert new.listener.release(overlap) == 4
    assert sequences(new) == [7, 4]
    assert new.counted() == {Reason.IGNORED_TWICE: 2}
    assert new.listener.parked_bytes == 0
    # What was on its way to both comes now. A number that comes again is the vendor's affair.
    new.send(tick("AAA", 3), tick("AAA", 5), tick("AAA", 5))
    assert sequences(new) == [5, 5]
    assert new.counted() == {Reason.IGNORED_TWICE: 3}
    new.listener.release(None)
    new.send(tick("AAA", 3))
    assert sequences(new) == [3]
    assert new.balanced()
    assert new.listener.records_published == 5


def test_trades_and_quotes_are_numbered_apart(tmp_path: Path) -> None:
    old, new, overlap = pair(tmp_path, shards=1)
    old.listener.note(overlap)
    new.listener.park()
    old.send(quote("AAA", 1000), tick("AAA", 1))
    new.send(tick("AAA", 1), tick("AAA", 2), quote("AAA", 1000), quote("AAA", 1001))
    assert sequences(old) == [1000, 1]
    new.listener.release(overlap)
    assert sequences(new) == [2, 1001]


def test_an_event_without_a_number_cannot_be_known_again_and_is_published(tmp_path: Path) -> None:
    old, new, overlap = pair(tmp_path, shards=1)
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick("AAA", 0))
    new.send(tick("AAA", 0))
    new.listener.release(overlap)
    assert sequences(new) == [0, 0]


def test_what_the_old_connection_could_not_use_is_not_taken_for_seen(tmp_path: Path) -> None:
    old, new, overlap = pair(tmp_path, shards=1)
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick("AAA", 5).replace(b":10", b":-1"))
    new.send(tick("AAA", 5))
    new.listener.release(overlap)
    assert sequences(new) == [5]
    assert new.counted() == {Reason.PRICE_NOT_POSITIVE: 1}


def test_messages_about_the_connection_are_read_while_market_data_is_parked(tmp_path: Path) -> None:
    _, new, overlap = pair(tmp_path)
    new.listener.park()
    new.send(b'{"answer":1}', tick("AAA", 1), b'{"depth":[]}')
    assert [payload for payload, _ in new.unclaimed] == [b'{"answer":1}']
    assert new.counted() == {Reason.IGNORED_DEPTH: 1}
    assert new.listener.parked_bytes == len(tick("AAA", 1))
    assert sequences(new) == []
    new.listener.release(overlap)
    assert sequences(new) == [1]


def test_events_of_the_slow_path_are_parked_and_known_again_too(tmp_path: Path) -> None:
    old, new, overlap = pair(tmp_path, shards=1)
    old.listener.note(overlap)
    new.listener.park()
    old.send(tick("AAA", 1))
    for sequence in (1, 2):
        new.listener.publish_event(LOOSE_INDEX, Loose("AAA", 10.0, sequence=sequence))
    assert sequences(old) == [1]
    assert new.listener.release(overlap) == 2
    assert sequences(new) == [2]
    assert new.counted() == {Reason.IGNORED_TWICE: 1}


def test_a_listener_keeps_the_time_of_the_read_that_brought_what_it_parked(tmp_path: Path) -> None:
    _, new, overlap = pair(tmp_path, shards=1)
    new.listener.park()
    new.send(tick("AAA", 1))
    between = new.listener.last_read_ns
    new.send(tick("AAA", 2))
    new.listener.release(overlap)
    first, second = new.records()
    assert first.receive_ns == between < second.receive_ns


def test_without_an_overlap_everything_parked_is_published(tmp_path: Path) -> None:
    _, new, _ = pair(tmp_path, shards=1)
    new.listener.park()
    new.send(tick("AAA", 1), tick("AAA", 1))
    assert new.listener.release(None) == 2
    assert sequences(new) == [1, 1]


def test_an_overlap_needs_rows() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        Overlap(0)
    assert Overlap(64).rows == 64


STREAM = st.lists(st.sampled_from(["AAA", "BBB", "CCC"]), min_size=1, max_size=40)


@settings(max_examples=60)
@given(STREAM, st.data())
def test_whenever_the_new_one_joins_and_the_old_one_ends_each_event_is_published_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, stream: list[str], data: st.DataObject
) -> None:
    events = [(symbol, number) for number, symbol in enumerate(stream, 1)]
    noted = data.draw(st.integers(0, len(events)), label="noted")
    joins = data.draw(st.integers(noted, len(events)), label="joins")
    ends = data.draw(st.integers(joins, len(events)), label="ends")
    group = data.draw(st.integers(1, 5), label="events a message")
    old, new, overlap = pair(tmp_path_factory.mktemp("pair"), shards=1, plan=PLAN)
    assert LIST in PLAN and LOOSE in PLAN
    old.send(*(tick(*event) for event in events[:noted]))
    old.listener.note(overlap)
    new.listener.park()
    # Both sockets carry the same events; which of the two is read first at any moment is chance.
    first = [tick(*event) for event in events[noted:ends]]
    later = [ticks(*events[at : at + group]) for at in range(joins, len(events), group)]
    while first or later:
        if first and (not later or data.draw(st.booleans())):
            old.send(first.pop(0))
        else:
            new.send(later.pop(0))
    new.listener.release(overlap)
    assert sequences(new) == [number for _, number in events]
    assert new.balanced()


def test_a_connection_that_is_replaced_soon_after_it_took_over_still_knows_what_the_one_before_had(
    tmp_path: Path,
) -> None:
    first, second, overlap = pair(tmp_path, shards=1)
    third, later = Receiver(tmp_path, beside=first), Overlap(ROWS)
    first.listener.note(overlap)
    second.listener.park()
    first.send(tick("AAA", 1), tick("AAA", 2), tick("AAA", 3))
    second.send(tick("AAA", 1))
    second.listener.release(overlap)
    # The rest is on its way to the second one when that is about to be replaced itself.
    second.listener.note(later)
    third.listener.park()
    third.send(tick("AAA", 2), tick("AAA", 3), tick("AAA", 4), tick("AAA", 5))
    second.send(tick("AAA", 2))
    # The patience with the first switch ends in the middle of the second one.
    second.listener.release(None)
    second.send(tick("AAA", 4))
    third.listener.release(later)
    # They share a ring.
    assert sequences(third) == [1, 2, 3, 4, 5]

"""A full ring: what does not fit waits in the side queue, in order; what does not fit there is counted and told."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest
from corelab.records import GAP, ROW_NONE, Record, unpack
from corelab.wire import (
    C_EVENTS,
    C_LOST,
    C_PRESSURE,
    C_RECORDS,
    C_SIDE_PEAK,
    LOOSE_INDEX,
    Loose,
    Receiver,
    text_frame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import words
from openbell.reasons import Reason
from openbell.record import GapReason


def ticks(first: int, count: int, symbol: str = "AAA") -> bytes:
    """Return one frame with numbered ticks."""
    return b'{"ticks":' + msgspec.json.encode([{"s": symbol, "p": 1, "n": first + n} for n in range(count)]) + b"}"


def numbers(records: list[Record]) -> list[int]:
    return [record.sequence for record in records if record.kind != GAP]


def gaps(records: list[Record]) -> list[tuple[float, float]]:
    """Return reason and count of the GAP records."""
    assert all(record.row == ROW_NONE for record in records if record.kind == GAP)
    return [(record.a, record.b) for record in records if record.kind == GAP]


def emptied(receiver: Receiver) -> list[Record]:
    """Drain as a connection does, with a worker that keeps up; return all records, of all rings."""
    found = receiver.records()
    for _ in range(100_000):
        left = receiver.listener.drain()
        assert left == receiver.listener.pending
        found += receiver.records()
        if not left:
            return found
    raise AssertionError("the side queue is never empty")


def test_a_full_ring_is_told_once_and_what_follows_waits_in_order(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.send(ticks(0, 100))
    assert receiver.pressed == receiver.counter(C_PRESSURE) == 1
    assert receiver.listener.pending == 92
    receiver.send(ticks(100, 50))
    assert receiver.pressed == 1
    assert numbers(emptied(receiver)) == list(range(150))
    assert receiver.listener.pending == 0
    assert receiver.counter(C_RECORDS) == receiver.listener.records_published == 150
    assert receiver.counter(C_LOST) == 0
    assert receiver.counter(C_SIDE_PEAK) == 142
    assert receiver.balanced()


def test_what_is_in_the_ring_is_published_before_anybody_waits(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.receive(text_frame(ticks(0, 9), last=False))
    assert numbers(receiver.records()) == list(range(8))
    assert numbers(emptied(receiver)) == [8]


def test_a_ring_that_is_freed_within_the_wait_needs_no_side_queue(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, max_wait_ns=60_000_000_000)
    receiver.send(ticks(0, 8))
    found: list[Record] = []

    def work() -> None:
        # The producer announces that it waits; then a worker frees the ring and rings its bell.
        while words.load(receiver.bell, 0) >> 32 == 0:
            time.sleep(0.001)
        found.extend(receiver.records())
        words.ring(receiver.bell, 0)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    receiver.send(ticks(8, 1))
    worker.join(20)
    found += receiver.records()
    assert numbers(found) == list(range(9))
    assert receiver.pressed == receiver.counter(C_PRESSURE) == 0


def test_a_full_ring_holds_back_the_others_too_so_that_every_order_is_kept(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=2, capacity=8)
    symbols = {receiver.shard(key): key.decode() for key in (b"AAA", b"BBB", b"CCC")}
    full, free = symbols[0], symbols[1]
    receiver.send(ticks(0, 9, full), ticks(0, 3, free), ticks(9, 1, full), ticks(3, 1, free))
    found: list[list[Record]] = [[], []]
    for _ in range(50):
        receiver.listener.drain()
        for shard, records in enumerate(receiver.taken()):
            found[shard] += records
    assert [numbers(records) for records in found] == [list(range(10)), list(range(4))]


def test_the_queue_opens_and_closes_again_and_again(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    found: list[Record] = []
    for episode in range(1, 6):
        receiver.send(ticks(20 * (episode - 1), 20))
        found += emptied(receiver)
        assert receiver.pressed == receiver.counter(C_PRESSURE) == episode
        assert receiver.listener.drain() == 0, "draining an empty queue is no matter"
    assert numbers(found) == list(range(100))


def test_draining_publishes_what_it_moved(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.send(ticks(0, 20))
    assert len(receiver.records()) == 8
    assert receiver.listener.drain() == 4
    assert numbers(receiver.records()) == list(range(8, 16))
    assert receiver.listener.drain() == 0
    assert numbers(receiver.records()) == list(range(16, 20))


def test_draining_waits_for_nobody(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, max_wait_ns=50_000_000)
    receiver.send(ticks(0, 20))
    before = time.monotonic()
    for _ in range(2000):
        assert receiver.listener.drain() == 12
    # Waiting for the worker even once in ten would take longer.
    assert time.monotonic() - before < 10


def test_what_comes_while_the_queue_empties_stays_behind_what_waits(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.send(ticks(0, 30))
    found = receiver.records()
    assert receiver.listener.drain() > 0
    receiver.send(ticks(30, 5))
    assert receiver.listener.publish_event(LOOSE_INDEX, Loose("AAA", 1.0, sequence=35)) == -1
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    receiver.send(ticks(36, 5))
    found += emptied(receiver)
    assert numbers(found) == list(range(41))
    assert gaps(found) == [(GapReason.DISCONNECT, -1)]
    assert found[36].kind == GAP, "the gap stands where it was told"


# ---- beyond the bound ----


@pytest.mark.parametrize("bound", [0, 1, 10, 5000])
def test_what_the_side_queue_cannot_take_is_counted_exactly_and_told_as_a_gap(tmp_path: Path, bound: int) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, side_queue_records=bound)
    total = bound + 8 + 37
    receiver.send(ticks(0, total))
    assert receiver.listener.pending == bound
    found = emptied(receiver)
    assert numbers(found) == list(range(bound + 8))
    assert gaps(found) == [(GapReason.OVERFLOW, 37)]
    assert found[-1].kind == GAP
    assert receiver.counted() == {Reason.SIDE_QUEUE_FULL: 37}
    assert receiver.counter(C_LOST) == 37
    assert receiver.counter(C_RECORDS) == bound + 8
    assert receiver.counter(C_EVENTS) == total
    assert receiver.balanced()
    # The next episode begins at nothing.
    receiver.send(ticks(total, 8))
    assert gaps(emptied(receiver)) == []


def test_every_consumer_is_told_of_an_overflow(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=3, capacity=8, side_queue_records=5)
    receiver.send(ticks(0, 20))
    found: list[list[Record]] = [[], [], []]
    for _ in range(20):
        receiver.listener.drain()
        for shard, records in enumerate(receiver.taken()):
            found[shard] += records
    assert [gaps(records) for records in found] == [[(GapReason.OVERFLOW, 7)]] * 3


def test_an_overflow_is_told_even_if_the_ring_is_full_again(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, side_queue_records=8)
    receiver.send(ticks(0, 20))
    found = receiver.records()
    # The queue's 8 fill the ring: the gap itself has to wait, and opens the queue again.
    assert receiver.listener.drain() == 1
    assert receiver.pressed == 2
    found += emptied(receiver)
    assert numbers(found) == list(range(16))
    assert gaps(found) == [(GapReason.OVERFLOW, 4)]


def test_an_event_that_finds_no_room_is_refused_to_the_slow_path_too(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, side_queue_records=2)
    event = Loose("AAA", 1.0)
    results = [receiver.listener.publish_event(LOOSE_INDEX, event) for _ in range(12)]
    assert results == [-1] * 10 + [Reason.SIDE_QUEUE_FULL] * 2
    assert receiver.balanced()


def test_a_bad_event_is_bad_even_where_there_is_no_room(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.send(ticks(0, 20))
    assert receiver.listener.publish_event(LOOSE_INDEX, Loose("AAA", -1.0)) == Reason.PRICE_NOT_POSITIVE
    assert receiver.listener.publish_event(LOOSE_INDEX, Loose("NOPE", 1.0)) == Reason.SYMBOL_NOT_ASKED
    receiver.send(b'{"ticks":[{"s":"AAA","p":-1},{"s":"AAA","p":5,"n":20}]}')
    assert receiver.listener.pending == 13
    assert numbers(emptied(receiver)) == list(range(21))


def test_a_queue_that_was_emptied_in_part_has_its_whole_room_again(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, side_queue_records=16)
    receiver.send(ticks(0, 24))
    assert receiver.listener.pending == 16
    found = receiver.records()
    assert receiver.listener.drain() == 8
    receiver.send(ticks(24, 8))
    assert receiver.listener.pending == 16
    assert receiver.counter(C_LOST) == 0
    found += emptied(receiver)
    assert numbers(found) == list(range(32))
    assert gaps(found) == []


def test_a_listener_that_is_done_with_gives_its_queue_up_as_lost(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8, side_queue_records=10)
    receiver.send(ticks(0, 15))
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    assert receiver.listener.pending == 8
    assert receiver.listener.abandon() == 7, "a gap is no market data"
    assert receiver.listener.pending == receiver.listener.drain() == 0
    assert numbers(receiver.records()) == list(range(8))
    assert (receiver.counter(C_RECORDS), receiver.counter(C_LOST), receiver.counter(C_EVENTS)) == (8, 7, 15)
    assert receiver.counted() == {Reason.SIDE_QUEUE_FULL: 7}
    assert receiver.balanced()
    assert receiver.listener.abandon() == 0, "once"
    assert receiver.counter(C_LOST) == 7


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 30)),
        st.tuples(st.just("poll"), st.integers(1, 20)),
        st.tuples(st.just("drain"), st.just(0)),
        st.tuples(st.just("gap"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.sampled_from([3, 20, 1 << 20]))
def test_whatever_happens_what_is_taken_and_what_is_lost_are_together_all_that_came(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], bound: int
) -> None:
    receiver = Receiver(tmp_path_factory.getbasetemp(), shards=1, capacity=8, side_queue_records=bound)
    sent = told = 0
    found: list[Record] = []
    poll = receiver.readers[0].poll
    for step, count in steps:
        if step == "send":
            receiver.send(ticks(sent, count))
            sent += count
        elif step == "poll":
            found += unpack(poll(count))
        elif step == "drain":
            receiver.listener.drain()
        elif receiver.listener.pending < bound:
            receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
            told += 1
        assert receiver.balanced()
    found += emptied(receiver)
    lost = receiver.counter(C_LOST)
    sequences = numbers(found)
    assert sequences == sorted(set(sequences)), "out of order, or twice"
    assert len(sequences) + lost == sent
    assert receiver.counter(C_RECORDS) == len(sequences)
    by_reason = gaps(found)
    assert by_reason.count((GapReason.DISCONNECT, -1)) == told
    assert sum(count for reason, count in by_reason if reason == GapReason.OVERFLOW) == lost

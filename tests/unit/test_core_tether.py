"""Tethered readers: what one has not let go of is not overwritten, for as long as its budget lasts."""

from __future__ import annotations

import os
import time

import pytest
from corelab.memory import memory
from corelab.numbered import numbered
from corelab.records import LEVEL, Record
from corelab.tethered import MILLISECOND, TetheredRing
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import ring, tether
from openbell.core.gate import Cuts
from openbell.core.ring import Tap
from openbell.core.tether import Tether
from openbell.errors import FeedError, FeedGone, ReaderCut


def test_a_reader_is_given_every_record_from_where_it_joined() -> None:
    both = TetheredRing()
    both.write(10)
    reader = both.tether()
    assert reader.join() == 10
    both.write(20)
    assert reader.read() == numbered(10, 20)
    assert reader.read() == b""
    both.write(5)
    assert reader.read(3) == numbered(30, 3)
    assert reader.position == 33
    assert reader.lag == 2


def test_the_writer_stops_a_whole_ring_ahead_of_a_reader_and_goes_on_when_it_lets_go() -> None:
    both = TetheredRing(64)
    both.write(7)
    reader = both.tether()
    reader.join()
    assert both.write(1000) == 64
    assert both.write(1) == 0
    assert reader.read(10) == numbered(7, 10)
    assert both.write(1000) == 10
    assert reader.read() == numbered(17, 64)
    assert both.state() == "active"


def test_the_slowest_of_several_readers_decides() -> None:
    both = TetheredRing(64)
    readers = [both.tether(slot) for slot in range(tether.SLOTS)]
    for each in readers:
        each.join()
    assert both.write(100) == 64
    for each in readers[1:]:
        assert each.read(40) == numbered(0, 40)
    assert both.write(100) == 0
    assert readers[0].read(5) == numbered(0, 5)
    assert both.write(100) == 5
    readers[0].leave()
    assert both.write(100) == 35


def test_a_reader_that_leaves_holds_nobody_and_may_come_back() -> None:
    both = TetheredRing(64)
    reader = both.tether()
    reader.join()
    first = reader.epoch
    assert both.write(100) == 64
    reader.leave()
    assert both.state() == "free"
    assert not reader.gating
    assert both.write(100) == 100
    assert reader.join() == 164
    assert reader.epoch == first + 1
    assert both.write(100) == 64
    assert reader.read() == numbered(164, 64)


def test_a_tether_that_is_thrown_away_leaves() -> None:
    both = TetheredRing(64)
    reader = both.tether()
    reader.join()
    del reader
    assert both.state() == "free"


def test_the_writer_is_held_by_its_worker_as_before() -> None:
    both = TetheredRing(64, max_hold_ns=0)
    reader = both.tether()
    reader.join()
    assert both.write(100, apply=False) == 64
    assert both.write(1, apply=False) == 0
    # The reader is as far behind, but it is not what the writer waits for.
    assert both.state() == "active"
    assert both.counted() == (0, 0)
    assert reader.read() == numbered(0, 64)


@pytest.mark.parametrize(("where", "start"), [("now", 200), ("oldest", 168), (200, 200), (190, 190), (3, 168)])
def test_a_reader_joins_a_ring_that_stands_still(where: str | int, start: int) -> None:
    both = TetheredRing(64)
    both.write(200)
    both.writer.publish()
    claim = ring.positions(both.buffer)["claim"]
    reader = both.tether()
    began = reader.join(where)  # type: ignore[arg-type]
    assert began == (start if start >= claim - 32 else claim - 32)
    # All that the writer may have claimed before it knew is beyond what the reader was promised.
    both.write(64)
    assert reader.read() == numbered(began, both.written - began)


def test_a_reader_of_an_empty_ring_starts_at_its_first_record() -> None:
    both = TetheredRing(64)
    reader = both.tether()
    assert reader.join("oldest") == 0
    both.write(3)
    assert reader.read() == numbered(0, 3)


@pytest.mark.parametrize("where", [1, -1, 2**64, "yesterday", 1.5, None])
def test_a_position_that_is_none_is_refused(where: object) -> None:
    both = TetheredRing(64)
    reader = both.tether()
    with pytest.raises(ValueError, match="'now', 'oldest' or a position up to the head"):
        reader.join(where)  # type: ignore[arg-type]
    assert both.state() == "free"


def test_joining_twice_is_refused() -> None:
    reader = TetheredRing().tether()
    reader.join()
    with pytest.raises(ValueError, match="leave first"):
        reader.join()


def test_a_reader_never_starts_within_a_group() -> None:
    both = TetheredRing(64)
    group = b"".join(Record(1, LEVEL, 0, 16 * (n == 0) + 32 * (n == 9)).pack() for n in range(10))
    for _ in range(4):
        both.worker.poll()
        assert both.writer.append_group(group)
    both.writer.publish()
    both.worker.poll()
    claim = ring.positions(both.buffer)["claim"]
    reader = both.tether()
    began = reader.join("oldest")
    assert began % 10 == 0
    assert claim - 32 <= began < claim - 32 + 10
    assert reader.read(1) == group, "and is given groups whole"


def test_a_reader_that_has_not_joined_is_told_so() -> None:
    both = TetheredRing()
    reader = both.tether()
    with pytest.raises(ReaderCut, match=r"call join\(\) first"):
        reader.read()
    with pytest.raises(ReaderCut, match=r"call join\(\) first"):
        reader.advance_to(0)


# ---- the budget ----


def test_a_reader_that_stalls_holds_the_writer_for_its_budget_and_is_cut() -> None:
    both = TetheredRing(64, max_wait_ns=20_000 * MILLISECOND, max_hold_ns=30 * MILLISECOND)
    reader = both.tether()
    reader.join()
    assert both.write(64) == 64
    began = time.monotonic_ns()
    assert both.write(1000) == 1000
    assert time.monotonic_ns() - began >= 30 * MILLISECOND
    assert both.state() == "cut"
    assert not reader.gating
    held, cuts = both.counted()
    assert cuts == 1
    assert held >= 30 * MILLISECOND
    with pytest.raises(ReaderCut, match="cut off from ring 0"):
        reader.read()


def test_what_a_cut_reader_missed_is_known_exactly_when_it_joins_again() -> None:
    both = TetheredRing(64, max_hold_ns=0)
    reader = both.tether()
    reader.join()
    both.write(30)
    assert reader.read() == numbered(0, 30)
    both.write(500)
    with pytest.raises(ReaderCut):
        reader.read()
    again = reader.join()
    assert again - reader.position == 0
    assert again == 530, "it was given 30, and told of 500"
    both.write(10)
    assert reader.read() == numbered(530, 10)
    assert both.counted()[1] == 1


def test_time_in_which_a_reader_held_the_writer_adds_up_until_it_is_close_behind() -> None:
    both = TetheredRing(64, max_hold_ns=60_000 * MILLISECOND)
    reader = both.tether()
    reader.join()
    both.write(64)
    for _ in range(3):
        assert both.write(1) == 0
        time.sleep(0.003)
        assert both.write(1) == 0
        reader.read(1)
        assert both.write(2) == 1
    held, cuts = both.counted()
    assert held >= 9 * MILLISECOND
    assert cuts == 0


def test_a_cut_spares_the_readers_that_keep_up() -> None:
    both = TetheredRing(64, max_hold_ns=0)
    slow, quick = both.tether(3), both.tether(5)
    slow.join()
    quick.join()
    seen = b""
    while len(seen) < 64 * 1000:
        both.write(min(20, 1000 - both.written))
        seen += quick.read()
    assert seen == numbered(0, 1000)
    assert both.state(3) == "cut"
    assert both.state(5) == "active"


def test_a_writer_that_comes_after_a_dead_one_is_held_by_the_same_readers() -> None:
    both = TetheredRing(64)
    reader = both.tether()
    reader.join()
    both.write(20)
    both.writer = both.another_writer()
    pads = ring.positions(both.buffer)["head"] - 20
    assert both.write(100) == 64 - 20 - pads
    taken = reader.read()
    assert taken[: 20 * 64] == numbered(0, 20)
    assert len(taken) == 64 * 64


def test_a_reader_that_stalls_at_all_rings_of_a_process_holds_it_once() -> None:
    cuts = Cuts()
    rings = [TetheredRing(64, max_hold_ns=20 * MILLISECOND, cuts=cuts) for _ in range(8)]
    stalled = [each.tether() for each in rings]
    for hold in stalled:
        hold.join()
    for each in rings:
        assert each.write(64) == 64
    for each in rings:
        while not each.write(1):
            pass
    assert [each.state() for each in rings] == ["cut"] * 8
    assert [each.counted()[0] > 0 for each in rings] == [True] + [False] * 7
    # Whoever comes back begins anew: it is not cut for what it did before.
    for each, hold in zip(rings, stalled, strict=True):
        hold.join()
        assert each.write(64) == 64
        assert each.write(1) == 0
        assert hold.gating


def test_a_reader_that_was_cut_at_one_ring_and_came_back_has_its_budget_again_at_another() -> None:
    cuts = Cuts()
    rings = [TetheredRing(max_hold_ns=50 * MILLISECOND, cuts=cuts), TetheredRing(cuts=cuts)]
    tethers = [each.tether() for each in rings]
    for each in tethers:
        each.join()
    while rings[0].state() == "active":
        rings[0].write(10)
    tethers[0].join()
    # The producer of the other ring has had no reason to look where its readers are since.
    assert rings[1].write(64) == 64
    assert rings[1].write(1) == 0
    assert (rings[1].state(), tethers[1].gating) == ("active", True)
    assert len(tethers[1].read()) == 64 * 64


def test_a_reader_that_was_cut_at_one_ring_is_spared_at_another_where_it_is_close_behind() -> None:
    cuts = Cuts()
    neglected, followed = (TetheredRing(64, max_hold_ns=10_000 * MILLISECOND, cuts=cuts) for _ in range(2))
    holds = [neglected.tether(), followed.tether()]
    for hold in holds:
        hold.join()
    followed.write(40)
    assert holds[1].read() == numbered(0, 40)
    neglected.write(64)
    neglected.writer = neglected.another_writer(max_hold_ns=0)
    assert neglected.write(1) == 1
    assert neglected.state() == "cut"
    followed.write(40)
    assert holds[1].read() == numbered(40, 40)
    assert followed.write(100) == 64
    assert followed.write(1) == 0
    assert holds[1].gating


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=8))
def test_nothing_that_a_reader_scribbles_holds_the_writer_for_longer_than_its_budget(
    scribbles: list[tuple[int, int, int]],
) -> None:
    both = TetheredRing(8, max_hold_ns=0)
    for slot, state, cursor in scribbles:
        both.write(3)
        both.scribble(slot, state=state, cursor=cursor)
        assert both.write(20) == 20


# ---- what is not its own ----


def test_a_generation_that_is_over_is_told() -> None:
    both = TetheredRing()
    reader = both.tether()
    reader.join()
    tether.end(both.consumers)
    with pytest.raises(FeedGone, match="attach again"):
        reader.read()
    reader.leave()
    with pytest.raises(FeedGone, match="attach again"):
        reader.join()


def test_a_forked_child_has_no_hold_and_cannot_disturb_that_of_its_parent() -> None:
    both = TetheredRing()
    reader = both.tether()
    reader.join()
    both.write(5)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            refused = 0
            for call in (reader.read, reader.join, lambda: reader.advance_to(5)):
                try:
                    call()
                except FeedError:
                    refused += 1
            reader.leave()
            del reader
            status = 0 if refused == 3 else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert reader.gating
    assert reader.read() == numbered(0, 5)


def test_a_slot_is_taken_out_of_all_rings_at_once() -> None:
    consumers = memory(tether.size(3))
    tether.format(consumers, 1, 3)
    rings = [memory(ring.size(8)) for _ in range(3)]
    for number, buffer in enumerate(rings):
        ring.format(buffer, 8, number)
    readers = [Tether(consumers, 4, number, buffer) for number, buffer in enumerate(rings)]
    readers[0].join()
    readers[2].join()
    assert tether.clear(consumers, 4) == 2
    assert [tether.states(consumers, number)[4][0] for number in range(3)] == ["free"] * 3
    assert not any(each.gating for each in readers)


@pytest.mark.parametrize(
    "make",
    [
        lambda both: Tether(both.consumers, 16, 0, both.buffer),
        lambda both: Tether(both.consumers, -1, 0, both.buffer),
        lambda both: Tether(both.consumers, 0, 1, both.buffer),
        lambda both: Tether(memory(tether.size(1)), 0, 0, both.buffer),
        lambda both: Tether(memory(64), 0, 0, both.buffer),
        lambda both: Tether(both.consumers, 0, 0, memory(4096)),
        lambda both: tether.clear(both.consumers, 16),
        lambda both: tether.states(both.consumers, 1),
    ],
)
def test_what_does_not_exist_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"slot|ring|buffer"):
        make(TetheredRing())


def test_a_tap_never_holds_the_writer() -> None:
    both = TetheredRing(64, max_hold_ns=60_000 * MILLISECOND)
    tap = Tap(both.buffer)
    assert both.write(500) == 500
    _, skipped = tap.read()
    assert skipped == 500 - 32

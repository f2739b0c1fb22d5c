"""Following several rings: what is wanted, in the order of receipt, groups whole, and every gap in its place."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from corelab.memory import memory
from corelab.records import (
    GAP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    LEVEL,
    QUOTE,
    ROW_NONE,
    STATUS,
    TRADE,
    Record,
    trade,
    unpack,
)
from corelab.tethered import TetheredRing
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import ring
from openbell.core.follow import ROOM_BEYOND, Follower
from openbell.core.ring import RingReader, RingWriter
from openbell.errors import FeedError
from openbell.record import GapReason

FIRST, LAST = 16, 32
ALL = HAS_A | HAS_B | HAS_C | HAS_D


class Ring:
    """A ring whose worker keeps up."""

    def __init__(self, capacity: int = 64) -> None:
        self.buffer = memory(ring.size(capacity))
        ring.format(self.buffer, capacity, 0)
        self.writer = RingWriter(self.buffer, memory(64), memory(64), 1000)
        self.writer.recover()
        self.worker = RingReader(self.buffer)

    def write(self, *groups: Record | list[Record], publish: bool = True) -> None:
        """Write records and groups of them."""
        for group in groups:
            data = b"".join(record.pack() for record in (group if isinstance(group, list) else [group]))
            if not self.writer.append_group(data):
                self.worker.poll()
                assert self.writer.append_group(data)
        if publish:
            self.writer.publish()
            self.worker.poll()


class Values(NamedTuple):
    """What `take` makes here."""

    symbol: str | None
    kind: int
    side: int
    flags: int
    exchange_ns: int
    receive_ns: int
    sequence: int
    a: float | None
    b: float | None
    c: float | None
    d: float | None
    row: int | None


def symbol_of(row: int) -> str:
    """Return a made-up symbol."""
    if row >= 50_000:
        raise KeyError(row)
    return f"S{row}"


def follow(*rings: Ring, start: Any = "oldest", **options: Any) -> Follower:
    """Return a follower of `rings`."""
    return Follower([each.buffer for each in rings], [start] * len(rings), Values, symbol_of, **options)


def read(follower: Follower, most: int = 1000) -> list[Record]:
    """Return what one read brings."""
    out = bytearray((most + ROOM_BEYOND) * 64)
    n = follower.read(out, most)
    return unpack(bytes(out[: n * 64]))


def drain(follower: Follower, most: int = 1000) -> Iterator[Record]:
    """Yield records until there are no more."""
    while records := read(follower, most):
        yield from records


def at(row: int, stamp: int, sequence: int = 0) -> Record:
    """Return a trade that was received at `stamp`."""
    return trade(row, 1.0, 2.0, sequence=sequence, receive_ns=stamp)


def book(row: int, stamp: int, levels: int) -> list[Record]:
    """Return a group."""
    return [
        Record(row, LEVEL, n + 1, (FIRST if n == 0 else 0) | (LAST if n == levels - 1 else 0) | HAS_A, 0, stamp, 0, n)
        for n in range(levels)
    ]


def test_rings_are_merged_in_the_order_of_receipt() -> None:
    a, b, c = Ring(), Ring(), Ring()
    follower = follow(a, b, c)
    a.write(at(1, 10), at(2, 40), at(3, 50))
    b.write(at(4, 20), at(5, 30), at(6, 60))
    c.write(at(7, 5), at(8, 45))
    assert [record.row for record in read(follower)] == [7, 1, 4, 5, 2, 8, 3, 6]
    assert read(follower) == []
    assert follower.delivered == 8


def test_a_read_is_bounded_and_the_next_one_goes_on() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b)
    a.write(*(at(1, stamp) for stamp in range(0, 20, 2)))
    b.write(*(at(2, stamp) for stamp in range(1, 20, 2)))
    seen = [[record.receive_ns for record in read(follower, 3)] for _ in range(8)]
    assert [stamp for part in seen for stamp in part] == list(range(20))
    assert [len(part) for part in seen] == [3] * 6 + [2, 0]


def test_a_ring_that_has_nothing_keeps_nothing_back() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b)
    a.write(at(1, 10))
    assert [record.row for record in read(follower)] == [1]


def test_a_stamp_of_0_and_one_that_runs_backwards_keep_their_place_in_their_ring() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b)
    a.write(at(1, 100), at(2, 0), at(3, 40), at(4, 120))
    b.write(at(5, 50), at(6, 110))
    assert [record.row for record in read(follower)] == [5, 1, 2, 3, 6, 4]


def test_apart_each_ring_is_read_for_itself_and_another_one_first_each_time() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b, apart=True)
    firsts = set()
    for _ in range(4):
        a.write(at(1, 10), at(1, 30))
        b.write(at(2, 20), at(2, 40))
        rows = [record.row for record in read(follower)]
        assert rows in ([1, 1, 2, 2], [2, 2, 1, 1])
        firsts.add(rows[0])
    assert firsts == {1, 2}


def test_only_wanted_rows_and_kinds_come_and_gaps_of_these_rows() -> None:
    rows = bytearray(100)
    rows[3] = 1
    a = Ring()
    follower = follow(a, rows=rows, kinds=1 << TRADE)
    quoted = Record(3, QUOTE, flags=HAS_A, a=1.0)
    mine, others = Record(3, GAP, flags=ALL, a=2, b=5), Record(4, GAP, flags=ALL, a=2, b=5)
    everyones, told = Record(ROW_NONE, GAP, flags=ALL, a=4, b=7), Record(ROW_NONE, GAP, side=1, flags=ALL, a=2, b=-1)
    a.write(at(3, 1), at(4, 2), quoted, mine, others, everyones, told, Record(ROW_NONE, STATUS, flags=HAS_B, b=3))
    assert read(follower) == [at(3, 1), mine, everyones]
    assert (follower.gaps, follower.lost, follower.skipped) == (2, 12, 0)
    a.write(at(99, 3), at(100, 3), at(70_000, 3))
    assert read(follower) == []


def test_a_row_that_nobody_knows_yet_is_asked_for_once() -> None:
    asked = []

    def resolve(row: int) -> bool:
        asked.append(row)
        return row % 2 == 1

    rows = bytearray(b"\x02" * 64)
    a = Ring()
    follower = follow(a, rows=rows, resolve=resolve)
    a.write(at(1, 1), at(2, 2), at(1, 3), at(2, 4), at(3, 5))
    assert [record.row for record in drain(follower)] == [1, 1, 3]
    assert asked == [1, 2, 3]
    assert list(rows[:4]) == [2, 1, 0, 1]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("rings", [1, 2])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_goes_wrong_in_asking_is_raised_by_the_read_and_no_record_is_lost(
    error: type[BaseException], rings: int, one_by_one: bool
) -> None:
    wrong = [error(), error()]

    def resolve(row: int) -> bool:
        if wrong:
            raise wrong.pop()
        return row == 2

    rows = bytearray(b"\x02" * 64)
    rows[1] = 1
    streams = [Ring() for _ in range(rings)]
    follower = follow(*streams, rows=rows, resolve=resolve)
    streams[0].write(at(1, 1), at(2, 2), at(3, 3), at(1, 4))
    found: list[int] = []
    raised = 0
    for _ in range(10):
        try:
            if one_by_one:
                tick = follower.take()
                found += [] if tick is None else [tick.receive_ns]
            else:
                found += [record.receive_ns for record in read(follower)]
        except error:
            raised += 1
    assert (found, raised) == ([1, 2, 4], 2)


def test_a_reader_that_was_cut_before_its_first_look_is_told_so() -> None:
    a = TetheredRing(64, max_hold_ns=1_000_000)
    tether = a.tether()
    tether.join()
    while a.written < 200:
        a.write(64)
    assert a.state() == "cut"
    follower = Follower([a.buffer], ["now"], Values, symbol_of, tethers=[tether])
    gap, *rest = drain(follower)
    assert (gap.kind, gap.a, gap.b, gap.c) == (GAP, GapReason.CUT, a.written - len(rest), 0)
    assert [record.sequence for record in rest] == list(range(a.written - len(rest), a.written))
    assert rest
    assert (follower.cuts, follower.skipped) == (1, gap.b)


def test_a_tether_that_never_joined_is_refused() -> None:
    a = TetheredRing()
    with pytest.raises(ValueError, match="has not joined"):
        Follower([a.buffer], ["now"], Values, symbol_of, tethers=[a.tether()])


def test_a_second_thread_is_refused_while_one_reads() -> None:
    a = Ring()
    asked: list[BaseException] = []

    def resolve(row: int) -> bool:
        # Whoever comes while a read is under way: another thread, or this one once more.
        for call in (follower.take, lambda: read(follower)):
            with pytest.raises(FeedError, match="another thread is reading") as refused:
                call()
            asked.append(refused.value)
        return True

    follower = follow(a, rows=bytearray(b"\x02" * 64), resolve=resolve)
    a.write(at(1, 1), at(1, 2))
    assert len(read(follower)) == 2
    a.write(at(2, 3))
    assert follower.take() is not None
    assert len(asked) == 4


def test_a_seam_leaves_out_what_a_copy_holds_already() -> None:
    a = Ring()
    a.write(at(0, 1), at(1, 2), at(0, 3), at(1, 4), at(0, 5))
    seam = memory(64)
    # Of row 0 the copy holds all up to position 2; of row 1 nothing behind position 0.
    seam[:16] = (3).to_bytes(8, "little") + (1).to_bytes(8, "little")
    follower = follow(a, start=1, seam=seam)
    assert [record.receive_ns for record in read(follower)] == [2, 4, 5]


@pytest.mark.parametrize("rings", [1, 2])
@pytest.mark.parametrize("apart", [False, True])
def test_a_lap_is_a_gap_record_in_its_place_with_the_exact_count(rings: int, apart: bool) -> None:
    streams = [Ring() for _ in range(rings)]
    follower = follow(*streams, apart=apart)
    streams[0].write(at(1, 1), at(1, 2))
    assert len(read(follower)) == 2
    for stamp in range(1000):
        streams[0].write(at(1, 3 + stamp, stamp))
    records = list(drain(follower, 20))
    assert records[0] == Record(ROW_NONE, GAP, 0, ALL, 0, 2, 0, GapReason.LAP, 968, 2, 969)
    assert [record.sequence for record in records[1:]] == list(range(968, 1000))
    assert follower.skipped == 968
    assert follower.positions[0] == 1002


@pytest.mark.parametrize("count", range(40, 60))
@pytest.mark.parametrize("rings", [1, 2])
def test_groups_come_whole_after_a_lap_too_and_the_rest_of_one_counts_as_missed(count: int, rings: int) -> None:
    streams = [Ring(32) for _ in range(rings)]
    follower = follow(*streams)
    written: list[Record] = []
    for number in range(count):
        group = book(number % 7, number + 1, 1 + number % 5)
        streams[0].write(group)
        written += group
    for bound in (1, 3, 1000):
        records = list(drain(follower, bound))
        if records:
            assert records[0].kind == GAP
            assert records[0].b == follower.skipped
            assert records[1:] == written[follower.skipped :]
            assert records[1].flags & FIRST
    assert follower.skipped + follower.delivered - 1 == len(written)


@pytest.mark.parametrize("count", range(10, 22))
def test_the_oldest_that_is_given_is_no_half_group(count: int) -> None:
    a = Ring(32)
    written: list[Record] = []
    for number in range(count):
        group = book(number, number + 1, 3)
        a.write(group)
        written += group
    records = list(drain(follow(a)))
    assert records
    assert records[0].flags & FIRST
    assert records == written[-len(records) :]


def test_groups_of_two_rings_do_not_mix() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b)
    a.write(book(1, 10, 5), book(1, 20, 5))
    b.write(book(2, 10, 5), book(2, 15, 5))
    for bound in (1, 2, 3, 4, 5):
        records = read(follower, bound)
        assert len(records) == 5 if records else True
        assert len({record.row for record in records}) <= 1
    assert follower.delivered == 20


def test_single_records_are_ticks_with_none_for_what_is_absent() -> None:
    a = Ring()
    follower = follow(a)
    a.write(
        trade(7, 1.5, sequence=9, receive_ns=5, exchange_ns=4),
        Record(ROW_NONE, STATUS, flags=HAS_A | HAS_B, a=20260731, b=3),
    )
    tick = follower.take()
    assert tick == ("S7", TRADE, 0, HAS_A, 4, 5, 9, 1.5, None, None, None, 7)
    assert type(tick) is Values
    status = follower.take()
    assert status == (None, STATUS, 0, HAS_A | HAS_B, 0, 0, 0, 20260731, 3, None, None, None)
    assert type(status.a) is int
    assert follower.take() is None
    assert follower.delivered == 2


def test_ticks_and_reads_may_be_mixed_and_nothing_is_lost_between_them() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b)
    a.write(*(at(1, stamp) for stamp in range(1, 31)))
    b.write(*(at(2, stamp) for stamp in range(31, 61)))
    seen = [follower.take().receive_ns for _ in range(5)]
    seen += [record.receive_ns for record in read(follower, 10)]
    seen += [follower.take().receive_ns]
    seen += [record.receive_ns for record in read(follower)]
    assert seen == list(range(1, 61))
    assert not follower.waiting


def test_what_is_told_stands_before_what_comes() -> None:
    a = Ring()
    follower = follow(a)
    a.write(at(1, 5))
    follower.tell(GapReason.FEED_RESTART, -1)
    gap, record = read(follower)
    assert gap == Record(ROW_NONE, GAP, 0, HAS_A | HAS_B, a=GapReason.FEED_RESTART, b=-1)
    assert record.row == 1
    assert (follower.gaps, follower.lost, follower.skipped) == (1, 0, 0)


def test_it_says_whether_something_waits() -> None:
    a, b = Ring(), Ring()
    follower = follow(a, b, start="now")
    assert not follower.waiting
    b.write(at(1, 1), at(1, 2))
    assert follower.waiting
    follower.take()
    assert follower.waiting
    follower.take()
    assert not follower.waiting


@pytest.mark.parametrize("start", [6, -1, "newest", 1.5, None])
def test_a_start_that_is_none_is_refused(start: object) -> None:
    a = Ring()
    a.write(*(at(1, 1) for _ in range(5)))
    with pytest.raises(ValueError, match=r"'now', 'oldest' or a position up to the head \(5\)"):
        follow(a, start=start)


def test_wrong_calls_are_refused() -> None:
    a = Ring()
    with pytest.raises(ValueError, match="needs a ring"):
        follow()
    with pytest.raises(ValueError, match="2 starts for 1 rings"):
        Follower([a.buffer], ["now", "now"], Values, symbol_of)
    with pytest.raises(TypeError, match="no plain tuple type"):
        Follower([a.buffer], ["now"], list, symbol_of)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, not 0"):
        follow(a).read(bytearray(6400), 0)
    with pytest.raises(ValueError, match="a buffer of 640 bytes for 10 records and 32 beyond"):
        follow(a).read(bytearray(640), 10)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans(), st.sampled_from([16, 64]))
def test_whatever_happens_what_is_given_and_what_is_told_missed_are_all_there_was(
    seed: int, rings: int, apart: bool, capacity: int
) -> None:
    rng = random.Random(seed)
    streams = [Ring(capacity) for _ in range(rings)]
    follower = follow(*streams, apart=apart)
    written: list[list[Record]] = [[] for _ in streams]
    found: list[Record] = []
    stamp = 0
    for _ in range(rng.randrange(200)):
        step = rng.random()
        if step < 0.7:
            # One read of a receiver: some records for each of its rings, all with one stamp.
            stamp += rng.randrange(3)
            for number, stream in enumerate(streams):
                for _ in range(rng.randrange(4)):
                    group = book(number, stamp, rng.randrange(1, 4)) if rng.random() < 0.3 else [at(number, stamp)]
                    stream.write(group)
                    written[number] += group
        elif step < 0.85:
            found += read(follower, rng.choice([1, 2, 5, 1000]))
        elif (tick := follower.take()) is not None:
            found.append(Record(ROW_NONE if tick.row is None else tick.row, *tick[1:7], *(v or 0 for v in tick[7:11])))
    found += drain(follower, rng.choice([1, 7, 1000]))
    assert not follower.waiting
    told = sum(int(record.b) for record in found if record.kind == GAP)
    assert told == follower.skipped
    assert len([record for record in found if record.kind != GAP]) + told == sum(map(len, written))
    if not apart:
        stamps = [record.receive_ns for record in found]
        assert stamps == sorted(stamps)
    for number, all_of_it in enumerate(written):
        mine = [record for record in found if record.kind != GAP and record.row == number]
        if not told:
            assert mine == all_of_it
        # Whole groups: each begins where it should and goes on to its end.
        left = 0
        for record in mine:
            if record.kind == LEVEL:
                assert bool(record.flags & FIRST) == (left == 0)
                left = 0 if record.flags & LAST else 1

"""Taps: they hold nobody back, and know exactly what they were too late for."""

from __future__ import annotations

import pytest
from corelab.memory import memory
from corelab.numbered import misplaced, numbered, torn
from corelab.records import GAP, HAS_A, HAS_B, HAS_C, HAS_D, LEVEL, ROW_NONE, TRADE, TRADES, Record, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import ring, words
from openbell.core.ring import RingReader, RingWriter, Tap
from openbell.record import GapReason

AT_CLAIM = 128
FIRST, LAST = 16, 32


class Stream:
    """A ring whose worker keeps up, so that the producer is never held back."""

    def __init__(self, capacity: int, start: int = 0) -> None:
        self.buffer = memory(ring.size(capacity))
        ring.format(self.buffer, capacity, 0, start)
        self.writer = RingWriter(self.buffer, memory(64), memory(64), 1000)
        self.writer.recover()
        self.worker = RingReader(self.buffer)
        self.written = 0

    def write(self, count: int) -> None:
        """Publish the next `count` numbered records."""
        data = numbered(self.written, count)
        for at in range(0, len(data), 64):
            if not self.writer.append(data[at : at + 64]):
                self.worker.poll()
                assert self.writer.append(data[at : at + 64])
        self.writer.publish()
        self.worker.poll()
        self.written += count


def lap(first: int, count: int) -> Record:
    """Return the GAP record for `count` records missed from position `first`."""
    flags = HAS_A | HAS_B | HAS_C | HAS_D
    return Record(ROW_NONE, GAP, 0, flags, 0, 0, 0, GapReason.LAP, count, first, first + count - 1)


def test_a_tap_reads_what_is_published_after_it_was_made() -> None:
    stream = Stream(64)
    stream.write(10)
    tap = Tap(stream.buffer)
    assert tap.position == 10
    assert tap.read() == (b"", 0)
    stream.write(5)
    assert tap.read() == (numbered(10, 5), 0)
    assert (tap.position, tap.skipped_total) == (15, 0)


def test_a_tap_may_start_with_the_oldest_record_that_is_surely_intact() -> None:
    stream = Stream(64)
    stream.write(10)
    assert Tap(stream.buffer, "oldest").read() == (numbered(0, 10), 0)
    stream.write(190)
    claim = ring.positions(stream.buffer)["claim"]
    tap = Tap(stream.buffer, "oldest")
    assert tap.position == claim - 64 > 0
    assert tap.read() == (numbered(claim - 64, 200 - (claim - 64)), 0)


def test_a_tap_may_start_at_any_position_up_to_the_head() -> None:
    stream = Stream(64)
    stream.write(20)
    assert Tap(stream.buffer, 13).read() == (numbered(13, 7), 0)
    assert Tap(stream.buffer, 20).read() == (b"", 0)


@pytest.mark.parametrize("start", [21, -1, "newest", 1.5, None])
def test_a_start_that_is_none_is_refused(start: object) -> None:
    stream = Stream(64)
    stream.write(20)
    with pytest.raises(ValueError, match=r"'now', 'oldest' or a position up to the head \(20\)"):
        Tap(stream.buffer, start)  # type: ignore[arg-type]


def test_a_read_is_bounded() -> None:
    stream = Stream(64)
    tap = Tap(stream.buffer)
    stream.write(10)
    assert tap.read(4) == (numbered(0, 4), 0)
    assert tap.read(4) == (numbered(4, 4), 0)
    assert tap.read(4) == (numbered(8, 2), 0)
    with pytest.raises(ValueError, match="at least 2, not 1"):
        tap.read(1)


def test_a_tap_that_was_lapped_gets_a_gap_record_and_lands_in_the_middle_of_the_ring() -> None:
    stream = Stream(64)
    tap = Tap(stream.buffer)
    stream.write(1000)
    data, skipped = tap.read()
    assert skipped == tap.skipped_total == 1000 - 32
    assert unpack(data[:64]) == [lap(0, skipped)]
    assert data[64:] == numbered(skipped, 32)
    assert tap.position == 1000
    assert tap.read() == (b"", 0), "the gap is told once"


def test_a_gap_record_counts_within_the_bound_of_a_read() -> None:
    stream = Stream(64)
    tap = Tap(stream.buffer)
    stream.write(1000)
    data, skipped = tap.read(5)
    assert unpack(data[:64]) == [lap(0, 968)]
    assert data[64:] == numbered(968, 4)
    assert skipped == 968
    assert tap.read() == (numbered(972, 28), 0)


def test_a_slow_tap_costs_the_worker_the_producer_and_other_taps_nothing() -> None:
    stream = Stream(64)
    slow, quick = Tap(stream.buffer), Tap(stream.buffer)
    for _ in range(50):
        stream.write(10)
        assert quick.read()[1] == 0
    assert quick.position == 500
    assert ring.positions(stream.buffer)["applied"] == 500
    data, skipped = slow.read()
    assert len(data) // 64 - 1 + skipped == 500


@pytest.mark.parametrize("at", range(8))
def test_a_claim_over_a_slot_makes_its_copy_worthless_even_before_it_is_written(at: int) -> None:
    # 8 slots, claimed by twos: a tap a full turn behind is still in time if the claim ends with the head.
    stream = Stream(8)
    tap = Tap(stream.buffer)
    stream.write(at)
    tap.read()
    for _ in range(8):
        stream.write(1)
    claimed_over = at % 2
    assert ring.positions(stream.buffer)["claim"] == at + 8 + claimed_over
    data, skipped = tap.read()
    if claimed_over:
        assert unpack(data[:64]) == [lap(at, 4)]
        assert (data[64:], skipped) == (numbered(at + 4, 4), 4)
    else:
        assert (data, skipped) == (numbered(at, 8), 0)


def test_a_record_that_the_writer_may_be_touching_is_not_handed_out() -> None:
    stream = Stream(8)
    tap = Tap(stream.buffer)
    stream.write(8)
    # A claim and no head: what a producer looks like that was stopped between its first store and its publish.
    words.store(stream.buffer, AT_CLAIM, 10)
    stream.buffer[1024 : 1024 + 64] = b"\xee" * 64
    data, skipped = tap.read()
    assert skipped == 4
    assert unpack(data[:64]) == [lap(0, 4)]
    assert data[64:] == numbered(4, 4)


@settings(max_examples=80)
@given(
    st.sampled_from([8, 32]),
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 100)), st.tuples(st.sampled_from([0, 1, 2]), st.integers(2, 50))
        ),
        max_size=60,
    ),
)
def test_what_a_tap_is_given_and_what_it_missed_are_together_all_there_was(
    capacity: int, steps: list[tuple[str | int, int]]
) -> None:
    stream = Stream(capacity)
    taps = [Tap(stream.buffer) for _ in range(3)]
    seen = [0, 0, 0]
    missed = [0, 0, 0]
    for step, count in steps:
        if isinstance(step, str):
            stream.write(count)
            continue
        data, skipped = taps[step].read(count)
        assert len(data) <= count * 64
        if skipped:
            assert unpack(data[:64]) == [lap(seen[step], skipped)]
            data = data[64:]
        seen[step] += skipped
        missed[step] += skipped
        assert misplaced(data, seen[step]) == torn(data) == 0
        seen[step] += len(data) // 64
        assert (taps[step].position, taps[step].skipped_total) == (seen[step], missed[step])
        assert seen[step] <= stream.written
        if not data and not skipped:
            assert seen[step] == stream.written


def test_a_tap_passes_2_to_the_63() -> None:
    start = 2**63 - 50
    stream = Stream(16, start)
    tap = Tap(stream.buffer)
    for round_ in range(30):
        stream.write(5)
        assert tap.read() == (numbered(round_ * 5, 5), 0)
    stream.write(100)
    data, skipped = tap.read()
    assert (len(data) // 64 - 1) + skipped == 100
    assert data[64:] == numbered(150 + skipped, 100 - skipped)
    assert tap.position == start + 250 > 2**63


def test_a_tap_needs_no_right_to_write() -> None:
    stream = Stream(16)
    tap = Tap(memoryview(stream.buffer).toreadonly(), "oldest")
    stream.write(3)
    assert tap.read() == (numbered(0, 3), 0)


# ---- groups ----


def groups(stream: Stream, count: int, sizes: tuple[int, ...] = (3, 1, 5, 2)) -> list[Record]:
    """Publish groups of several sizes and single records between them; return all records."""
    written: list[Record] = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        kind = TRADES if size == 2 else LEVEL
        group = [
            Record(number, kind, level + 1, (FIRST if level == 0 else 0) | (LAST if level == size - 1 else 0))
            for level in range(size)
        ]
        for unit in (group, [Record(number, TRADE)] if number % 3 == 0 else []):
            if not unit:
                continue
            data = b"".join(record.pack() for record in unit)
            if not stream.writer.append_group(data):
                stream.worker.poll()
                assert stream.writer.append_group(data)
            written += unit
    stream.writer.publish()
    stream.worker.poll()
    return written


def assert_whole(records: list[Record]) -> None:
    """Assert that every group begins and ends."""
    inside: Record | None = None
    for record in records:
        if record.kind in (LEVEL, TRADES):
            assert bool(record.flags & FIRST) == (inside is None), "a group whose beginning is missing"
            assert inside is None or (inside.row, inside.kind) == (record.row, record.kind)
            inside = None if record.flags & LAST else record
        else:
            assert inside is None, "a group whose end is missing"
    assert inside is None, "a group whose end is missing"


@pytest.mark.parametrize("bound", range(2, 9))
def test_a_tap_is_given_groups_whole_however_small_its_reads(bound: int) -> None:
    stream = Stream(64)
    tap = Tap(stream.buffer)
    written = groups(stream, 14)
    found: list[Record] = []
    while True:
        data, skipped = tap.read(bound)
        assert skipped == 0
        records = unpack(data)
        if not records:
            break
        assert_whole(records)
        found += records
    assert found == written


@pytest.mark.parametrize("count", range(100, 130))
def test_a_tap_that_was_lapped_resumes_with_a_whole_group_and_counts_the_rest_as_missed(count: int) -> None:
    stream = Stream(32)
    tap = Tap(stream.buffer)
    written = groups(stream, count)
    for bound in (2, 5, 4096):
        tap = Tap(stream.buffer, 0)
        data, skipped = tap.read(bound)
        records = unpack(data)
        assert records[0] == lap(0, skipped)
        assert_whole(records)
        assert records[1:] == written[skipped : skipped + len(records) - 1]
        assert tap.skipped_total == skipped
        assert tap.position == skipped + len(records) - 1


@pytest.mark.parametrize("count", range(100, 112))
def test_the_oldest_that_a_tap_is_given_is_no_half_group(count: int) -> None:
    stream = Stream(32)
    written = groups(stream, count)
    tap = Tap(stream.buffer, "oldest")
    data, skipped = tap.read()
    records = unpack(data)
    assert_whole(records)
    assert skipped == 0
    assert records == written[-len(records) :]
    groups(stream, 3)
    assert_whole(unpack(tap.read()[0]))

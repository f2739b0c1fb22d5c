"""The ring: everything written comes out once, in order, however small the ring and wherever its positions start."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest
from corelab.memory import memory
from corelab.numbered import misplaced, numbered, torn
from corelab.records import PAD, ROW_NONE, Record, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import ring, words
from openbell.core.ring import RingReader, RingWriter

# A full ring answers at once, where a test does not want to wait.
AT_ONCE_NS = 1000
NEAR_2_63 = 2**63 - 100


@dataclass
class Ring:
    """A ring with both of its ends."""

    capacity: int
    start: int = 0
    max_wait_ns: int = AT_ONCE_NS

    def __post_init__(self) -> None:
        self.buffer = memory(ring.size(self.capacity))
        ring.format(self.buffer, self.capacity, 7, self.start)
        self.worker_bell, self.own_bell = memory(64), memory(64)
        self.writer = self.another_writer()
        self.writer.recover()
        self.worker_bell[:8] = bytes(8)
        self.reader = RingReader(self.buffer)

    def another_writer(self) -> RingWriter:
        """Return a producer that comes after the present one, and has not taken the ring over yet."""
        return RingWriter(self.buffer, self.worker_bell, self.own_bell, self.max_wait_ns)

    def write(self, first: int, count: int) -> int:
        """Append numbered records until the ring is full; return how many were taken."""
        data = numbered(first, count)
        for index in range(count):
            if not self.writer.append(data[index * 64 : index * 64 + 64]):
                return index
        return count

    def positions(self) -> tuple[int, int, int]:
        """Return applied, head and claim, counted from the start."""
        found = ring.positions(self.buffer)
        return found["applied"] - self.start, found["head"] - self.start, found["claim"] - self.start


# ---- order and visibility ----


def test_a_record_comes_out_as_it_went_in() -> None:
    both = Ring(8)
    record = Record(3, 1, 2, 0x1234, -1, 2**62, -(2**63), 1.5, -0.0, float("inf"), 1e-300)
    assert both.writer.append(record.pack())
    both.writer.publish()
    assert both.reader.poll() == record.pack()
    assert both.reader.poll() == b""


def test_nothing_is_seen_before_it_is_published() -> None:
    both = Ring(64)
    # Fewer than a chunk: claiming the next chunk publishes the one before.
    both.write(0, 10)
    assert both.reader.poll() == b""
    both.writer.publish()
    assert both.reader.poll() == numbered(0, 10)


def test_publishing_goes_in_chunks_of_at_most_a_quarter_of_the_ring() -> None:
    both = Ring(64)
    both.write(0, 17)
    assert both.positions() == (0, 16, 32)
    large = Ring(1 << 14)
    large.write(0, 1025)
    assert large.positions() == (0, 1024, 2048), "and of at most 1,024 records"


def test_publishing_nothing_changes_nothing() -> None:
    both = Ring(8)
    before = bytes(both.buffer)
    both.writer.publish()
    assert bytes(both.buffer) == before


def test_a_poll_takes_no_more_than_it_is_asked_for() -> None:
    both = Ring(64)
    both.write(0, 20)
    both.writer.publish()
    assert both.reader.poll(7) == numbered(0, 7)
    assert both.positions()[0] == 7
    assert both.reader.poll(100) == numbered(7, 13)


@settings(max_examples=80)
@given(
    st.sampled_from([8, 16, 64]),
    st.sampled_from([0, 5, NEAR_2_63]),
    st.lists(st.tuples(st.sampled_from(["write", "publish", "poll"]), st.integers(1, 40)), max_size=60),
)
def test_whatever_the_two_ends_do_the_ring_is_a_bounded_queue(
    capacity: int, start: int, steps: list[tuple[str, int]]
) -> None:
    both = Ring(capacity, start)
    written = published = taken = 0
    claim_before = 0
    for step, count in steps:
        if step == "write":
            room = capacity - (written - taken)
            assert both.write(written, count) == min(count, room)
            written += min(count, room)
        elif step == "publish":
            both.writer.publish()
            published = written
        else:
            data = both.reader.poll(count)
            assert misplaced(data, taken) == torn(data) == 0
            taken += len(data) // 64
            assert published <= taken or len(data) // 64 == count
        assert both.writer.position_next == start + written
        applied, head, claim = both.positions()
        assert applied == taken <= head <= written <= claim <= taken + capacity
        assert head >= published
        assert claim >= claim_before, "a claim is never taken back"
        claim_before = claim
    both.writer.publish()
    assert both.reader.poll() == numbered(taken, written - taken)


# ---- wrapping ----


@pytest.mark.parametrize("start", [0, NEAR_2_63])
def test_a_tiny_ring_goes_round_a_hundred_thousand_times(start: int) -> None:
    both = Ring(8, start)
    # 7 and 8 have no common factor: every slot is a first and a last one of some batch.
    batch = 7
    rounds = 100_000 * 8 // batch
    data = numbered(0, 1 << 14)
    records = [data[at * 64 : at * 64 + 64] for at in range(1 << 14)]
    append, publish, poll = both.writer.append, both.writer.publish, both.reader.poll
    position = 0
    for _ in range(rounds):
        at = position & 0x3FF8
        for record in records[at : at + batch]:
            append(record)
        publish()
        assert poll() == data[at * 64 : (at + batch) * 64]
        position += batch
    assert both.positions() == (position, position, both.positions()[2])
    assert both.writer.position_next == start + position


def test_positions_pass_2_to_the_63_without_a_seam() -> None:
    both = Ring(8, NEAR_2_63)
    for first in range(0, 400, 4):
        assert both.write(first, 4) == 4
        both.writer.publish()
        assert both.reader.poll() == numbered(first, 4)
    assert ring.positions(both.buffer)["head"] == NEAR_2_63 + 400 > 2**63


# ---- a full ring ----


@pytest.mark.parametrize("capacity", [8, 64, 4096])
def test_a_full_ring_takes_no_more_until_the_worker_frees_a_slot(capacity: int) -> None:
    both = Ring(capacity)
    assert both.write(0, capacity + 5) == capacity
    assert both.positions() == (0, capacity, capacity), "a producer that waits has published what it has"
    assert both.write(capacity, 1) == 0
    assert both.reader.poll(1) == numbered(0, 1)
    assert both.write(capacity, 5) == 1
    assert both.write(capacity + 1, 1) == 0
    both.writer.publish()
    assert both.reader.poll() == numbered(1, capacity)


def test_more_than_the_ring_holds_passes_through_it_as_the_worker_frees_it() -> None:
    both = Ring(16, max_wait_ns=20_000_000_000)
    total = 5000
    refused: list[int] = []

    def write() -> None:
        if both.write(0, total) != total:
            refused.append(1)
        both.writer.publish()

    producer = threading.Thread(target=write, daemon=True)
    producer.start()
    taken = 0
    deadline = time.monotonic() + 60
    while taken < total and time.monotonic() < deadline:
        data = both.reader.poll(5)
        assert misplaced(data, taken) == torn(data) == 0
        taken += len(data) // 64
        words.ring(both.own_bell, 0)
    producer.join(20)
    assert (taken, refused) == (total, [])


def test_a_producer_that_waits_is_woken_by_its_bell() -> None:
    # The wait is a minute: only the bell can end it in time.
    both = Ring(8, max_wait_ns=60_000_000_000)
    both.write(0, 8)
    producer = threading.Thread(target=both.write, args=(8, 1), daemon=True)
    producer.start()
    while words.load(both.own_bell, 0) >> 32 == 0:
        time.sleep(0.001)
    assert both.reader.poll(1) == numbered(0, 1)
    words.ring(both.own_bell, 0)
    producer.join(20)
    assert not producer.is_alive()
    both.writer.publish()
    assert both.reader.poll() == numbered(1, 8)


def test_a_producer_waits_no_longer_than_it_was_told() -> None:
    both = Ring(8, max_wait_ns=30_000_000)
    both.write(0, 8)
    before = time.monotonic_ns()
    assert both.write(8, 1) == 0
    assert time.monotonic_ns() - before >= 30_000_000
    assert words.load(both.own_bell, 0) == 0, "nobody waits any more"


def test_publishing_wakes_a_worker_that_announced_its_sleep() -> None:
    both = Ring(8)
    before = words.load(both.worker_bell, 0)
    both.write(0, 1)
    both.writer.publish()
    assert words.load(both.worker_bell, 0) == before, "nobody slept: no bell was rung"
    words.store(both.worker_bell, 0, 1 << 32 | before)
    both.write(1, 1)
    both.writer.publish()
    assert words.load(both.worker_bell, 0) == before + 1, "rung once, and the flag is taken back"


def test_taking_a_ring_over_wakes_the_worker_even_if_it_has_not_announced_its_sleep() -> None:
    both = Ring(8)
    before = words.load(both.worker_bell, 0)
    both.another_writer().recover()
    assert words.load(both.worker_bell, 0) == before + 1


def test_nothing_can_be_written_before_the_ring_is_taken_over() -> None:
    both = Ring(8)
    with pytest.raises(ValueError, match="recover"):
        both.another_writer().append(numbered(0, 1))


# ---- taking over from a dead producer ----


@pytest.mark.parametrize("start", [0, 5, NEAR_2_63])
@pytest.mark.parametrize("capacity", [8, 64])
@pytest.mark.parametrize("unpublished", [0, 1, 2, 3, 20])
def test_what_a_dead_producer_claimed_and_did_not_publish_becomes_pads(
    capacity: int, start: int, unpublished: int
) -> None:
    both = Ring(capacity, start)
    both.write(0, 3)
    both.writer.publish()
    both.reader.poll()
    # Its last records are written, perhaps half; that they were never published is all that is known.
    written = both.write(3, unpublished)
    _, head, claim = both.positions()
    both.writer = both.another_writer()
    pads = both.writer.recover()
    assert pads == claim - head
    assert both.positions()[1:] == (claim, claim), "they are published before anything else is written"
    data = both.reader.poll()
    # The chunks that it published itself are whole.
    whole = head - 3
    assert 0 <= whole <= written
    assert data[: whole * 64] == numbered(3, whole)
    assert unpack(data[whole * 64 :]) == [Record(ROW_NONE, PAD)] * pads
    assert both.write(1000, 5) == 5
    both.writer.publish()
    assert both.reader.poll() == numbered(1000, 5)


def test_a_half_written_record_never_passes_for_a_whole_one() -> None:
    both = Ring(8)
    both.write(0, 1)
    slot = 1024
    both.buffer[slot : slot + 32] = b"\xff" * 32
    heir = both.another_writer()
    assert heir.recover() == 2
    assert unpack(both.reader.poll()) == [Record(ROW_NONE, PAD)] * 2


def test_a_producer_that_died_with_a_full_ring_leaves_no_pads() -> None:
    both = Ring(8)
    assert both.write(0, 9) == 8
    heir = both.another_writer()
    assert heir.recover() == 0
    assert not heir.append(numbered(8, 1))
    assert both.reader.poll() == numbered(0, 8)
    assert heir.append(numbered(8, 1))


def test_a_producer_that_has_not_taken_the_ring_over_cannot_write() -> None:
    both = Ring(8)
    both.write(0, 1)
    heir = both.another_writer()
    before = bytes(both.buffer)
    with pytest.raises(ValueError, match=r"call recover\(\) first"):
        heir.append(numbered(1, 1))
    heir.publish()
    assert bytes(both.buffer) == before


def test_taking_over_wakes_a_worker_that_the_dead_producer_may_have_forgotten() -> None:
    both = Ring(8)
    woken: list[bool] = []
    waiter = threading.Thread(
        target=lambda: woken.append(words.wait(both.worker_bell, 0, both.buffer, 256, 0, 60_000_000_000)), daemon=True
    )
    waiter.start()
    while words.load(both.worker_bell, 0) >> 32 == 0:
        time.sleep(0.001)
    # Published, the flag taken back, and dead before the wake.
    both.write(0, 1)
    words.store(both.worker_bell, 0, 0)
    words.store(both.buffer, 256, 1)
    time.sleep(0.02)
    both.another_writer().recover()
    waiter.join(20)
    assert woken == [True]


def test_recovering_twice_pads_once() -> None:
    both = Ring(64)
    both.write(0, 1)
    assert both.another_writer().recover() == 16
    assert both.another_writer().recover() == 0


# ---- looking on, and misuse ----


def test_positions_tell_how_far_everybody_is() -> None:
    both = Ring(64, start=1000)
    both.write(0, 20)
    both.writer.publish()
    both.reader.poll(7)
    readonly = memoryview(both.buffer).toreadonly()
    assert ring.positions(readonly) == {"head": 1020, "claim": 1032, "applied": 1007, "capacity": 64, "ring_id": 7}


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_record_of_another_length_is_refused(length: int) -> None:
    both = Ring(8)
    with pytest.raises(ValueError, match=f"64 bytes, not {length}"):
        both.writer.append(bytes(length))
    both.writer.publish()
    assert both.reader.poll() == b""


@pytest.mark.parametrize("capacity", [0, 4, 7, 12, 2**31, -8])
def test_a_capacity_that_is_no_power_of_two_in_range_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=str(capacity)):
        ring.size(capacity)


def test_memory_that_holds_no_ring_is_refused() -> None:
    empty = memory(ring.size(8))
    bell = memory(64)
    for use in (
        lambda: ring.positions(empty),
        lambda: RingWriter(empty, bell, bell),
        lambda: RingReader(empty),
        lambda: ring.Tap(empty),
    ):
        with pytest.raises(ValueError, match="no ring"):
            use()


def test_a_ring_larger_than_its_memory_is_refused() -> None:
    buffer = memory(ring.size(64))
    ring.format(buffer, 64, 0)
    with pytest.raises(ValueError, match="shorter than the ring"):
        ring.positions(memoryview(buffer)[: ring.size(64) - 64])
    with pytest.raises(ValueError, match="are needed"):
        ring.format(memoryview(buffer)[: ring.size(64) - 64], 64, 0)

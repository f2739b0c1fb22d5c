"""Places for tethered readers: sixteen, each held by a live process, and taken from a dead one."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corelab.memory import memory
from corelab.numbered import numbered

from openbell.core import ring, tether
from openbell.core.ring import RingReader, RingWriter
from openbell.errors import FeedError, FeedGone, TooManyConsumers
from openbell.memory import consumers as places
from openbell.memory import generation as generations
from openbell.memory import runtime
from openbell.memory.consumers import SLOTS, Consumer, Consumers
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock, is_held
from openbell.memory.names import CONSUMERS, consumer_lock
from openbell.memory.segment import Kind
from openbell.memory.shape import Shape
from openbell.monitor.consumers import read_consumers

SMALL = Shape(receivers=1, workers=2, symbols_capacity=64, ring_capacity=64)

READER = r"""
import os, sys, time
from pathlib import Path
from openbell.memory.consumers import Consumer
from openbell.memory.generation import Generation

generation = Generation(Path(sys.argv[1]), int(sys.argv[2]))
consumer = Consumer.claim(generation, sys.argv[3])
for worker in range(2):
    consumer.tether(0, worker).join()
if sys.argv[4] == "forks" and os.fork() == 0:
    os.write(1, f"child {os.getpid()} {consumer.held}\n".encode())
    time.sleep(60)
    os._exit(0)
# In one piece: a child may speak at the same time.
os.write(1, f"joined {consumer.index}\n".encode())
time.sleep(60)
"""


@pytest.fixture
def lock(runtime_dir: Path, feed_name: str) -> Iterator[RoleLock]:
    held = generations.claim(feed_name)
    yield held
    generations.reclaim(held)
    held.release(remove=True)
    runtime.remove_if_empty(held.path.parent)


@pytest.fixture
def feed(lock: RoleLock) -> Iterator[Generation]:
    made = Generation.create(lock.path.parent, SMALL, b"{}")
    yield made
    made.close()


def mapped(feed: Generation) -> Generation:
    """Return the same generation as another process would map it."""
    return Generation(feed.directory, feed.number)


def writer(feed: Generation, worker: int, max_hold_ns: int = 0) -> RingWriter:
    """Return the producer of a ring, which cuts whoever is in its way at once."""
    shared = Consumers(feed.body(CONSUMERS))
    made = RingWriter(
        feed.body(f"ring-0-{worker}"),
        memory(64),
        memory(64),
        1000,
        tethers=shared.tethers(0, worker),
        readers_bell=shared.published_bell,
        max_hold_ns=max_hold_ns,
    )
    made.recover()
    return made


@contextmanager
def reader(feed: Generation, label: str = "", how: str = "reads") -> Iterator[subprocess.Popen[str]]:
    """Run a process that has a place and holds both rings; it is killed on the way out, if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(feed.directory), str(feed.number), label, how],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> list[str]:
    """Return the words of the next line that a process printed."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def states(feed: Generation, slot: int) -> list[str]:
    """Return the state of a slot at each ring."""
    return [tether.states(feed.body(CONSUMERS), number)[slot][0] for number in range(2)]


def test_a_process_may_have_several_places_each_of_its_own(feed: Generation) -> None:
    with Consumer.claim(feed, "one") as first, Consumer.claim(feed, "two") as second:
        assert {first.index, second.index} == {0, 1}
        seen = Consumers(feed.body(CONSUMERS))
        assert [seen.slot(index).pid for index in range(3)] == [os.getpid(), os.getpid(), 0]
        assert [seen.slot(index).label for index in range(3)] == ["one", "two", ""]
        assert is_held(feed.path / consumer_lock(1))
    assert [seen.slot(index).pid for index in range(2)] == [0, 0]
    assert not is_held(feed.path / consumer_lock(1))


def test_a_place_that_was_given_back_is_the_next_readers(feed: Generation) -> None:
    first = Consumer.claim(feed)
    hold = first.tether(0, 1)
    hold.join()
    first.close()
    first.close()
    assert states(feed, 0) == ["free", "free"]
    assert not hold.gating
    with pytest.raises(FeedError, match="given its slot back"):
        first.tether(0, 0)
    with Consumer.claim(feed) as second:
        assert second.index == 0
        assert second.tether(0, 1) is second.tether(0, 1)


def test_the_seventeenth_reader_is_told_who_has_the_places(feed: Generation) -> None:
    taken = [Consumer.claim(feed, f"reader {number}") for number in range(SLOTS)]
    try:
        with pytest.raises(TooManyConsumers, match=rf"all 16 .*pid {os.getpid()} \(reader 15\).*read with a tap"):
            Consumer.claim(feed)
        taken[7].close()
        with Consumer.claim(feed) as late:
            assert late.index == 7
    finally:
        for each in taken:
            each.close()


def test_the_place_of_a_killed_reader_is_freed_and_the_death_counted(feed: Generation) -> None:
    with reader(feed, "strategy 9") as process:
        assert line(process) == ["joined", "0"]
        assert states(feed, 0) == ["active", "active"]
        assert places.reap(feed) == [], "it lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert places.reap(feed) == [(0, process.pid, "strategy 9")]
    assert states(feed, 0) == ["free", "free"]
    assert places.reap(feed) == []
    found = read_consumers(feed, [0, 0])
    assert (found.died, found.readers) == (1, ())


def test_a_reader_takes_the_place_of_a_dead_one_without_waiting_for_the_supervisor(feed: Generation) -> None:
    with reader(feed) as process:
        assert line(process) == ["joined", "0"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Consumer.claim(feed, "next") as consumer:
        assert consumer.index == 0
        assert states(feed, 0) == ["free", "free"]
        assert read_consumers(feed, [0, 0]).died == 1
        assert consumer.tether(0, 0).join() == 0


def test_a_reader_that_is_thrown_away_is_as_good_as_dead(feed: Generation) -> None:
    consumer = Consumer.claim(feed, "careless")
    consumer.tether(0, 0).join()
    del consumer
    gc.collect()
    assert places.reap(feed) == [(0, os.getpid(), "careless")]


def test_a_forked_child_neither_has_the_place_nor_keeps_it_from_being_freed(feed: Generation) -> None:
    with reader(feed, "parent", "forks") as process:
        words = [line(process), line(process)]
        child = next(each for each in words if each[0] == "child")
        assert child[2] == "False"
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert places.reap(feed) == [(0, process.pid, "parent")]
        finally:
            os.kill(int(child[1]), signal.SIGKILL)


def test_a_generation_that_is_over_is_told_and_its_readers_block_no_start(feed: Generation, lock: RoleLock) -> None:
    with reader(feed) as process:
        assert line(process)[0] == "joined"
        seen = mapped(feed)
        consumer = Consumer.claim(seen)
        hold = consumer.tether(0, 0)
        hold.join()
        feed.mark_dead()
        feed.unlink()
        began = time.monotonic()
        assert generations.reclaim(lock, 60.0) == 0
        assert time.monotonic() - began < 30.0, "it waits for nobody"
        assert process.poll() is None
        with pytest.raises(FeedGone, match="attach again"):
            hold.read()
        with pytest.raises(FeedGone, match="attach again"):
            Consumer.claim(seen)
        consumer.close()
        seen.close()


def test_what_a_killed_run_left_is_told_its_readers_as_well(lock: RoleLock) -> None:
    left = Generation.create(lock.path.parent, SMALL, b"{}")
    consumer = Consumer.claim(mapped(left))
    hold = consumer.tether(0, 1)
    hold.join()
    assert generations.reclaim(lock) == 1
    with pytest.raises(FeedGone):
        hold.read()
    consumer.close()
    left.close()


def test_the_status_says_how_far_readers_are_behind_and_what_they_cost(feed: Generation) -> None:
    writers = [writer(feed, worker) for worker in range(2)]
    workers = [RingReader(feed.body(f"ring-0-{worker}")) for worker in range(2)]

    def write(worker: int, count: int) -> None:
        for _ in range(count):
            assert writers[worker].append(numbered(writers[worker].position_next, 1))
            writers[worker].publish()
            workers[worker].poll()

    def heads() -> list[int]:
        return [ring.positions(feed.body(f"ring-0-{worker}"))["head"] for worker in range(2)]

    with Consumer.claim(feed, "first") as first:
        for worker in range(2):
            first.tether(0, worker).join()
        write(0, 40)
        write(1, 7)
        (seen,) = read_consumers(feed, heads()).readers
        assert (seen.label, seen.pid, seen.rings, seen.cut, seen.lag, seen.cuts) == ("first", os.getpid(), 2, 0, 40, 0)
        write(0, 100)
        (seen,) = read_consumers(feed, heads()).readers
        assert (seen.rings, seen.cut, seen.lag, seen.cuts) == (1, 1, 7, 1)
    with Consumer.claim(feed, "second") as second:
        assert second.index == 0
        found = read_consumers(mapped(feed), heads())
        assert [(each.label, each.cuts, each.rings) for each in found.readers] == [("second", 0, 0)]
        assert (found.cuts, found.died, found.places) == (1, 0, 16)


def test_a_label_is_cut_to_what_fits_and_never_breaks(feed: Generation) -> None:
    with Consumer.claim(feed, "指" * 40) as consumer:
        assert Consumers(feed.body(CONSUMERS)).slot(consumer.index).label == "指" * 21


def test_a_segment_that_is_mapped_to_be_read_is_mapped_again_to_be_written(feed: Generation) -> None:
    seen = mapped(feed)
    before = seen.open(CONSUMERS, Kind.CONSUMERS)
    assert before.readonly
    with Consumer.claim(seen) as consumer:
        assert Consumers(before).slot(consumer.index).pid == os.getpid(), "who borrowed from the first mapping keeps it"
    del before
    seen.close()


@pytest.mark.parametrize(("receiver", "worker"), [(0, 2), (1, 0), (-1, 0)])
def test_a_ring_that_the_feed_has_not_is_refused(feed: Generation, receiver: int, worker: int) -> None:
    with Consumer.claim(feed) as consumer, pytest.raises(IndexError, match="1 x 2"):
        consumer.tether(receiver, worker)

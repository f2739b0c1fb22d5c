"""Waiting for news of rings: whoever waits is told, whatever he waits by, and the writers hardly notice."""

from __future__ import annotations

import struct
import threading
import time

import pytest
from corelab.numbered import numbered
from corelab.tethered import TetheredRing

from openbell.core import ring, tether, words
from openbell.core.ring import RingReader
from openbell.core.watch import WAITS, Watch

SECOND = 1_000_000_000
LONG = 30 * SECOND
"""So long that no test should ever wait for it: who comes back after it was not woken."""


def bell(both: TetheredRing) -> memoryview:
    """Return the bell that is rung behind a head."""
    return memoryview(both.consumers)[tether.PUBLISHED_BELL_AT : tether.PUBLISHED_BELL_AT + tether.BELL_BYTES]


def announced(both: TetheredRing) -> bool:
    """Say whether a reader has asked to be woken."""
    return bool(struct.unpack_from("<II", bell(both))[1])


def await_announced(both: TetheredRing) -> None:
    """Wait until a reader sleeps, or is about to."""
    deadline = time.monotonic() + 30
    while not announced(both):
        assert time.monotonic() < deadline, "nobody has gone to sleep"
        time.sleep(0.001)


@pytest.mark.parametrize("wait", WAITS)
def test_news_that_are_there_are_told_once(wait: str) -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], bell=bell(both), wait=wait)  # type: ignore[arg-type]
    assert not watch.wait(0)
    both.write(3)
    assert watch.wait(LONG)
    assert not watch.wait(1_000_000)
    both.write(1)
    watch.mark()
    assert not watch.wait(1_000_000)


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("rung", [True, False])
def test_who_waits_is_told_when_something_comes(wait: str, rung: bool) -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], bell=bell(both) if rung else None, wait=wait)  # type: ignore[arg-type]
    told = []
    waiter = threading.Thread(target=lambda: told.append(watch.wait(LONG)))
    waiter.start()
    if rung and wait in ("park", "adaptive"):
        await_announced(both)
    both.write(1)
    waiter.join(20)
    assert told == [True]


def test_a_batch_that_was_applied_is_news_of_its_own() -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], "applied")
    both.write(3, apply=False)
    assert not watch.wait(0)
    both.worker.poll()
    assert watch.wait(LONG)


def test_news_of_any_ring_are_told() -> None:
    rings = [TetheredRing(8) for _ in range(20)]
    watch = Watch([each.buffer for each in rings])
    for each in (rings[19], rings[0], rings[7]):
        each.write(1)
        assert watch.wait(LONG)
        assert not watch.wait(0)


def test_all_who_sleep_on_the_bell_are_woken_by_one_ring() -> None:
    both = TetheredRing()
    told: list[bool] = []

    def wait() -> None:
        watch = Watch([both.buffer], bell=bell(both), wait="park")
        started.wait()
        told.append(watch.wait(LONG))

    started = threading.Barrier(9)
    waiters = [threading.Thread(target=wait) for _ in range(8)]
    for each in waiters:
        each.start()
    started.wait()
    await_announced(both)
    both.write(1)
    for each in waiters:
        each.join(20)
    assert told == [True] * 8


def test_a_reader_in_a_steady_flow_does_not_ask_to_be_woken() -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], bell=bell(both), wait="park")
    for _ in range(50):
        both.write(1)
        assert watch.wait(LONG)
        # Nothing new: the first nap is taken without a word.
        assert not watch.wait(1)
    assert not announced(both)
    count = struct.unpack_from("<I", bell(both))[0]
    assert not watch.wait(300_000_000)
    assert announced(both), "and asks when nothing comes"
    both.write(1)
    assert struct.unpack_from("<I", bell(both))[0] == count + 1
    both.write(1)
    assert struct.unpack_from("<I", bell(both))[0] == count + 1, "it costs the writer one wake-up"


def test_the_end_of_the_generation_ends_every_wait() -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], bell=bell(both), wait="park")
    told = []
    waiter = threading.Thread(target=lambda: told.append(watch.wait(LONG)))
    waiter.start()
    await_announced(both)
    tether.end(both.consumers)
    waiter.join(20)
    assert told == [False]
    assert watch.over
    assert not watch.wait(LONG)


def test_the_writer_that_takes_over_wakes_who_sleeps() -> None:
    both = TetheredRing()
    watch = Watch([both.buffer], bell=bell(both), wait="park")
    told = []
    waiter = threading.Thread(target=lambda: told.append(watch.wait(LONG)))
    waiter.start()
    await_announced(both)
    # What a producer leaves that was killed between its head and the bell.
    both.worker_bell[:8] = bytes(8)
    assert both.writer.append(numbered(0, 1))
    words.store(both.buffer, 256, 1)
    both.another_writer()
    waiter.join(20)
    assert told == [True]


@pytest.mark.parametrize(
    "make",
    [
        lambda both: Watch([]),
        lambda both: Watch([both.buffer], "claim"),  # type: ignore[arg-type]
        lambda both: Watch([both.buffer], wait="sleep"),  # type: ignore[arg-type]
        lambda both: Watch([bytes(4096)]),
        lambda both: Watch([both.buffer], bell=bytearray(8)),
    ],
)
def test_what_cannot_be_watched_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"ring|word|wait|buffer"):
        make(TetheredRing())


def test_a_ring_may_be_watched_read_only() -> None:
    both = TetheredRing()
    watch = Watch([memoryview(both.buffer).toreadonly()])
    RingReader(both.buffer)
    both.write(1)
    assert watch.wait(LONG)
    assert ring.positions(both.buffer)["head"] == 1

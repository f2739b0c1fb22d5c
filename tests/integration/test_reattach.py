"""A market that lives longer than its feed: the feed is stopped, and started again, while somebody reads it."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from feed_driver import Driver, configure

import openbell
from openbell.core import words
from openbell.errors import FeedError, FeedGone, FeedNotFound, InvalidArgument, LayoutMismatch
from openbell.memory.segment import LAYOUT_VERSION
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)


@contextmanager
def running(name: str) -> Iterator[Supervisor]:
    """Run a feed."""
    with Supervisor(configure(name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        yield supervisor


def mapped(name: str) -> int:
    """Return how many segments of a feed this process has mapped."""
    return Path("/proc/self/maps").read_text().count(f"/{name}/")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Run calls in other threads."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_a_market_goes_on_with_the_next_run_of_its_feed_if_it_was_asked_to(feed_name: str) -> None:
    with running(feed_name) as supervisor:
        market, other = openbell.attach(feed_name, reattach=True), openbell.attach(feed_name)
        driver = Driver(supervisor, symbols=3)
        driver.trade(300)
        driver.await_applied(market)
        symbol, first = driver.symbols[2], market.generation
        row, last, price = market.row(symbol), market.last, market[symbol].last
        assert first == other.generation == supervisor.generation.number
    with running(feed_name) as supervisor:
        # The same symbols, in other rows.
        driver = Driver(supervisor, symbols=3, backwards=True)
        assert market[symbol].trades == 0
        assert market.generation == supervisor.generation.number > first
        assert market.row(symbol) != row
        driver.trade(300)
        driver.await_applied(market)
        assert driver.differences(market) == []
        assert market.last is not last
        assert market.last[market.row(symbol)] == market[symbol].last
        # What was taken of the run before is what it was.
        assert last[row] == price
        for use in (other.snapshot, lambda: other.last, lambda: other.generation, other.status):
            with pytest.raises(FeedGone, match="attach again"):
                use()
        assert (market.alive, other.alive) == (True, False)
        del last
        assert mapped(feed_name)
    market.close()


def test_while_there_is_no_feed_every_call_says_so_and_looks_for_it_again(feed_name: str) -> None:
    with running(feed_name):
        market = openbell.attach(feed_name, reattach=True)
    for _ in range(2):
        assert not market.alive
        with pytest.raises(FeedGone, match=f"no feed '{feed_name}' is running.*looks for it again"):
            market.snapshot()
    assert repr(market) == f"<Market of feed '{feed_name}': gone>"
    with running(feed_name):
        assert market.alive
        assert repr(market) == f"<Market of feed '{feed_name}': live>"
        assert market.snapshot().symbols == ()
    market.close()
    assert not market.alive
    with pytest.raises(FeedError, match="closed"):
        market.snapshot()


def test_attaching_waits_for_a_feed_to_start(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with pytest.raises(FeedNotFound):
        openbell.attach(feed_name, wait_s=0.05)
    waiting = pool.submit(lambda: openbell.attach(feed_name, wait_s=30.0))
    with running(feed_name):
        market = waiting.result(20)
        assert isinstance(market, openbell.Market)
        assert market.alive
        market.close()


def test_a_call_waits_for_the_feed_to_start_again(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with running(feed_name):
        market = openbell.attach(feed_name, reattach=True, wait_s=30.0)
        first = market.generation
    waiting = pool.submit(lambda: market.generation)
    time.sleep(0.1)
    assert waiting.running()
    with running(feed_name) as supervisor:
        assert waiting.result(20) == supervisor.generation.number != first
    market.close()


def test_closing_ends_the_wait_of_another_thread(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with running(feed_name):
        market = openbell.attach(feed_name, reattach=True, wait_s=30.0)
    waiting = pool.submit(market.snapshot)
    time.sleep(0.1)
    market.close()
    with pytest.raises(FeedError, match="closed"):
        waiting.result(20)


def test_threads_read_on_over_restarts_and_what_is_over_is_unmapped(feed_name: str, pool: ThreadPoolExecutor) -> None:
    done = threading.Event()
    seen: list[set[int]] = [set() for _ in range(3)]

    def read(generations: set[int]) -> None:
        while not done.is_set():
            assert len(market.snapshot().symbols) <= 2
            market.status()
            generations.add(market.generation)

    try:
        with running(feed_name) as supervisor:
            numbers = {supervisor.generation.number}
            Driver(supervisor, symbols=2)
            market = openbell.attach(feed_name, reattach=True, wait_s=30.0)
            readers = [pool.submit(read, found) for found in seen]
            await_all(readers, seen, numbers)
        with running(feed_name) as supervisor:
            numbers.add(supervisor.generation.number)
            Driver(supervisor, symbols=2)
            await_all(readers, seen, numbers)
        with running(feed_name) as supervisor:
            numbers.add(supervisor.generation.number)
            await_all(readers, seen, numbers)
            done.set()
            for reader in readers:
                reader.result(20)
            maps = Path("/proc/self/maps").read_text()
            assert [number for number in numbers if f"/{feed_name}/{number}/" in maps] == [max(numbers)]
    finally:
        done.set()
    market.close()
    assert not mapped(feed_name)


def await_all(readers: list[Future[None]], seen: list[set[int]], numbers: set[int]) -> None:
    """Wait until each reader has read each of the generations."""
    deadline = time.monotonic() + 20
    while not all(found >= numbers for found in seen):
        assert time.monotonic() < deadline, seen
        for reader in readers:
            if reader.done():
                reader.result()
        time.sleep(0.005)


def test_a_next_run_of_another_layout_version_is_refused(feed_name: str) -> None:
    with running(feed_name):
        market = openbell.attach(feed_name, reattach=True)
    with running(feed_name) as supervisor:
        buffer = supervisor.generation.segments["control"].buffer
        words.store(buffer, 8, LAYOUT_VERSION + 1)
        assert not market.alive
        with pytest.raises(LayoutMismatch, match=f"version {LAYOUT_VERSION + 1}.*version {LAYOUT_VERSION}"):
            market.snapshot()
        words.store(buffer, 8, LAYOUT_VERSION)
        assert market.alive
    market.close()


def test_a_market_travels_with_how_it_was_attached(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with running(feed_name), openbell.attach(feed_name, reattach=True, wait_s=30.0) as market:
        copy = pickle.loads(pickle.dumps(market))
    waiting = pool.submit(lambda: copy.generation)
    with running(feed_name) as supervisor:
        assert waiting.result(20) == supervisor.generation.number
    copy.close()


@pytest.mark.parametrize("wait_s", [-1.0, float("nan")])
def test_a_time_that_is_none_is_refused(wait_s: float) -> None:
    with pytest.raises(InvalidArgument, match="wait_s must be a number of seconds from 0") as caught:
        openbell.attach("nobody", wait_s=wait_s)
    assert isinstance(caught.value, ValueError)


def test_live_columns_of_one_run_stay_as_they_were_at_its_end(feed_name: str) -> None:
    with running(feed_name) as supervisor:
        market = openbell.attach(feed_name, reattach=True)
        driver = Driver(supervisor, symbols=2)
        driver.trade(100)
        driver.await_applied(market)
        last, before = market.last, market.last.copy()
    with running(feed_name) as supervisor:
        driver = Driver(supervisor, symbols=2, seed=2)
        driver.trade(100)
        driver.await_applied(market)
        assert np.array_equal(last, before, equal_nan=True)
        assert not np.array_equal(market.last, before, equal_nan=True)
    market.close()

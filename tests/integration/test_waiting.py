"""Waiting for a market's news, in threads and in tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from feed_driver import Driver, configure
from feed_process import await_running, seconds_until_gone, supervisor_process

import openbell
from openbell.errors import FeedError, FeedGone, InvalidArgument
from openbell.memory import generation, runtime
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

FEED = "waiting"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Driver]]:
    """Run one feed for all tests that do not stop it."""
    directory = tmp_path_factory.mktemp("waiting") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(directory))
        with Supervisor(configure(FEED), receivers=False) as supervisor:
            supervisor.start()
            driver = Driver(supervisor, symbols=5)
            driver.trade(10)
            with openbell.attach(FEED) as market:
                driver.await_applied(market)
            yield directory, driver


@pytest.fixture
def driver(running: tuple[Path, Driver], monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(running[0]))
    return running[1]


@pytest.fixture
def market(driver: Driver) -> Iterator[openbell.Market]:
    with openbell.attach(FEED) as attached:
        # What the test before sent is no news of this one's.
        driver.await_applied(attached)
        yield attached


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Run calls in other threads."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_who_was_told_waits_for_what_comes_after(market: openbell.Market, driver: Driver) -> None:
    assert market.wait(20.0), "there is a market, and nobody has told this thread of it"
    assert not market.wait(0.02)
    assert not market.wait(0)
    driver.trade(1)
    assert market.wait(20.0)
    driver.await_applied(market)
    assert not market.wait(0.02)


def test_a_thread_that_sleeps_is_woken_by_news(
    market: openbell.Market, driver: Driver, pool: ThreadPoolExecutor
) -> None:
    def wait_twice() -> bool:
        return market.wait(20.0) and market.wait()

    waiting = pool.submit(wait_twice)
    time.sleep(0.1)
    assert waiting.running()
    driver.trade(1)
    assert waiting.result(20)


def test_every_thread_and_every_task_is_told_for_itself(
    market: openbell.Market, driver: Driver, pool: ThreadPoolExecutor
) -> None:
    async def first() -> bool:
        return await market.wait_async(20.0)

    async def scenario() -> list[bool]:
        return await asyncio.gather(*(asyncio.create_task(first()) for _ in range(5)))

    assert market.wait(20.0)
    assert pool.submit(market.wait, 20.0).result(20)
    assert asyncio.run(scenario()) == [True] * 5


def test_a_quiet_market_costs_a_waiter_next_to_nothing(market: openbell.Market, driver: Driver) -> None:
    assert market.wait(20.0)
    began = time.thread_time()
    assert not market.wait(1.0)
    assert time.thread_time() - began < 0.1


def test_the_loop_of_a_task_goes_on_while_it_waits(market: openbell.Market, driver: Driver) -> None:
    async def follow() -> int:
        await market.wait_async(20.0)
        count = 0
        while count < 3 and await market.wait_async(20.0):
            count += 1
        return count

    async def scenario() -> int:
        following = asyncio.create_task(follow())
        while not following.done():
            await asyncio.sleep(0.02)
            driver.trade(1)
        return following.result()

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) == 3


def test_a_task_waits_no_longer_than_it_said_and_can_be_cancelled(market: openbell.Market, driver: Driver) -> None:
    async def scenario() -> None:
        assert await market.wait_async(20.0)
        assert not await market.wait_async(0.05)
        waiting = asyncio.create_task(market.wait_async())
        await waiting
        again = asyncio.create_task(endless())
        await asyncio.sleep(0.05)
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again

    async def endless() -> None:
        while True:
            await market.wait_async()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_thread_that_waits_for_tasks_goes_when_none_does(market: openbell.Market, driver: Driver) -> None:
    async def scenario() -> None:
        await market.wait_async(20.0)
        assert not await market.wait_async(0.1)
        assert [each.name for each in threading.enumerate()].count("openbell-wait") >= 1

    asyncio.run(scenario())
    deadline = time.monotonic() + 20
    while "openbell-wait" in [each.name for each in threading.enumerate()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_news_without_end_leave_other_tasks_their_turn(market: openbell.Market, driver: Driver) -> None:
    async def follow() -> None:
        while True:
            driver.trade(1)
            await market.wait_async(20.0)

    async def scenario() -> None:
        following = asyncio.create_task(follow())
        for _ in range(20):
            await asyncio.sleep(0)
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_a_time_that_is_none_is_refused(market: openbell.Market, driver: Driver, timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="timeout must be a number of seconds from 0"):
        market.wait(timeout)
    with pytest.raises(InvalidArgument, match="timeout must be a number of seconds from 0"):
        asyncio.run(market.wait_async(timeout))


def test_the_end_of_the_feed_ends_the_wait(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with Supervisor(configure(feed_name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        market = openbell.attach(feed_name)
        waiting, task = pool.submit(market.wait), pool.submit(lambda: asyncio.run(market.wait_async()))
        time.sleep(0.1)
        assert waiting.running() and task.running()
    for each in (waiting, task):
        with pytest.raises(FeedGone, match="attach again"):
            each.result(20)
    market.close()
    with pytest.raises(FeedError, match="closed"):
        market.wait(1.0)


def test_the_death_of_the_feed_ends_the_wait(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        pids = [each.pid for each in market.status().processes]
        waiting, task = pool.submit(market.wait), pool.submit(lambda: asyncio.run(market.wait_async()))
        process.kill()
        for each in (waiting, task):
            with pytest.raises(FeedGone, match="attach again"):
                each.result(20)
        market.close()
        process.wait()
        seconds_until_gone(pids, 10.0)
    lock = generation.claim(feed_name)
    generation.reclaim(lock)
    lock.release(remove=True)
    runtime.remove_if_empty(lock.path.parent)


def test_a_restart_of_the_feed_is_news_and_its_absence_is_none(feed_name: str, pool: ThreadPoolExecutor) -> None:
    with Supervisor(configure(feed_name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        market = openbell.attach(feed_name, reattach=True)
        assert not market.wait(0.02), "nothing has come yet"

        async def wait_twice() -> bool:
            return not await market.wait_async(0.02) and await market.wait_async(30.0)

        waiting = pool.submit(lambda: market.wait(0.0) or market.wait(30.0))
        task = pool.submit(asyncio.run, wait_twice())
        time.sleep(0.1)
    assert not market.wait(0.05)
    assert waiting.running() and task.running()
    with Supervisor(configure(feed_name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        assert market.wait(20.0)
        assert waiting.result(20) and task.result(20)
        assert not market.wait(0.02)
    market.close()

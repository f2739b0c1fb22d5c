"""Tethered readers of a running feed: other processes that hold it up for their budget, or die, or are left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from feed_driver import Driver, configure

import openbell
from openbell.cli import main
from openbell.config import Config
from openbell.core import ring
from openbell.core.watch import Watch
from openbell.errors import FeedGone
from openbell.memory import feeds
from openbell.memory.consumers import Consumer, Consumers
from openbell.memory.names import CONSUMERS, ring_name
from openbell.memory.segment import Kind
from openbell.monitor.consumers import ConsumersStatus, read_consumers
from openbell.supervisor import Supervisor

SECOND = 1_000_000_000

READER = """
import sys, time
from openbell.memory import feeds
from openbell.memory.consumers import Consumer

generation = feeds.find(sys.argv[1])
consumer = Consumer.claim(generation, "forgetful")
consumer.tether(0, 0).join()
print("joined", flush=True)
time.sleep(60)
"""


@contextmanager
def reader(feed: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that joins a ring and never reads; it is killed on the way out, if it still lives."""
    process = subprocess.Popen([sys.executable, "-c", READER, feed], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def feed(feed_name: str) -> Iterator[tuple[Supervisor, Driver]]:
    config = configure(feed_name, workers=1, ring_capacity=256, symbols=64)
    with Supervisor(config, receivers=False) as supervisor:
        supervisor.start()
        yield supervisor, Driver(supervisor, 10)


def seen(supervisor: Supervisor) -> ConsumersStatus:
    """Return the state of the feed's tethered readers."""
    head = ring.positions(supervisor.generation.body(ring_name(0, 0)))["head"]
    return read_consumers(supervisor.generation, [head])


def await_true(supervisor: Supervisor, what: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Keep the supervisor at work until something holds."""
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        supervisor.poll(0.01)


def test_a_stalled_reader_is_cut_and_the_market_goes_on(feed: tuple[Supervisor, Driver]) -> None:
    supervisor, driver = feed
    config: Config = supervisor.config
    with reader(config.feed.name) as process:
        driver.trade(2000)
        found = seen(supervisor)
        assert (found.cuts, found.died) == (1, 0)
        assert found.held_ns >= config.feed.max_hold_ms * 1_000_000
        (each,) = found.readers
        assert (each.label, each.pid, each.rings, each.cut, each.cuts) == ("forgetful", process.pid, 0, 1, 1)
        with openbell.attach(config.feed.name) as market:
            driver.await_applied(market)
            assert driver.differences(market) == []
            assert market.status().consumers.cuts == 1


def test_the_place_of_a_reader_that_dies_is_freed_by_the_supervisor(feed: tuple[Supervisor, Driver]) -> None:
    supervisor, driver = feed
    with reader(supervisor.config.feed.name) as process:
        driver.trade(100)
        assert seen(supervisor).readers[0].rings == 1
        process.kill()
        process.wait()
        await_true(supervisor, lambda: seen(supervisor).died == 1)
        assert seen(supervisor).readers == ()
    driver.trade(2000)
    assert seen(supervisor).cuts == 0, "it was gone before it was in the way"


def test_a_reader_that_keeps_up_is_given_all_of_the_market(feed: tuple[Supervisor, Driver]) -> None:
    supervisor, driver = feed
    generation = feeds.find(supervisor.config.feed.name)
    with Consumer.claim(generation, "keeps up") as consumer:
        hold = consumer.tether(0, 0)
        began = hold.join()
        read = 0
        for _ in range(20):
            driver.trade(100)
            read += len(hold.read()) // 64
        assert (began, read) == (0, 2000)
        assert seen(supervisor).cuts == 0
    generation.close()


def test_readers_are_woken_by_receivers_and_by_workers(feed: tuple[Supervisor, Driver]) -> None:
    supervisor, driver = feed
    generation = feeds.find(supervisor.config.feed.name)
    shared = Consumers(generation.open(CONSUMERS, Kind.CONSUMERS, writable=True))
    body = generation.open(ring_name(0, 0), Kind.RING)
    published = Watch([body], bell=shared.published_bell, wait="park")
    applied = Watch([body], "applied", shared.applied_bell, wait="park")
    for _ in range(20):
        driver.trade(1)
        assert published.wait(20 * SECOND)
        assert applied.wait(20 * SECOND)
    del published, applied, body, shared
    generation.close()


def test_a_feed_that_stops_waits_for_no_reader_and_tells_them(feed_name: str) -> None:
    config = configure(feed_name, workers=1, ring_capacity=256, symbols=64)
    with Supervisor(config, receivers=False) as supervisor:
        supervisor.start()
        generation = feeds.find(feed_name)
        consumer = Consumer.claim(generation)
        hold = consumer.tether(0, 0)
        hold.join()
        watch = Watch([generation.body(ring_name(0, 0))], bell=Consumers(generation.body(CONSUMERS)).published_bell)
        supervisor.stop()
        assert not watch.wait(60 * SECOND)
        assert watch.over
        with pytest.raises(FeedGone):
            hold.read()
        # A reader of the run before stands in nobody's way.
        supervisor.start()
        assert feeds.find(feed_name).number != generation.number
        consumer.close()
        del watch
        generation.close()


def test_the_command_shows_them(
    feed: tuple[Supervisor, Driver], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, driver = feed
    name = supervisor.config.feed.name
    monkeypatch.setenv("COLUMNS", "160")
    driver.trade(10)
    with reader(name) as process:
        assert main(["status", name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])["feeds"][0]["consumers"]
        assert (found["places"], found["cuts"], found["died"]) == (16, 0, 0)
        (each,) = found["readers"]
        assert (each["pid"], each["label"], each["rings"], each["cut"]) == (process.pid, "forgetful", 1, 0)
        assert main(["status", name]) == 0
        shown = capsys.readouterr().out
        assert "tethered reader" in shown
        assert "forgetful" in shown

"""A supervisor that is interrupted, terminated or killed, at any moment, and what becomes of its feed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from feed_driver import Driver, configure
from feed_process import (
    RUN,
    RUN_IN_A_THREAD,
    RUN_WITH_RECEIVER,
    await_running,
    lives,
    seconds_until_gone,
    supervisor_process,
)

import openbell
from openbell.errors import FeedAlreadyRunning, FeedGone, FeedNotFound
from openbell.market import Market
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)


def workers_of(market: Market) -> list[int]:
    return [process.pid for process in market.status().processes if process.name.startswith("worker")]


def clean_up(name: str) -> None:
    """Start and stop the feed, which removes what a killed one left."""
    with Supervisor(configure(name), receivers=False) as supervisor:
        supervisor.start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_running_feed_in_order(number: signal.Signals, feed_name: str, runtime_dir: Path) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        workers = workers_of(market)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output.decode()
        assert output == b""
        assert not any(lives(pid) for pid in workers)
        assert list(runtime_dir.iterdir()) == []
        with pytest.raises(FeedGone):
            market.snapshot()
        market.close()


def test_a_feed_started_with_interrupts_ignored_can_be_interrupted(feed_name: str, runtime_dir: Path) -> None:
    with supervisor_process(feed_name, ignore_interrupts=True) as process:
        await_running(feed_name).close()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output.decode()
    assert list(runtime_dir.iterdir()) == []


def test_a_signal_at_any_moment_of_the_start_leaves_nothing(feed_name: str, runtime_dir: Path) -> None:
    generator = random.Random(5)
    for batch in range(3):
        with ExitStack() as stack:
            running: list[tuple[subprocess.Popen[bytes], float, signal.Signals]] = []
            began = time.monotonic()
            for index in range(4):
                process = stack.enter_context(supervisor_process(f"{feed_name}-{batch}-{index}", RUN_WITH_RECEIVER))
                moment = began + generator.uniform(0.2, 2.0)
                running.append((process, moment, generator.choice([signal.SIGINT, signal.SIGTERM])))
            for process, moment, number in sorted(running, key=lambda each: each[1]):
                time.sleep(max(0.0, moment - time.monotonic()))
                process.send_signal(number)
            for process, _, _ in running:
                process.communicate(timeout=60)
        assert list(runtime_dir.iterdir()) == []


def test_a_second_signal_makes_it_quick_and_leaves_nothing_either(feed_name: str, runtime_dir: Path) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        workers = workers_of(market)
        market.close()
        # One that does not listen would be waited for.
        os.kill(workers[0], signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        # The first one alone would give what does not listen several seconds.
        assert time.monotonic() - began < 5.0
        assert not any(lives(pid) for pid in workers)
    assert list(runtime_dir.iterdir()) == []


@pytest.mark.parametrize("source", [RUN, RUN_IN_A_THREAD], ids=["from the main thread", "from another thread"])
def test_workers_do_not_outlive_a_killed_supervisor(source: str, feed_name: str) -> None:
    with supervisor_process(feed_name, source) as process:
        market = await_running(feed_name)
        workers = workers_of(market)
        assert len(workers) == 2
        process.kill()
        seconds_until_gone(workers, 30.0)
        clean_up(feed_name)
        with pytest.raises(FeedGone):
            market.snapshot()
        market.close()


def test_a_reader_notices_that_the_supervisor_was_killed(feed_name: str) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        process.kill()
        process.wait()
        began = time.monotonic()
        while market.alive:
            assert time.monotonic() - began < 30
            time.sleep(0.01)
        for use in (market.snapshot, market.status, lambda: market["BTCUSDT"], lambda: market.last):
            with pytest.raises(FeedGone, match="killed"):
                use()
        assert market, "a market is no container that is true or false by what is in it"
        market.close()
        clean_up(feed_name)


def test_a_supervisor_that_is_only_stopped_is_not_taken_for_dead(
    feed_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        process.send_signal(signal.SIGSTOP)
        monkeypatch.chdir(tmp_path)
        time.sleep(1.5)
        assert market.alive
        assert not market.status().processes[0].healthy
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert not market.alive
        market.close()


def test_even_a_worker_that_is_stopped_does_not_outlive_its_supervisor(feed_name: str) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        workers = workers_of(market)
        market.close()
        os.kill(workers[0], signal.SIGSTOP)
        process.kill()
        assert seconds_until_gone(workers, 5.0) <= 2.0
        clean_up(feed_name)


def test_what_is_left_when_everything_is_killed_is_reclaimed_by_the_next_start(
    feed_name: str, runtime_dir: Path
) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        left = market.status().generation
        for pid in (process.pid, *workers_of(market)):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert (runtime_dir / feed_name / str(left)).is_dir()
        with pytest.raises(FeedNotFound):
            openbell.attach(feed_name)
        with Supervisor(configure(feed_name), receivers=False) as supervisor:
            supervisor.start()
            assert [path.name for path in (runtime_dir / feed_name).iterdir() if path.name.isdecimal()] == [
                str(supervisor.generation.number)
            ]
            with pytest.raises(FeedGone):
                market.snapshot()
            driver = Driver(supervisor, symbols=10)
            with openbell.attach(feed_name) as fresh:
                driver.trade(100)
                driver.await_applied(fresh)
                assert driver.differences(fresh) == []
        market.close()


def test_a_feed_of_another_process_is_refused_by_its_pid(feed_name: str) -> None:
    with supervisor_process(feed_name) as process:
        market = await_running(feed_name)
        with pytest.raises(FeedAlreadyRunning, match=f"pid {process.pid}"):
            Supervisor(configure(feed_name), receivers=False).start()
        assert market.alive
        assert all(lives(pid) for pid in workers_of(market))
        market.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_start_waits_for_the_processes_of_a_supervisor_that_was_just_killed(
    feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with supervisor_process(feed_name, RUN_IN_A_THREAD) as process:
        await_running(feed_name).close()
        process.kill()
        clean_up(feed_name)

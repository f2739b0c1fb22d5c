"""A feed's processes: started, watched, restarted and stopped by their supervisor."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from feed_driver import Driver, configure
from feed_process import lives, seconds_until_gone

import openbell
from openbell.config import Feed
from openbell.errors import FeedAlreadyRunning, FeedError, FeedGone, NoSpace, VendorError
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import worker_lock
from openbell.monitor.control import FeedState, ProcessState
from openbell.spawn import Process
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def feed(feed_name: str) -> Iterator[Supervisor]:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        yield supervisor


def pids(supervisor: Supervisor) -> dict[str, int]:
    control = supervisor.generation.open_control()
    return {name: slot.pid for name, slot in control.processes() if slot.state != ProcessState.UNUSED}


def await_new_worker(supervisor: Supervisor, index: int, old: int) -> float:
    """Poll until worker `index` runs under another pid; return how long that took."""
    began = time.monotonic()
    slot = supervisor.generation.open_control().worker(index)
    while slot.pid == old or slot.state != ProcessState.RUNNING:
        assert time.monotonic() - began < 60
        supervisor.poll(0.005)
    return time.monotonic() - began


def test_a_started_feed_runs_all_its_processes_and_their_hearts_beat(feed: Supervisor) -> None:
    control = feed.generation.open_control(writable=True)
    assert control.state == FeedState.RUNNING
    assert set(pids(feed)) == {"supervisor", "worker-0", "worker-1"}
    before = {name: slot.heartbeat_ns for name, slot in control.processes()}
    deadline = time.monotonic() + 30
    for name in pids(feed):
        while dict(control.processes())[name].heartbeat_ns == before[name]:
            assert time.monotonic() < deadline, f"the heart of {name} does not beat"
            feed.poll(0.02)


def test_processes_do_not_hear_the_terminals_interrupt(feed: Supervisor) -> None:
    workers = [pid for name, pid in pids(feed).items() if name != "supervisor"]
    assert all(os.getpgid(pid) != os.getpgid(0) for pid in workers)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.2)
    assert all(lives(pid) for pid in workers)


def test_nothing_secret_and_no_configuration_is_in_the_argument_lists(feed: Supervisor) -> None:
    for name, pid in pids(feed).items():
        if name != "supervisor":
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            assert b"openbell.worker" in arguments
            assert b"BTCUSDT" not in b" ".join(arguments)


def test_an_orderly_stop_applies_everything_and_leaves_nothing(
    feed: Supervisor, runtime_dir: Path, feed_name: str
) -> None:
    driver = Driver(feed)
    market = openbell.attach(feed_name)
    driver.trade(20_000)
    began = time.monotonic()
    assert feed.drain() == 0
    assert driver.differences(market) == []
    workers = [pid for name, pid in pids(feed).items() if name != "supervisor"]
    assert feed.stop() == 0
    assert time.monotonic() - began < 30
    assert not any(lives(pid) for pid in workers)
    assert list(runtime_dir.iterdir()) == []
    with pytest.raises(FeedGone):
        market.snapshot()
    market.close()


def test_a_feed_can_be_started_again_after_a_stop(feed: Supervisor, feed_name: str) -> None:
    first = feed.generation.number
    feed.stop()
    feed.start()
    assert feed.generation.number > first
    with openbell.attach(feed_name) as market:
        assert market.status().generation == feed.generation.number


def test_a_killed_worker_is_running_again_within_half_a_second(feed: Supervisor) -> None:
    took, bare = [], []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import openbell.worker.process"], check=True)
        bare.append(time.monotonic() - began)
        old = pids(feed)["worker-1"]
        os.kill(old, signal.SIGKILL)
        took.append(await_new_worker(feed, 1, old))
    # The middle one; and no faster than this machine, busy as it is, starts one at all.
    assert sorted(took)[1] < max(0.5, 2 * sorted(bare)[1])
    slot = feed.generation.open_control().worker(1)
    assert (slot.restarts, slot.exit_status) == (3, -signal.SIGKILL)


def test_workers_killed_in_mid_load_lose_and_repeat_nothing(feed: Supervisor, feed_name: str) -> None:
    driver = Driver(feed)
    generator = random.Random(3)
    with openbell.attach(feed_name) as market:
        for _ in range(12):
            driver.trade(generator.randrange(2_000, 6_000))
            index = generator.randrange(2)
            role = feed._workers[index]
            if role.process is not None and role.running:
                os.kill(role.process.pid, signal.SIGKILL)
            driver.trade(1_000)
        driver.await_applied(market)
        assert market.status().restarts >= 6
        assert driver.differences(market) == []
        assert all(market.status().applied == driver.sent for _ in range(3))


def test_a_worker_that_is_dead_when_the_feed_stops_is_started_once_more_to_finish(
    feed: Supervisor, feed_name: str
) -> None:
    driver = Driver(feed)
    market = openbell.attach(feed_name)
    for index in (0, 1):
        role = feed._workers[index]
        assert role.process is not None
        os.kill(role.process.pid, signal.SIGKILL)
    driver.trade(3_000)
    assert feed.drain() == 0
    assert driver.differences(market) == []
    market.close()


def test_a_worker_that_keeps_dying_is_started_less_and_less_often(feed: Supervisor) -> None:
    role = feed._workers[0]
    assert role.process is not None
    role._start = lambda mode: Process("openbell.no_such_module", [])
    os.kill(role.process.pid, signal.SIGKILL)
    slot = feed.generation.open_control().worker(0)
    began = time.monotonic()
    times: list[float] = []
    while len(times) < 9:
        assert time.monotonic() - began < 100
        feed.poll(0.02)
        # Who polls starts them: each is seen as it happens.
        times += [time.monotonic()] * (slot.restarts - len(times))
    # Five at once, then after 0.1, 0.2, 0.4 and 0.8 seconds.
    assert times[8] - times[4] > 1.4
    assert feed._workers[1].running


def test_a_worker_that_the_system_does_not_start_again_is_tried_later(
    feed: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    old = pids(feed)["worker-0"]
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        os.kill(old, signal.SIGKILL)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            feed.poll(0.01)
        slot = feed.generation.open_control().worker(0)
        assert (slot.state, slot.restarts) == (ProcessState.CRASHED, 0)
    refusals = [entry.message for entry in caplog.records if "worker-0 is not started again" in entry.message]
    assert 1 <= len(refusals) <= 6
    assert "Resource temporarily unavailable" in refusals[0]
    await_new_worker(feed, 0, old)
    assert slot.restarts == 1


def test_a_process_that_the_system_does_not_start_ends_the_start_with_the_reason(
    feed_name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(FeedError, match=r"cannot start openbell\.worker: Cannot allocate memory"):
        Supervisor(configure(feed_name), receivers=False).start()
    assert list(runtime_dir.iterdir()) == []


def test_what_was_asked_for_is_in_the_market_before_any_process_starts(
    feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[FeedState, tuple[str, ...]]] = []

    def start(*arguments: object) -> Process:
        with openbell.attach(feed_name) as market:
            seen.append((market.status().state, market.symbols))
        return Process(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("openbell.supervisor.Process", start)
    with Supervisor(configure(feed_name)) as supervisor:
        supervisor.start()
    assert seen[0] == (FeedState.STARTING, ("BTCUSDT",))


def test_a_process_that_is_in_use_is_never_without_a_pid(feed_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(configure(feed_name), receivers=False)

    def check() -> None:
        for name, slot in supervisor.generation.open_control().processes():
            assert slot.pid or slot.state == ProcessState.UNUSED, f"{name} is {slot.state}, and has no pid"

    def start(*arguments: object) -> Process:
        check()
        process = Process(*arguments)  # type: ignore[arg-type]
        check()
        return process

    monkeypatch.setattr("openbell.supervisor.Process", start)
    with supervisor:
        supervisor.start()
        check()


def test_a_process_that_cannot_start_at_all_ends_the_start_with_its_reason(
    feed_name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(feed_name)
    source = msgspec.structs.replace(config.sources[0], vendor="no_such_package.module:Vendor")
    with (
        Supervisor(msgspec.structs.replace(config, sources=(source,))) as supervisor,
        pytest.raises(VendorError, match="no_such_package"),
    ):
        supervisor.start()
    assert list(runtime_dir.iterdir()) == []


def test_a_process_that_breaks_before_it_runs_ends_the_start(
    feed_name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.supervisor.Process", lambda *_: Process("openbell.no_such_module", []))
    with (
        Supervisor(configure(feed_name), receivers=False) as supervisor,
        pytest.raises(FeedError, match=r"worker-\d of feed .* could not start \(exit status 1\)"),
    ):
        supervisor.start()
    assert list(runtime_dir.iterdir()) == []


def test_a_role_that_somebody_else_holds_is_refused_not_retried(
    feed_name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locks = Generation.create.__func__, []  # type: ignore[attr-defined]

    def create(directory: Path, *rest: object) -> Generation:
        locks.append(RoleLock(directory / worker_lock(0)))
        locks[0].acquire()
        made: Generation = real(Generation, directory, *rest)
        return made

    monkeypatch.setattr(Generation, "create", create)
    with (
        Supervisor(configure(feed_name), receivers=False) as supervisor,
        pytest.raises(FeedAlreadyRunning, match=f"worker-0 .*pid {os.getpid()}"),
    ):
        supervisor.start()
    locks[0].release()
    assert list(runtime_dir.iterdir()) == []


def test_a_running_feed_is_not_started_twice(feed: Supervisor, feed_name: str) -> None:
    with pytest.raises(FeedAlreadyRunning, match=f"'{feed_name}' is already running \\(pid {os.getpid()}\\)"):
        Supervisor(configure(feed_name), receivers=False).start()
    assert feed.generation.open_control().state == FeedState.RUNNING
    assert all(lives(pid) for pid in pids(feed).values())


def test_two_feeds_run_side_by_side(feed: Supervisor, feed_name: str) -> None:
    other_name = f"{feed_name}-2"
    with Supervisor(configure(other_name, workers=1), receivers=False) as other:
        other.start()
        drivers = [Driver(feed, symbols=20, seed=1), Driver(other, symbols=30, seed=2)]
        for _ in range(5):
            for driver in drivers:
                driver.trade(500)
        for name, driver in zip((feed_name, other_name), drivers, strict=True):
            with openbell.attach(name) as market:
                driver.await_applied(market)
                assert driver.differences(market) == []
        with pytest.raises(openbell.OpenBellError, match=f"running: {feed_name}, {other_name}"):
            openbell.attach("a-third")


def test_a_feed_that_does_not_fit_is_refused_before_anything_starts(feed_name: str, runtime_dir: Path) -> None:
    status = os.statvfs(runtime_dir)
    if status.f_blocks * status.f_frsize >= 4 << 40:
        pytest.skip("this machine's shared memory holds 4 TiB: nothing is too large for it")
    config = configure(feed_name)
    huge = Feed(name=feed_name, workers=64, ring_capacity=1 << 30)
    with pytest.raises(NoSpace, match=r"needs 4,\d{3},\d{3}.\d MiB .* is free"):
        Supervisor(msgspec.structs.replace(config, feed=huge), receivers=False).start()
    assert list(runtime_dir.iterdir()) == []


def test_stopping_is_harmless_before_a_start_and_twice(feed_name: str) -> None:
    supervisor = Supervisor(configure(feed_name), receivers=False)
    assert supervisor.stop() == 0
    supervisor.start()
    assert supervisor.stop() == 0
    assert supervisor.stop() == 0
    with pytest.raises(FeedError, match="is not started"):
        _ = supervisor.generation


def test_a_worker_that_does_not_listen_is_killed_in_the_end(feed: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbell.supervisor.WORKERS_STOP_S", 0.3)
    stopped = pids(feed)["worker-0"]
    os.kill(stopped, signal.SIGSTOP)
    assert feed.stop() == 0
    assert seconds_until_gone([stopped], 1.0) < 1.0


def test_a_failure_in_mid_start_takes_everything_down(
    feed_name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Process] = []

    def start(*arguments: object) -> Process:
        if started:
            raise KeyboardInterrupt
        started.append(Process(*arguments))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr("openbell.supervisor.Process", start)
    with pytest.raises(KeyboardInterrupt):
        Supervisor(configure(feed_name), receivers=False).start()
    assert not lives(started[0].pid)
    assert list(runtime_dir.iterdir()) == []

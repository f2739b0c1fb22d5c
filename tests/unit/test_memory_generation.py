"""Generations: everything or nothing, and nothing left of the dead."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openbell.core import ring, words
from openbell.core.bars import BarsReader
from openbell.core.snapshot import SnapshotReader
from openbell.core.symbols import SymbolTable
from openbell.errors import ConfigError, FeedAlreadyRunning, FeedError, FeedNotFound, NoSpace
from openbell.memory import feeds, runtime
from openbell.memory import generation as generations
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.segment import LAYOUT_VERSION, Kind, Segment, State
from openbell.memory.shape import Shape
from openbell.memory.space import MEBIBYTE
from openbell.monitor.control import ConnectionState, FeedState

SMALL = Shape(receivers=2, workers=3, symbols_capacity=256, ring_capacity=64)


@pytest.fixture
def lock(runtime_dir: Path, feed_name: str) -> Iterator[RoleLock]:
    held = generations.claim(feed_name)
    yield held
    generations.reclaim(held)
    held.release(remove=True)
    runtime.remove_if_empty(held.path.parent)


def test_a_generation_has_all_its_segments_formatted_and_private(lock: RoleLock) -> None:
    directory = lock.path.parent
    made = Generation.create(directory, SMALL, b"{}")
    assert set(made.segments) == {"control", "symbols", "snapshot", "bars", "history", "subscriptions", "consumers"} | {
        f"ring-{r}-{w}" for r in (0, 1) for w in (0, 1, 2)
    }
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.path.iterdir()} == {0o600}
    assert runtime.read_current(directory) == made.number
    control = made.open_control()
    assert (control.receivers, control.workers, control.state) == (2, 3, FeedState.STARTING)
    assert ring.positions(made.body("ring-1-2"))["capacity"] == 64
    assert SnapshotReader(made.body("snapshot")).data_rows == SMALL.rows
    bars = BarsReader(made.body("bars"), made.body("snapshot"))
    assert (bars.rows, bars.kept) == (SMALL.rows, SMALL.bars)
    assert SymbolTable(made.body("symbols")).shards == 3
    made.close()


def test_a_feed_without_bars_has_no_segment_for_them(lock: RoleLock) -> None:
    made = Generation.create(lock.path.parent, replace(SMALL, bars=0), b"{}")
    assert "bars" not in made.segments
    assert not made.has("bars")
    assert made.has("snapshot")
    made.unlink()
    made.close()


def test_all_connections_are_there_before_a_reader_can_attach(lock: RoleLock) -> None:
    made = Generation.create(lock.path.parent, SMALL, b"{}", labels=["one 1/2", "one 2/2"])
    try:
        seen = made.open_control()
        assert [seen.connection(index).label for index in range(3)] == ["one 1/2", "one 2/2", ""]
        expected = [ConnectionState.CONNECTING, ConnectionState.CONNECTING, ConnectionState.UNUSED]
        assert [seen.connection(index).state for index in range(3)] == expected
    finally:
        made.unlink()
        made.close()


def test_two_generations_never_have_the_same_number(lock: RoleLock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 5)
    first = Generation.create(lock.path.parent, SMALL, b"{}")
    second = Generation.create(lock.path.parent, SMALL, b"{}")
    assert second.number > first.number
    first.close()
    second.close()


def test_no_room_says_what_is_needed_and_what_to_do_and_leaves_nothing(lock: RoleLock) -> None:
    directory = lock.path.parent
    before = sorted(directory.iterdir())
    shape = Shape(workers=4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(NoSpace) as caught:
            Generation.create(directory, shape, b"{}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(directory.iterdir()) == before
    message = str(caught.value)
    assert f"needs {shape.total_bytes / MEBIBYTE:.1f} MiB" in message
    for remedy in ("is free", "--shm-size=128m", "ring_capacity (now 65536)", "bars (now 20)", "OPENBELL_RUNTIME_DIR"):
        assert remedy in message


def test_what_cannot_fit_is_not_even_tried(lock: RoleLock, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(*_: object) -> None:
        raise AssertionError("memory was reserved that cannot be enough")

    monkeypatch.setattr(generations, "free_bytes", lambda directory: 1 << 20)
    monkeypatch.setattr(Segment, "create", tried)
    with pytest.raises(NoSpace, match="not tried"):
        Generation.create(lock.path.parent, Shape(workers=4), b"{}")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_any_other_refusal_of_the_system_leaves_nothing_either(
    lock: RoleLock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    directory = lock.path.parent
    before = sorted(directory.iterdir())
    real, calls = os.open, []

    def refuse_the_fourth(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            calls.append(path)
            if len(calls) == 4:
                raise OSError(number, os.strerror(number))
        return real(path, flags, mode)

    with monkeypatch.context() as patch, pytest.raises(FeedError, match=os.strerror(number)):
        patch.setattr(os, "open", refuse_the_fourth)
        Generation.create(directory, SMALL, b"{}")
    assert sorted(directory.iterdir()) == before


def test_what_a_killed_run_left_is_marked_dead_and_removed(lock: RoleLock) -> None:
    directory = lock.path.parent
    left = Generation.create(directory, SMALL, b"{}")
    (left.path / "symbols.lock").touch()
    (directory / "worker-0.lock").touch()
    reader = Segment.open(left.path / "snapshot", Kind.SNAPSHOT, left.number)
    assert generations.reclaim(lock) == 1
    assert reader.state is State.DEAD
    assert [path.name for path in directory.iterdir()] == ["lock"]
    reader.close()
    left.close()


def test_dead_feeds_that_nobody_will_start_again_are_removed_and_no_others(
    runtime_dir: Path, lock: RoleLock, caplog: pytest.LogCaptureFixture
) -> None:
    def left_by_a_killed_feed(name: str) -> Path:
        held = generations.claim(name)
        Generation.create(held.path.parent, SMALL, b"{}").close()
        held.release()
        return held.path.parent

    dead = left_by_a_killed_feed("demo-1")
    others = [left_by_a_killed_feed(name) for name in ("demo-2", "demo-3", "demo-hk", "cn")]
    (runtime_dir / "demo-4").symlink_to(others[2])
    (runtime_dir / "demo-5").write_text("")
    with RoleLock(others[0] / "lock"), RoleLock(others[1] / "worker-0.lock"):
        assert generations.reclaim_one_time_feeds() == ["demo-1"]
    assert not dead.exists()
    assert all(len(runtime.generations(directory)) == 1 for directory in others), "alive, or not ours to judge"
    (runtime_dir / "demo-4").unlink()
    (runtime_dir / "demo-5").unlink()
    assert sorted(generations.reclaim_one_time_feeds()) == ["demo-2", "demo-3"]
    for directory in others[2:]:
        again = generations.claim(directory.name)
        generations.reclaim(again)
        again.release(remove=True)
        runtime.remove_if_empty(directory)


def test_reclaiming_wakes_those_who_sleep_on_a_bell(lock: RoleLock) -> None:
    left = Generation.create(lock.path.parent, SMALL, b"{}")
    bell = left.open_control().worker_bell(1)
    before = bytes(bell[:4])
    generations.reclaim(lock)
    assert bytes(bell[:4]) != before
    bell.release()
    left.close()


def test_leftovers_of_another_layout_version_are_removed_too(lock: RoleLock) -> None:
    left = Generation.create(lock.path.parent, SMALL, b"{}")
    for segment in left.segments.values():
        words.store(segment.buffer, 8, LAYOUT_VERSION + 1)
    assert generations.reclaim(lock) == 1
    assert left.segments["control"].state is State.DEAD
    left.close()


def test_a_survivor_of_a_killed_run_is_waited_for_then_refused_by_pid(
    lock: RoleLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SURVIVOR_PATIENCE_S", 0.05)
    survivor = RoleLock(lock.path.parent / "worker-0.lock")
    survivor.acquire()
    left = Generation.create(lock.path.parent, SMALL, b"{}")
    with pytest.raises(FeedAlreadyRunning, match=f"worker-0 .*pid {os.getpid()}"):
        generations.reclaim(lock)
    assert left.segments["control"].live
    survivor.release()
    left.close()


def test_what_no_feed_has_put_there_is_not_removed(lock: RoleLock) -> None:
    left = Generation.create(lock.path.parent, SMALL, b"{}")
    left.close()
    strange = left.path / "a-directory"
    strange.mkdir()
    with pytest.raises(FeedError, match="a-directory"):
        generations.reclaim(lock)
    strange.rmdir()


def test_a_second_claim_is_refused_by_pid(lock: RoleLock, feed_name: str) -> None:
    with pytest.raises(FeedAlreadyRunning, match=f"'{feed_name}' is already running \\(pid {os.getpid()}\\)"):
        generations.claim(feed_name)


def test_a_running_feed_is_found_and_listed(lock: RoleLock, feed_name: str) -> None:
    made = Generation.create(lock.path.parent, SMALL, b"{}")
    assert feeds.running() == [feed_name]
    found = feeds.find(feed_name)
    assert found.number == made.number
    assert not found.segments["control"].writable
    with pytest.raises(FeedNotFound, match=f"running: {feed_name}"):
        feeds.find("another")
    found.close()
    made.close()


def test_a_feed_whose_processes_are_all_gone_is_not_found(lock: RoleLock, feed_name: str) -> None:
    Generation.create(lock.path.parent, SMALL, b"{}").close()
    lock.release()
    assert feeds.running() == []
    with pytest.raises(FeedNotFound, match="start one"):
        feeds.find(feed_name)
    lock.acquire()


def test_a_feed_that_does_not_finish_starting_is_not_waited_for_long(
    lock: RoleLock, feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_PATIENCE_S", 0.05)
    with pytest.raises(FeedNotFound, match="starting or stopping"):
        feeds.find(feed_name)


def test_nothing_runs_where_there_is_no_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(runtime.ENVIRONMENT_KEY, str(tmp_path / "missing"))
    assert feeds.running() == []
    with pytest.raises(FeedNotFound, match="start one"):
        feeds.find("any")


def test_the_default_sizes_fit_what_a_container_has() -> None:
    assert Shape(workers=4, symbols_capacity=5000).total_bytes < 64 * MEBIBYTE
    assert Shape(workers=4).total_bytes < 64 * MEBIBYTE
    assert Shape(workers=8).total_bytes < 64 * MEBIBYTE


def test_a_total_is_what_the_files_take(lock: RoleLock) -> None:
    made = Generation.create(lock.path.parent, SMALL, b"{}")
    taken = sum(path.stat().st_blocks * 512 for path in made.path.iterdir() if path.name != "config.json")
    assert SMALL.total_bytes == taken
    made.close()


@pytest.mark.parametrize(
    "numbers",
    [{"receivers": 0}, {"receivers": 17}, {"workers": 65}, {"ring_capacity": 1000}, {"symbols_capacity": 0}],
)
def test_a_shape_that_cannot_be_is_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Shape(**numbers)

"""Role locks: held by one process, dropped by the kernel at its death, never believed by their text."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openbell.errors import FeedAlreadyRunning, FeedError
from openbell.memory.locks import RoleLock, holder, is_held, start_ticks

HOLD = "import sys, pathlib, time; from openbell.memory.locks import RoleLock; "
HOLD += "RoleLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"


def hold_in_another_process(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_role_is_held_by_one_and_free_after_release(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RoleLock(path) as lock:
        assert lock.held
        assert is_held(path)
        assert holder(path) == os.getpid()
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(FeedAlreadyRunning, match=f"pid {os.getpid()}"):
            RoleLock(path).acquire(0.02)
    assert not is_held(path)
    assert not lock.held


def test_the_kernel_drops_the_role_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "worker-3.lock"
    process = hold_in_another_process(path)
    with pytest.raises(FeedAlreadyRunning, match=f"worker-3 of feed '{tmp_path.name}' .*pid {process.pid}"):
        RoleLock(path).acquire(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with RoleLock(path):
        assert holder(path) == os.getpid()


def test_the_text_of_a_lock_file_holds_nobody_off(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("1 1\n")
    assert not is_held(path)
    with RoleLock(path):
        assert is_held(path)


def test_a_holder_that_removes_its_file_leaves_the_next_one_a_lock_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = RoleLock(path)
    first.acquire()
    first.release(remove=True)
    assert not path.exists()
    second = RoleLock(path)
    second.acquire()
    assert is_held(path)
    second.release()


@pytest.mark.parametrize("somebody_was_quicker", [False, True])
def test_a_lock_on_a_file_that_was_removed_meanwhile_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, somebody_was_quicker: bool
) -> None:
    path, real, calls = tmp_path / "lock", fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            # Between our open and our lock, the holder left and took the file along.
            path.unlink()
            if somebody_was_quicker:
                path.touch()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with RoleLock(path):
        assert len(calls) == 2
        assert is_held(path)


def test_asking_whether_a_role_is_held_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    assert not path.exists()
    path.touch()
    for _ in range(100):
        assert not is_held(path)
    with RoleLock(path):
        assert all(is_held(path) for _ in range(100))


def test_a_planted_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FeedError, match="symbolic link"):
        RoleLock(tmp_path / "lock").acquire()


def test_start_ticks_tell_processes_apart() -> None:
    if not Path("/proc").is_dir():
        assert start_ticks(os.getpid()) == 0
        return
    assert start_ticks(os.getpid()) > start_ticks(1) > 0
    # Above any pid that Linux gives out.
    assert start_ticks(1 << 30) == 0

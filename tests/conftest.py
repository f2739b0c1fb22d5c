"""What every test gets: a runtime directory of its own, a feed name of its own, and a look around afterwards.

No test may leave a process or shared memory behind. One that does is cleaned up after, and fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_SHARED_MEMORY = Path("/dev/shm")
_PROC = Path("/proc")


def pytest_xdist_auto_num_workers() -> int:
    """Return how many tests run at a time: one more than there are processors, for most of them wait for processes."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a runtime directory of its own, in real shared memory, and see to it that it ends up empty."""
    base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix="openbell-test-", dir=base))
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(directory))
    yield directory
    processes = _left_processes(directory)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    # Requests with a token keep apart over restarts of a feed: what is known of them stays.
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.name[:5] != "pace-")
    shutil.rmtree(directory)
    assert not processes, f"the test left processes running: {processes}"
    assert not files, f"the test left in the runtime directory: {files}"


@pytest.fixture
def feed_name() -> str:
    """Return a name that no other feed has."""
    return f"test-{uuid.uuid4().hex[:12]}"


def _left_processes(directory: Path) -> dict[int, str]:
    """Return the processes, whoever is their parent by now, that began with `directory` as their runtime directory."""
    # One that was just told to go is given a moment.
    deadline = time.monotonic() + 10.0
    while True:
        found = _processes(directory)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def _processes(directory: Path) -> dict[int, str]:
    if not _PROC.is_dir():
        return {}
    mark = f"OPENBELL_RUNTIME_DIR={directory}".encode()
    found = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            # Gone while we looked, or somebody else's.
            continue
    return found

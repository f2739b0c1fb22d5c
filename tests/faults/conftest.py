"""The core with crash points, and processes that are gone after the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.hooked import hooked_core

_TIMEOUT_S = 120.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the time-outs of tests that need the build be about the tests: the build has one of its own."""
    for item in items:
        if "core" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            given = item.get_closest_marker("timeout")
            seconds = given.args[0] if given else _TIMEOUT_S
            item.add_marker(pytest.mark.timeout(seconds, func_only=True), append=False)


@pytest.fixture(scope="session")
def core() -> Path:
    return hooked_core()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()

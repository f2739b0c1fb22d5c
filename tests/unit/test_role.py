"""A role: when to start again, and how an end is put into words."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from openbell.core import words
from openbell.errors import FeedError
from openbell.monitor.control import ProcessSlot, ProcessState
from openbell.role import Backoff, Role, describe_exit


def slot() -> ProcessSlot:
    return ProcessSlot(memoryview(bytearray(128)))


def started(pid: int) -> Any:
    return SimpleNamespace(pid=pid)


def test_the_pid_of_a_process_is_known_as_soon_as_it_is_started() -> None:
    role = Role("worker-0", slot(), lambda mode: started(4711))
    role.start()
    assert role.slot.pid == 4711
    assert not role.running


def test_a_process_that_the_system_does_not_start_leaves_its_slot_as_that_of_a_dead_one() -> None:
    def refuse(mode: str) -> Any:
        raise FeedError("no memory")

    role = Role("worker-0", slot(), refuse)
    with pytest.raises(FeedError, match="no memory"):
        role.start()
    assert (role.slot.pid, role.slot.state) == (0, ProcessState.UNUSED)
    role.slot.begin(4711)
    with pytest.raises(FeedError, match="no memory"):
        role.start()
    assert role.slot.state == ProcessState.CRASHED


def test_only_a_process_that_has_come_to_work_can_be_silent() -> None:
    role = Role("worker-0", slot(), lambda mode: started(4711))
    role.slot.begin(4711)
    role.slot.heartbeat_ns = words.monotonic_ns() - 3_000_000_000
    assert role.silent_s == 0.0
    role.slot.state = ProcessState.RUNNING
    assert 3.0 <= role.silent_s < 10.0
    role.slot.beat()
    assert role.silent_s < 1.0


def test_a_process_that_ends_after_a_while_is_started_at_once_every_time() -> None:
    backoff = Backoff()
    assert [backoff.delay(1.5) for _ in range(100)] == [0.0] * 100


def test_a_process_that_keeps_ending_at_once_is_started_ever_later() -> None:
    backoff = Backoff()
    delays = [backoff.delay(0.01) for _ in range(14)]
    assert delays == [0.0] * 5 + [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert [backoff.delay(0.01) for _ in range(5000)][-1] == 5.0


def test_one_long_life_forgives_all_short_ones() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.delay(0.01)
    assert backoff.delay(60.0) == 0.0
    assert backoff.delay(0.01) == 0.0


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit status 0"), (3, "exit status 3"), (-signal.SIGKILL, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_an_end_is_described(status: int, text: str) -> None:
    assert describe_exit(status) == text

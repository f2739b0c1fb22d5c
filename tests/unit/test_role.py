"""A role: when to start again, and how an end is put into words."""

from __future__ import annotations

import signal

import pytest

from openbell.role import Backoff, describe_exit


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

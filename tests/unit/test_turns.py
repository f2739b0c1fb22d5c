"""The time between two connections to one vendor."""

from __future__ import annotations

import pytest

from openbell.receiver.turns import Turns


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def test_turns_are_never_closer_than_the_spacing() -> None:
    now = 100.0
    turns = Turns(3.0, lambda: now)
    assert [turns.wait_s() for _ in range(3)] == [0.0, 3.0, 6.0]
    now = 104.0
    assert turns.wait_s() == 5.0
    now = 200.0
    assert [turns.wait_s() for _ in range(2)] == [0.0, 3.0]


def test_without_a_spacing_nobody_waits() -> None:
    turns = Turns(0.0, lambda: 7.0)
    assert [turns.wait_s() for _ in range(3)] == [0.0, 0.0, 0.0]

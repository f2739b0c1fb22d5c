"""The time between two connections to one vendor."""

from __future__ import annotations

import pytest

from openbell.config import Source
from openbell.receiver.turns import Turns, starts


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def test_turns_are_never_closer_than_the_spacing() -> None:
    now = 100.0
    turns = Turns(lambda: now)
    assert [turns.wait_s(3.0) for _ in range(3)] == [0.0, 3.0, 6.0]
    now = 104.0
    assert turns.wait_s(4.0) == 5.0
    assert turns.wait_s(3.0) == 9.0
    now = 200.0
    assert [turns.wait_s(3.0) for _ in range(2)] == [0.0, 3.0]


def test_without_a_spacing_nobody_waits() -> None:
    turns = Turns(lambda: 7.0)
    assert [turns.wait_s(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_connections_of_one_token_begin_apart_whichever_source_they_are_of() -> None:
    stocks, forex, another = (
        Source(vendor="alltick", symbols=("A",), token_env=token, market=market)
        for token, market in (("T", "stock"), ("T", "fx"), ("OTHER", "stock"))
    )
    free = Source(vendor="binance", symbols=("A",))
    asked = [(stocks, 4.2), (stocks, 4.2), (free, 0.0), (forex, 3.0), (another, 3.0), (forex, 3.0), (free, 0.0)]
    assert starts(asked) == pytest.approx([0.0, 4.2, 0.0, 8.4, 0.0, 11.4, 0.0])

"""The volume of the last minute against those before it."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from corelab.records import trade
from corelab.rig import Rig

from openbell.core.bars import BarsReader
from openbell.market.bars import MINUTE_NS, present, volume_z

DAY = 29_394_720 * MINUTE_NS


def rig_of(volumes: dict[int, dict[int, float]], kept: int = 8) -> BarsReader:
    """Return what reads a market whose rows traded so much in these minutes."""
    rig = Rig(bars=kept)
    for row, minutes in volumes.items():
        rig.feed([trade(row, 1.0, size, exchange_ns=DAY + m * MINUTE_NS) for m, size in minutes.items()])
    assert rig.bars is not None
    return BarsReader(rig.bars, rig.snapshot)


def z(volumes: dict[int, dict[int, float]], minute: float, kept: int = 8) -> list[float]:
    rows = np.array(sorted(volumes), np.intp)
    found: list[float] = volume_z(rig_of(volumes, kept), rows, DAY + int(minute * MINUTE_NS)).tolist()
    return found


def test_the_volume_of_the_last_minute_is_seen_in_standard_deviations_of_those_before() -> None:
    minutes = {1: 10.0, 2: 14.0, 3: 12.0, 4: 16.0, 5: 40.0}
    before = [10.0, 14.0, 12.0, 16.0]
    wanted = (40.0 - statistics.mean(before)) / statistics.stdev(before)
    # At the end of the minute the one before it is out of sight.
    assert z({3: minutes}, 5.9999999) == pytest.approx([wanted], rel=1e-5)


def test_of_the_minute_before_counts_what_lies_within_the_last_sixty_seconds() -> None:
    minutes = {1: 10.0, 2: 14.0, 3: 12.0, 4: 16.0, 5: 5.0}
    before = [10.0, 14.0, 12.0, 16.0]
    wanted = (5.0 + 0.75 * 16.0 - statistics.mean(before)) / statistics.stdev(before)
    assert z({3: minutes}, 5.25) == pytest.approx([wanted])


def test_a_minute_without_a_trade_counts_as_none_but_not_one_before_the_first_bar() -> None:
    before = [10.0, 0.0, 0.0, 16.0]
    wanted = (3.0 - statistics.mean(before)) / statistics.stdev(before)
    assert z({3: {1: 10.0, 4: 16.0, 5: 3.0}}, 5.9999999) == pytest.approx([wanted], rel=1e-5)


def test_a_quiet_minute_is_below_the_others() -> None:
    assert z({3: {1: 10.0, 2: 14.0, 3: 12.0, 4: 16.0}}, 6.5)[0] < -1.0


def test_only_minutes_that_are_kept_count() -> None:
    minutes = {1: 1e9, 2: 10.0, 3: 14.0, 4: 12.0, 5: 40.0}
    wanted = (40.0 - 12.0) / statistics.stdev([10.0, 14.0, 12.0])
    assert z({3: minutes}, 5.9999999, kept=4) == pytest.approx([wanted], rel=1e-5)


@pytest.mark.parametrize(
    ("minutes", "kept"),
    [
        *[({}, 8), ({5: 1.0}, 8), ({3: 1.0, 4: 2.0, 5: 9.0}, 8), (dict.fromkeys(range(1, 6), 0.1), 8), ({9: 5.0}, 8)],
        ({1: 10.0, 2: 14.0, 3: 12.0, 4: 16.0, 5: 40.0}, 3),
    ],
    ids=["nothing", "the first minute", "two before it", "no variation", "of the future", "too few kept"],
)
def test_there_is_none_where_too_little_is_known(minutes: dict[int, float], kept: int) -> None:
    assert math.isnan(z({3: minutes}, 5.5, kept)[0])


def test_each_symbol_is_compared_with_itself() -> None:
    one = {1: 10.0, 2: 14.0, 3: 12.0, 4: 16.0, 5: 40.0}
    other = {minute: size * 1000 for minute, size in one.items()}
    found = z({3: one, 9: other, 11: {5: 1.0}}, 5.5)
    assert found[0] == pytest.approx(found[1])
    assert math.isnan(found[2])


@pytest.mark.parametrize(
    ("now", "newest", "moment"),
    [(100, 99, 100), (100, 80, 100), (100, 79, 79), (100, 3, 3), (100, 300, 100), (100, 0, 100)],
    ids=["running", "just kept", "no longer kept", "a replay", "ahead of us", "no trade has a time"],
)
def test_a_market_with_a_clock_of_its_own_is_seen_at_its_last_trade(now: int, newest: int, moment: int) -> None:
    assert present(now * MINUTE_NS, newest * MINUTE_NS, 20) == moment * MINUTE_NS


def test_a_feed_without_bars_has_none() -> None:
    assert np.isnan(volume_z(None, np.array([1, 2], np.intp), DAY)).all()
    assert volume_z(rig_of({}), np.empty(0, np.intp), DAY).shape == (0,)

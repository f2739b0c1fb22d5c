"""Latency figures: right to the width of a bucket, signed, and the same merged or not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.core import histogram as core
from openbell.monitor.histogram import Histogram

LATENCIES = st.integers(-(10**12), 10**12)


def memory_of(values: list[int]) -> memoryview:
    memory = memoryview(bytearray(core.size()))
    for value in values:
        core.record(memory, value)
    return memory


def exact_percentile(values: list[int], percent: float) -> int:
    rank = max(1, -(-len(values) * percent // 100))
    return sorted(values)[int(rank) - 1]


def test_an_empty_histogram_has_figures_all_the_same() -> None:
    empty = Histogram.read(memory_of([]))
    assert empty.summary() == {"p50": 0, "p99": 0, "p999": 0, "max": 0}
    assert (empty.count, empty.mean) == (0, 0.0)
    assert Histogram.merge([]) == Histogram.merge([empty, empty]) == Histogram()


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=50), st.floats(0, 100))
def test_a_percentile_is_right_to_the_width_of_a_bucket(values: list[int], percent: float) -> None:
    found = Histogram.read(memory_of(values))
    exact = exact_percentile(values, percent)
    assert exact <= found.percentile(percent) <= exact + exact // 32 + 1
    assert found.minimum <= found.percentile(percent) <= found.maximum


@given(st.lists(LATENCIES, min_size=1, max_size=50))
def test_the_extremes_the_count_and_the_mean_are_exact(values: list[int]) -> None:
    found = Histogram.read(memory_of(values))
    assert (found.count, found.minimum, found.maximum, found.total) == (
        len(values), min(values), max(values), sum(values),
    )  # fmt: skip
    assert found.negative == sum(value < 0 for value in values)
    assert found.mean == sum(values) / len(values)
    assert found.percentile(100) == max(values) or max(values) < 0
    assert found.percentile(0) <= min(values) + abs(min(values)) // 32 + 1


def test_a_clock_that_is_ahead_shows_as_a_negative_latency() -> None:
    found = Histogram.read(memory_of([-1_270_000_000] * 3 + [50]))
    assert found.percentile(50) == -1_270_000_000
    assert found.percentile(99) == 50


@given(st.lists(st.lists(LATENCIES, max_size=20), max_size=5))
def test_merged_parts_are_the_whole(parts: list[list[int]]) -> None:
    whole = Histogram.read(memory_of([value for part in parts for value in part]))
    assert Histogram.merge(Histogram.read(memory_of(part)) for part in parts) == whole


@given(st.lists(st.integers(0, 10**12), max_size=20), st.lists(st.integers(0, 10**12), max_size=20))
def test_what_came_since_is_what_was_added(before: list[int], after: list[int]) -> None:
    memory = memory_of(before)
    earlier = Histogram.read(memory)
    for value in after:
        core.record(memory, value)
    recent = Histogram.read(memory).since(earlier)
    alone = Histogram.read(memory_of(after))
    assert (recent.count, recent.total, recent.buckets) == (alone.count, alone.total, alone.buckets)
    if after:
        assert alone.maximum <= recent.maximum <= alone.maximum + alone.maximum // 32 + 1


def test_a_million_values_have_the_figures_of_their_distribution() -> None:
    generator = random.Random(7)
    memory = memoryview(bytearray(core.size()))
    values = [int(generator.lognormvariate(10, 1)) for _ in range(10_000)]
    for value in values:
        core.record(memory, value, 100)
    found = Histogram.read(memory)
    assert found.count == 1_000_000
    for percent in (1, 50, 90, 99, 99.9):
        exact = exact_percentile(values, percent)
        assert found.percentile(percent) == pytest.approx(exact, rel=0.035)


@pytest.mark.parametrize("percent", [-0.1, 100.1])
def test_a_percentile_is_a_percentage(percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        Histogram().percentile(percent)

"""The buckets of the latency histogram: every value has one, and they leave no hole."""

from __future__ import annotations

import struct

import pytest
from corelab.memory import memory
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import histogram

LARGEST = 2**63 - 1
LAST = histogram.bucket(LARGEST)
HEADER = 8 * histogram.HEADER_WORDS


def contents(buffer: memoryview) -> tuple[tuple[int, ...], tuple[int, ...]]:
    head = struct.unpack_from("<QQqqq", buffer)
    return head, struct.unpack_from(f"<{histogram.BUCKET_COUNT}Q", buffer, HEADER)


def fresh() -> memoryview:
    return memoryview(memory(histogram.size()))


def test_the_buckets_follow_one_another_from_0_to_the_largest_value_without_a_hole() -> None:
    expected = 0
    for index in range(histogram.BUCKET_COUNT):
        low, high = histogram.bounds(index)
        assert low == expected
        assert high >= low
        expected = high + 1
    # An octave to spare: no signed value reaches it.
    assert expected == 2**64
    assert histogram.bounds(LAST)[1] == LARGEST


def test_no_bucket_is_wider_than_a_thirty_second_of_its_lowest_value() -> None:
    for index in range(histogram.BUCKET_COUNT):
        low, high = histogram.bounds(index)
        assert high - low <= low / 32


def test_both_ends_of_every_bucket_are_counted_in_it() -> None:
    for index in range(LAST + 1):
        low, high = histogram.bounds(index)
        assert histogram.bucket(low) == histogram.bucket(high) == index


@given(st.integers(0, LARGEST))
def test_a_value_lies_within_the_bounds_of_its_bucket(value: int) -> None:
    low, high = histogram.bounds(histogram.bucket(value))
    assert low <= value <= high


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_a_larger_value_never_has_an_earlier_bucket(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert histogram.bucket(small) <= histogram.bucket(large)


@pytest.mark.parametrize("value", [-1, -(2**63), 2**63, 2**80])
def test_a_value_without_a_bucket_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        histogram.bucket(value)


@pytest.mark.parametrize("index", [-1, histogram.BUCKET_COUNT])
def test_a_bucket_that_does_not_exist_has_no_bounds(index: int) -> None:
    with pytest.raises(IndexError):
        histogram.bounds(index)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(1, 1000)), max_size=30))
def test_every_value_is_counted_once_negative_ones_apart(counted: list[tuple[int, int]]) -> None:
    buffer = fresh()
    for value, times in counted:
        histogram.record(buffer, value, times)
    head, buckets = contents(buffer)
    values = [value for value, _ in counted]
    expected = [0] * histogram.BUCKET_COUNT
    for value, times in counted:
        if value >= 0:
            expected[histogram.bucket(value)] += times
    assert buckets == tuple(expected)
    assert head == (
        sum(times for _, times in counted),
        sum(times for value, times in counted if value < 0),
        min(values, default=0),
        max(values, default=0),
        sum(value * times for value, times in counted),
    )


def test_the_extremes_of_64_bits_have_a_place() -> None:
    buffer = fresh()
    histogram.record(buffer, LARGEST)
    histogram.record(buffer, -(2**63))
    head, buckets = contents(buffer)
    assert head == (2, 1, -(2**63), LARGEST, -1)
    assert buckets[LAST] == 1
    assert sum(buckets) == 1


def test_memory_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="are needed"):
        histogram.record(memoryview(bytearray(histogram.size() - 8)), 1)

"""Shared words from Python, and the record as the C compiler laid it out."""

from __future__ import annotations

import struct
import threading
import time

import numpy as np
import pytest
from corelab.memory import memory
from corelab.records import HAS_A, HAS_B, QUOTE, Record, unpack
from hypothesis import given
from hypothesis import strategies as st

from openbell import record
from openbell.core import words

WORD = st.integers(0, 2**64 - 1)


# ---- the record ----


def test_the_c_struct_and_the_numpy_dtype_are_the_same_field_by_field() -> None:
    layout = words.record_layout()
    dtype = record.dtype()
    assert dtype.names is not None and dtype.fields is not None
    assert layout.pop("") == (0, dtype.itemsize) == (0, 64)
    assert list(layout) == list(dtype.names)
    for name in dtype.names:
        kind, offset = dtype.fields[name][:2]
        assert layout[name] == (offset, kind.itemsize), name


def test_the_dtype_reads_what_was_packed_by_the_documented_layout() -> None:
    packed = Record(7, QUOTE, 2, HAS_A | HAS_B, 11, 12, -13, 1.5, 2.5, 3.5, 4.5)
    found = np.frombuffer(packed.pack(), record.dtype())[0]
    assert tuple(found) == tuple(packed)
    assert unpack(packed.pack()) == [packed]


def test_a_row_takes_all_32_bits_and_a_time_keeps_its_sign() -> None:
    found = np.frombuffer(Record(0xFFFFFFFF, 255, 255, 0xFFFF, -1, -(2**63), 2**63 - 1).pack(), record.dtype())[0]
    assert (found["row"], found["kind"], found["side"], found["flags"]) == (record.ROW_NONE, 255, 255, 0xFFFF)
    assert (found["exchange_ns"], found["receive_ns"], found["sequence"]) == (-1, -(2**63), 2**63 - 1)


# ---- words ----


@given(WORD, st.integers(0, 3))
def test_a_stored_word_is_loaded_again_and_its_neighbours_are_left_alone(value: int, index: int) -> None:
    buffer = memory(64)
    words.store(buffer, index * 8, value)
    assert words.load(buffer, index * 8) == value
    assert sum(struct.unpack("<8Q", buffer[:64])) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_word_keeps_its_sign(value: int) -> None:
    buffer = memory(64)
    words.store(buffer, 8, value)
    assert words.load_signed(buffer, 8) == value
    assert words.load(buffer, 8) == value % 2**64


@given(WORD, st.integers(-(2**64), 2**64))
def test_a_counter_wraps_at_64_bits(value: int, more: int) -> None:
    buffer = memory(64)
    words.store(buffer, 0, value)
    words.add(buffer, 0, more)
    assert words.load(buffer, 0) == (value + more) % 2**64


@pytest.mark.parametrize("offset", [-8, 4, 1, 57, 64, 2**40])
def test_an_offset_that_is_no_word_of_the_buffer_is_refused(offset: int) -> None:
    buffer = memory(64)
    view = memoryview(buffer)[:64]
    for use in (
        lambda: words.load(view, offset),
        lambda: words.load_signed(view, offset),
        lambda: words.store(view, offset, 1),
        lambda: words.add(view, offset, 1),
        lambda: words.wake(view, offset),
        lambda: words.ring(view, offset),
        lambda: words.wait(view, 0, view, offset, 0, 1),
        lambda: words.wait(view, offset, view, 0, 0, 1),
    ):
        with pytest.raises(ValueError, match="not an aligned word"):
            use()
    assert bytes(view) == bytes(64)


def test_read_only_memory_can_be_read_and_not_written() -> None:
    view = memoryview(memory(64)).toreadonly()
    assert words.load(view, 0) == 0
    with pytest.raises(BufferError):
        words.store(view, 0, 1)


def test_memory_that_is_short_or_not_aligned_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes where 8 are needed"):
        words.load(memoryview(memory(64))[:4], 0)
    with pytest.raises(ValueError, match="not aligned"):
        words.load(memoryview(memory(64))[1:17], 0)


# ---- bells ----


def test_a_wait_is_over_at_once_if_the_word_has_changed_already() -> None:
    bell, word = memory(64), memory(64)
    words.store(word, 0, 5)
    before = time.monotonic()
    assert words.wait(bell, 0, word, 0, 4, 30_000_000_000)
    assert time.monotonic() - before < 10
    assert words.load(bell, 0) == 0, "the announcement is taken back"


def test_a_wait_ends_at_its_time_out_and_says_that_nothing_changed() -> None:
    bell, word = memory(64), memory(64)
    before = time.monotonic_ns()
    assert not words.wait(bell, 0, word, 0, 0, 20_000_000)
    assert time.monotonic_ns() - before >= 20_000_000


def test_ringing_wakes_who_announced_itself_and_costs_nothing_otherwise() -> None:
    bell, word = memory(64), memory(64)
    words.ring(bell, 0)
    assert words.load(bell, 0) == 0, "nobody waits: nothing is written"
    woken: list[bool] = []
    # A minute: were the bell not heard, the join below would fail first.
    waiter = threading.Thread(target=lambda: woken.append(words.wait(bell, 0, word, 0, 0, 60_000_000_000)), daemon=True)
    waiter.start()
    while words.load(bell, 0) >> 32 == 0:
        time.sleep(0.001)
    words.store(word, 0, 1)
    words.ring(bell, 0)
    waiter.join(20)
    assert woken == [True]


def test_waking_ends_a_wait_even_if_the_waiter_was_not_announced() -> None:
    bell, word = memory(64), memory(64)
    results: list[bool] = []
    waiter = threading.Thread(
        target=lambda: results.append(words.wait(bell, 0, word, 0, 0, 60_000_000_000)), daemon=True
    )
    waiter.start()
    deadline = time.monotonic() + 20
    while waiter.is_alive() and time.monotonic() < deadline:
        words.wake(bell, 0)
        time.sleep(0.001)
    assert results == [False]


def test_the_clock_is_the_monotonic_one() -> None:
    before, now, after = time.monotonic_ns(), words.monotonic_ns(), time.monotonic_ns()
    assert before <= now <= after

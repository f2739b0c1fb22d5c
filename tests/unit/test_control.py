"""The control segment: every block where nobody else is, every word read as it was written."""

from __future__ import annotations

import itertools
import time

import pytest

from openbell.core import histogram as core_histogram
from openbell.core import words
from openbell.monitor import control as module
from openbell.monitor.control import (
    CONNECTIONS_MAX,
    RECEIVERS_MAX,
    WORKERS_MAX,
    Block,
    ConnectionCounters,
    ConnectionState,
    Control,
    FeedState,
    ProcessSlot,
    ProcessState,
    ReceiverCounters,
    WorkerCounters,
    refresh_clock_offset,
)


def fresh(workers: int = 3) -> Control:
    body = memoryview(bytearray(module.size(workers)))
    module.format(body, 2, workers)
    return Control(body)


def address(part: memoryview, whole: memoryview) -> int:
    import ctypes

    def start(view: memoryview) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(view))

    return start(part) - start(whole)


def test_no_two_blocks_overlap() -> None:
    control = fresh(WORKERS_MAX)
    parts = [control.clock_offset, control.supervisor.memory]
    parts += [control.receiver(i).memory for i in range(RECEIVERS_MAX)]
    parts += [control.worker(i).memory for i in range(WORKERS_MAX)]
    parts += [control.worker_bell(i) for i in range(WORKERS_MAX)]
    parts += [control.receiver_bell(i) for i in range(RECEIVERS_MAX)]
    parts += [control.receiver_counters(i).memory for i in range(RECEIVERS_MAX)]
    parts += [control.worker_counters(i).memory for i in range(WORKERS_MAX)]
    parts += [control.connection(i).memory for i in range(CONNECTIONS_MAX)]
    parts += [control.histogram(i) for i in range(WORKERS_MAX)]
    spans = sorted((address(part, control.memory), len(part)) for part in parts)
    for (start, length), (following, _) in itertools.pairwise(spans):
        assert start + length <= following
    # Different processes write them: no two on one pair of cache lines.
    assert all(start % 128 == 0 for start, _ in spans)
    assert spans[-1][0] + spans[-1][1] <= len(control.memory)


@pytest.mark.parametrize("block", [ProcessSlot, ReceiverCounters, WorkerCounters, ConnectionCounters])
def test_every_word_of_a_block_has_its_own_place(block: type[Block]) -> None:
    memory = memoryview(bytearray(1024))
    names = list(block(memory).read())
    assert len(names) >= 4
    for value, name in enumerate(names, 1):
        setattr(block(memory), name, value)
    assert list(block(memory).read().values()) == list(range(1, len(names) + 1))


def test_counters_are_where_the_compiled_core_writes_them() -> None:
    memory = memoryview(bytearray(1024))
    for index in range(128):
        words.store(memory, index * 8, 1000 + index)
    receiver = ReceiverCounters(memory)
    assert list(receiver.read().values()) == [1000 + index for index in range(14)]
    assert receiver.reason(0) == 1064
    assert receiver.reasons() == {index: 1064 + index for index in range(64)}
    assert list(WorkerCounters(memory).read().values()) == [1000, 1001, 1002, 1003, 1004, 1005]


def test_blocks_out_of_range_do_not_exist() -> None:
    control = fresh(3)
    for ask in (
        lambda: control.worker(WORKERS_MAX),
        lambda: control.receiver(-1),
        lambda: control.histogram(3),
        lambda: control.connection(CONNECTIONS_MAX),
        lambda: control.receiver_counters(0).reason(64),
    ):
        with pytest.raises(IndexError):
            ask()


def test_a_process_says_who_it_is_and_that_it_lives() -> None:
    slot = fresh().worker(2)
    before = words.monotonic_ns()
    slot.begin(4711)
    assert (slot.pid, slot.state) == (4711, ProcessState.STARTING)
    assert before <= slot.started_ns <= words.monotonic_ns()
    time.sleep(0.002)
    slot.beat()
    assert slot.heartbeat_ns > slot.started_ns
    slot.exit_status = -9
    assert slot.exit_status == -9


def test_a_feed_names_its_processes() -> None:
    assert [name for name, _ in fresh(3).processes()] == [
        "supervisor", "receiver-0", "receiver-1", "worker-0", "worker-1", "worker-2",
    ]  # fmt: skip


def test_a_connection_counts_and_tells_what_it_does() -> None:
    connection = fresh().connection(5)
    connection.label = "binance"
    connection.set_state(ConnectionState.LIVE)
    connection.add("errors")
    connection.add("errors", 2)
    connection.symbols = 5000
    connection.set_time("last_frame_ns")
    connection.set_time("last_ack_ns", 17)
    assert connection.label == "binance"
    assert connection.state == ConnectionState.LIVE
    assert (connection.errors, connection.symbols, connection.last_ack_ns) == (3, 5000, 17)
    assert 0 < connection.last_frame_ns <= words.monotonic_ns()
    with pytest.raises(AttributeError):
        connection.add("nonsense")


def test_a_label_is_cut_not_spilt() -> None:
    connection = fresh().connection(0)
    connection.label = "é" * 64
    assert connection.label == "é" * 32
    connection.label = "x" + "é" * 64
    assert connection.label == "x" + "é" * 31
    assert not any(fresh().connection(1).memory)


def test_a_reader_cannot_change_anything() -> None:
    control = fresh()
    reader = Control(memoryview(bytes(control.memory)))
    assert reader.workers == 3
    with pytest.raises(BufferError):
        reader.state = FeedState.RUNNING
    with pytest.raises(BufferError):
        reader.worker(0).beat()


def test_the_clock_offset_turns_monotonic_into_the_epoch() -> None:
    control = fresh()
    assert refresh_clock_offset(control)
    # However long this process was away in between: the wall clock before, ours, the wall clock after.
    before = time.time_ns()
    ours = words.monotonic_ns() + control.clock_offset_ns
    assert before - 50_000_000 < ours < time.time_ns() + 50_000_000
    assert not refresh_clock_offset(control, tolerance_ns=50_000_000)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_is_followed(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    control = fresh()
    refresh_clock_offset(control)
    before, real = control.clock_offset_ns, time.time_ns
    step = hours * 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: real() + step)
    assert refresh_clock_offset(control)
    assert abs(control.clock_offset_ns - before - step) < 50_000_000


def test_histograms_have_the_size_of_the_compiled_cores() -> None:
    assert len(fresh().histogram(0)) == core_histogram.size()


def test_all_bells_are_rung() -> None:
    control = fresh()
    module.wake_all(control.memory)
    bells = [control.worker_bell(i) for i in range(WORKERS_MAX)]
    bells += [control.receiver_bell(i) for i in range(RECEIVERS_MAX)]
    assert all(bytes(bell[:4]) == b"\1\0\0\0" for bell in bells)

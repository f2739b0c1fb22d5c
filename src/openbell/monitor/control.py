"""The control segment: what every process of a feed says about itself, in words that anybody may read.

Each word has one writer. Writers store with release order, readers load with acquire order, and reading costs the
writers nothing. The layout, in bytes from the start of the body, for up to 16 receivers, 64 connections, 64 workers:

==============  =========================================================================
part            contents
==============  =========================================================================
clock           epoch minus CLOCK_MONOTONIC in ns, alone on its lines
feed            state, start, receivers, workers
processes       one slot each: supervisor, receivers, workers
bells           one futex doorbell each: workers, then receivers (the compiled core's)
receivers       one counter block of 128 words each
workers         one counter block of 64 words each
connections     one block of 32 words each
histograms      one per worker that the feed has: receive to snapshot; then as many: exchange to snapshot
==============  =========================================================================
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import IntEnum
from typing import overload

from openbell.core import histogram, words

RECEIVERS_MAX = 16
WORKERS_MAX = 64
CONNECTIONS_MAX = 64

_LINE = 128
_FEED_AT = _LINE
_PROCESSES_AT = 4096
_PROCESS_BYTES = 128
_BELLS_AT = _PROCESSES_AT + (1 + RECEIVERS_MAX + WORKERS_MAX) * _PROCESS_BYTES
_BELL_BYTES = 128
_RECEIVERS_AT = _BELLS_AT + (WORKERS_MAX + RECEIVERS_MAX) * _BELL_BYTES
_RECEIVER_BYTES = 128 * 8
_WORKERS_AT = _RECEIVERS_AT + RECEIVERS_MAX * _RECEIVER_BYTES
_WORKER_BYTES = 64 * 8
_CONNECTIONS_AT = _WORKERS_AT + WORKERS_MAX * _WORKER_BYTES
_CONNECTION_BYTES = 32 * 8
_HISTOGRAMS_AT = _CONNECTIONS_AT + CONNECTIONS_MAX * _CONNECTION_BYTES
_HISTOGRAM_BYTES = -(-histogram.size() // _LINE) * _LINE
_REASONS_AT = 64
_REASONS = 64
_LABEL_AT = 16 * 8
_HOLES_AT = 30 * 8
_LABEL_BYTES = 64


class FeedState(IntEnum):
    """What the supervisor is doing."""

    STARTING = 1
    RUNNING = 2
    STOPPING = 3


class ProcessState(IntEnum):
    """What a process is doing. It is written by the process itself; while there is none, by the supervisor."""

    UNUSED = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    STOPPED = 4
    CRASHED = 5


class ConnectionState(IntEnum):
    """What a connection is doing. STALE: open, but nothing came for longer than it ever should take."""

    UNUSED = 0
    CONNECTING = 1
    SUBSCRIBING = 2
    LIVE = 3
    STALE = 4
    DOWN = 5


def size(workers: int) -> int:
    """Return the bytes of the control segment's body for `workers` workers."""
    return _HISTOGRAMS_AT + 2 * workers * _HISTOGRAM_BYTES


def format(body: memoryview, receivers: int, workers: int) -> None:
    """Fill in the fixed words of a fresh, zeroed body."""
    control = Control(body)
    control.receivers = receivers
    control.workers = workers
    control.state = FeedState.STARTING
    control.started_ns = words.monotonic_ns()


def wake_all(body: memoryview) -> None:
    """Wake whoever sleeps on a doorbell of the feed."""
    for index in range(WORKERS_MAX + RECEIVERS_MAX):
        words.wake(body, _BELLS_AT + index * _BELL_BYTES)


class Word:
    """A named word of a block: an attribute that loads with acquire order and stores with release order."""

    def __init__(self, index: int, *, signed: bool = False) -> None:
        self.offset = index * 8
        self._load = words.load_signed if signed else words.load

    @overload
    def __get__(self, block: None, owner: type) -> Word: ...

    @overload
    def __get__(self, block: Block, owner: type) -> int: ...

    def __get__(self, block: Block | None, owner: type) -> int | Word:
        if block is None:
            return self
        return self._load(block.memory, self.offset)

    def __set__(self, block: Block, value: int) -> None:
        words.store(block.memory, self.offset, value)


class Block:
    """Some words of the control segment with names.

    Attributes
    ----------
    memory : memoryview
        The block's own bytes, borrowed from the segment: hand it to the compiled core for its hot counters.
    """

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter of this process's own; no other process writes it.

        Raises
        ------
        AttributeError
            The block has no such word.
        """
        word = getattr(type(self), name)
        words.add(self.memory, word.offset, count)

    def read(self) -> dict[str, int]:
        """Return all words by name, each as it is now."""
        return {name: getattr(self, name) for name, word in vars(type(self)).items() if isinstance(word, Word)}


class ProcessSlot(Block):
    """What the supervisor and a process say about that process.

    The process writes `pid`, `state`, `heartbeat_ns` and `started_ns` (both CLOCK_MONOTONIC); the supervisor
    writes `restarts`, `exit_status` (negative: the signal that killed it), `pid` as it starts it, and, while it is
    dead, `state`.
    """

    pid = Word(0)
    state = Word(1)
    heartbeat_ns = Word(2)
    restarts = Word(3)
    started_ns = Word(4)
    exit_status = Word(5, signed=True)

    def begin(self, pid: int) -> None:
        """Say that process `pid` starts here."""
        now = words.monotonic_ns()
        self.pid = pid
        self.started_ns = now
        self.heartbeat_ns = now
        self.state = ProcessState.STARTING

    def beat(self) -> None:
        """Say that the process is alive now."""
        self.heartbeat_ns = words.monotonic_ns()


class ReceiverCounters(Block):
    """What a receiver counts. `events` = `published` + the sum of `reasons`.

    `loop_lag_ns` is how late its event loop came back to itself when it last looked, and `loop_lag_peak_ns` the latest
    it ever did: what waits for a receiver waits that long.
    """

    frames = Word(0)
    bytes = Word(1)
    events = Word(2)
    published = Word(3)
    publishes = Word(4)
    reads = Word(5)
    paused_ns = Word(6)
    side_queue_peak = Word(7)
    pressure_episodes = Word(8)
    frames_per_read_max = Word(9)
    control_messages = Word(10)
    lost = Word(11)
    loop_lag_ns = Word(12)
    loop_lag_peak_ns = Word(13)

    def reason(self, index: int) -> int:
        """Return how many events were not published for reason `index` (see `openbell.reasons`)."""
        if not 0 <= index < _REASONS:
            raise IndexError(f"reason {index} of {_REASONS}")
        return words.load(self.memory, (_REASONS_AT + index) * 8)

    def reasons(self) -> dict[int, int]:
        """Return ``{reason: events}`` of the reasons that occurred."""
        found = ((index, self.reason(index)) for index in range(_REASONS))
        return {index: count for index, count in found if count}


class WorkerCounters(Block):
    """What a worker counts: batches, sleeps, rows put back after a crash, the longest backlog it met; when its last
    batch was done (ns since the epoch), and the offset of the clock that its latencies go by."""

    batches = Word(0)
    parks = Word(1)
    recovered = Word(2)
    backlog_max = Word(3)
    last_batch_ns = Word(4)
    clock_offset_ns = Word(5, signed=True)


class ConnectionCounters(Block):
    """What a receiver says about one connection. Times are CLOCK_MONOTONIC in ns, 0 for never.

    `queue_bytes` is what the kernel has received and we have not read (Linux; 0 elsewhere), `gaps` how many
    interruptions of it were told, `switches` how often it was replaced without one, `messages` how many whole
    messages came over its present life, `repairs` how many latest prices were asked for and told after gaps. Of its
    symbols, `confirmed`, `refused`, `unconfirmed` and `silent` are so many; `kept` is how many of the granted ones the
    vendor seems to have kept (0: all). `retries` counts the requests that were asked again. Where the vendor numbers
    events without a break, `holes` is how often some were left out while the connection was up, and `missing` how many
    numbers never came, those of interruptions included.
    """

    state = Word(0)
    connects = Word(1)
    disconnects = Word(2)
    last_frame_ns = Word(3)
    last_ack_ns = Word(4)
    acks = Word(5)
    errors = Word(6)
    symbols = Word(7)
    last_pong_ns = Word(8)
    queue_bytes = Word(9)
    queue_peak_bytes = Word(10)
    missed_pongs = Word(11)
    gaps = Word(12)
    switches = Word(13)
    messages = Word(14)
    kept = Word(15)
    confirmed = Word(24)
    refused = Word(25)
    unconfirmed = Word(26)
    silent = Word(27)
    retries = Word(28)
    repairs = Word(29)
    holes = Word(_HOLES_AT // 8)
    missing = Word(_HOLES_AT // 8 + 1)

    def set_state(self, state: ConnectionState) -> None:
        """Say what the connection is doing."""
        self.state = state

    def set_time(self, name: str, at_ns: int | None = None) -> None:
        """Store a time, now by default, in the word `name`."""
        setattr(self, name, words.monotonic_ns() if at_ns is None else at_ns)

    @property
    def hole_counters(self) -> memoryview:
        """The words `holes` and `missing`, for the compiled core."""
        return self.memory[_HOLES_AT : _HOLES_AT + 16]

    @property
    def label(self) -> str:
        """What people call this connection; never holds a secret."""
        text = bytes(self.memory[_LABEL_AT : _LABEL_AT + _LABEL_BYTES])
        return text.rstrip(b"\0").decode("utf-8", "ignore")

    @label.setter
    def label(self, text: str) -> None:
        padded = text.encode()[:_LABEL_BYTES].ljust(_LABEL_BYTES, b"\0")
        for at in range(0, _LABEL_BYTES, 8):
            words.store(self.memory, _LABEL_AT + at, int.from_bytes(padded[at : at + 8], "little"))


class Control(Block):
    """The control segment of a feed; read-only if `body` is.

    Parameters
    ----------
    body : memoryview
        Body of the control segment, borrowed for the life of this object and of all that it hands out.
    """

    clock_offset_ns = Word(0, signed=True)
    state = Word(_FEED_AT // 8)
    started_ns = Word(_FEED_AT // 8 + 1)
    receivers = Word(_FEED_AT // 8 + 2)
    workers = Word(_FEED_AT // 8 + 3)

    def __init__(self, body: memoryview) -> None:
        super().__init__(body)

    def _part(self, start: int, step: int, index: int, count: int, what: str) -> memoryview:
        if not 0 <= index < count:
            raise IndexError(f"{what} {index} of {count}")
        return self.memory[start + index * step : start + (index + 1) * step]

    @property
    def clock_offset(self) -> memoryview:
        """The word that turns CLOCK_MONOTONIC into the epoch, for the compiled core."""
        return self.memory[:8]

    @property
    def supervisor(self) -> ProcessSlot:
        """The supervisor's process slot."""
        return ProcessSlot(self._part(_PROCESSES_AT, _PROCESS_BYTES, 0, 1, "supervisor"))

    def receiver(self, index: int) -> ProcessSlot:
        """Return the process slot of receiver `index`."""
        at = _PROCESSES_AT + _PROCESS_BYTES
        return ProcessSlot(self._part(at, _PROCESS_BYTES, index, RECEIVERS_MAX, "receiver"))

    def worker(self, index: int) -> ProcessSlot:
        """Return the process slot of worker `index`."""
        at = _PROCESSES_AT + (1 + RECEIVERS_MAX) * _PROCESS_BYTES
        return ProcessSlot(self._part(at, _PROCESS_BYTES, index, WORKERS_MAX, "worker"))

    def processes(self) -> Iterator[tuple[str, ProcessSlot]]:
        """Yield ``(name, slot)`` of every process that this feed has."""
        yield "supervisor", self.supervisor
        for index in range(self.receivers):
            yield f"receiver-{index}", self.receiver(index)
        for index in range(self.workers):
            yield f"worker-{index}", self.worker(index)

    def worker_bell(self, index: int) -> memoryview:
        """Return the doorbell of worker `index`."""
        return self._part(_BELLS_AT, _BELL_BYTES, index, WORKERS_MAX, "worker")

    def receiver_bell(self, index: int) -> memoryview:
        """Return the doorbell of receiver `index`."""
        return self._part(_BELLS_AT + WORKERS_MAX * _BELL_BYTES, _BELL_BYTES, index, RECEIVERS_MAX, "receiver")

    def receiver_counters(self, index: int) -> ReceiverCounters:
        """Return the counter block of receiver `index`."""
        return ReceiverCounters(self._part(_RECEIVERS_AT, _RECEIVER_BYTES, index, RECEIVERS_MAX, "receiver"))

    def worker_counters(self, index: int) -> WorkerCounters:
        """Return the counter block of worker `index`."""
        return WorkerCounters(self._part(_WORKERS_AT, _WORKER_BYTES, index, WORKERS_MAX, "worker"))

    def connection(self, index: int) -> ConnectionCounters:
        """Return the block of connection `index`."""
        return ConnectionCounters(self._part(_CONNECTIONS_AT, _CONNECTION_BYTES, index, CONNECTIONS_MAX, "connection"))

    def histogram(self, index: int) -> memoryview:
        """Return the latency histogram (receive to snapshot) of worker `index`."""
        part = self._part(_HISTOGRAMS_AT, _HISTOGRAM_BYTES, index, self.workers, "histogram")
        return part[: histogram.size()]

    def exchange_histogram(self, index: int) -> memoryview:
        """Return the histogram (exchange time to snapshot, signed) of worker `index`; empty unless kept."""
        at = _HISTOGRAMS_AT + self.workers * _HISTOGRAM_BYTES
        part = self._part(at, _HISTOGRAM_BYTES, index, self.workers, "histogram")
        return part[: histogram.size()]


def refresh_clock_offset(control: Control, *, tolerance_ns: int = 1_000_000) -> bool:
    """Store epoch minus CLOCK_MONOTONIC if it moved by more than `tolerance_ns`: the wall clock was stepped.

    Small drift is left alone, because whoever compares times drops what was stamped before a change.

    Returns
    -------
    bool
        Whether it was stored.
    """
    offset = _clock_offset()
    if abs(offset - control.clock_offset_ns) <= tolerance_ns:
        return False
    control.clock_offset_ns = offset
    return True


def _clock_offset() -> int:
    """Measure epoch minus CLOCK_MONOTONIC: the reading of three that took the least time, taken in its middle."""
    readings = []
    for _ in range(3):
        before = words.monotonic_ns()
        wall = time.time_ns()
        after = words.monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]

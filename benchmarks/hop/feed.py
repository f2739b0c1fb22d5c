"""The memory of a feed with one ring, and the writer of it, without the processes of a feed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from openbell.config import Config, Feed, Source
from openbell.core import words
from openbell.core.ring import RingWriter
from openbell.memory import generation as generations
from openbell.memory.consumers import Consumers
from openbell.memory.generation import Generation
from openbell.memory.names import CONSUMERS, ring_name
from openbell.memory.shape import Shape
from openbell.monitor.control import refresh_clock_offset
from openbell.record import RECORD_SIZE, Flag, Kind, dtype

NAME = "hop"
SYMBOLS = 100
CAPACITY = 65_536
_APPLIED_AT = 384
_HOLD_NS = 60_000_000_000


class BareFeed:
    """A feed whose worker is always at the head: only tethered readers hold its writer.

    Attributes
    ----------
    writer : RingWriter
    """

    def __init__(self, generation: Generation) -> None:
        control = generation.open_control()
        consumers = Consumers(generation.body(CONSUMERS))
        self._ring = generation.body(ring_name(0, 0))
        self.writer = RingWriter(
            self._ring,
            control.worker_bell(0),
            control.receiver_bell(0),
            max_wait_ns=200_000,
            tethers=consumers.tethers(0, 0),
            readers_bell=consumers.published_bell,
            # The comparison is with queues, which lose nothing: nobody is cut.
            max_hold_ns=_HOLD_NS,
        )
        self.writer.recover()

    def write(self, batch: bytes, count: int) -> None:
        """Publish `batch` `count` times; wait for room as long as it takes."""
        writer, ring, store = self.writer, self._ring, words.store
        append, publish = writer.append_group, writer.publish
        # As seldom as a worker that applies a batch at a time.
        every = max(1, CAPACITY // 8 // (len(batch) // RECORD_SIZE))
        for number in range(count):
            while not append(batch):
                store(ring, _APPLIED_AT, writer.position_next)
            publish()
            if number % every == 0:
                store(ring, _APPLIED_AT, writer.position_next)
        store(ring, _APPLIED_AT, writer.position_next)


@contextmanager
def bare_feed() -> Iterator[BareFeed]:
    """Make the memory of a feed, in a runtime directory of its own, while the block lasts."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    before = os.environ.get("OPENBELL_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="openbell-hop-", dir=base) as directory:
        os.environ["OPENBELL_RUNTIME_DIR"] = directory
        try:
            lock = generations.claim(NAME)
            config = Config(
                feed=Feed(name=NAME, ring_capacity=CAPACITY, symbols_capacity=1024),
                sources=(Source(vendor="binance", symbols=("BTCUSDT",), url="ws://127.0.0.1:1/ws"),),
            )
            shape = Shape(ring_capacity=CAPACITY, symbols_capacity=1024)
            keys = [f"S{number}".encode() for number in range(SYMBOLS)]
            generation = Generation.create(lock.path.parent, shape, config.to_json(), keys)
            try:
                refresh_clock_offset(generation.open_control())
                yield BareFeed(generation)
            finally:
                generation.mark_dead()
                generation.unlink()
                lock.release(remove=True)
        finally:
            if before is None:
                del os.environ["OPENBELL_RUNTIME_DIR"]
            else:
                os.environ["OPENBELL_RUNTIME_DIR"] = before


def packed(count: int) -> bytes:
    """Return trades as the ring holds them, each of price 1."""
    records = np.zeros(count, dtype())
    records["row"] = np.arange(count) % SYMBOLS
    records["kind"] = Kind.TRADE
    records["flags"] = Flag.HAS_A | Flag.HAS_B
    records["exchange_ns"] = records["receive_ns"] = time.time_ns()
    records["sequence"] = np.arange(count)
    records["a"], records["b"] = 1.0, 100.0
    return records.tobytes()


def as_tuples(batch: bytes) -> list[tuple[object, ...]]:
    """Return the same trades as people hand them on: tuples with a symbol, and what the trade says."""
    records = np.frombuffer(batch, dtype())
    return [
        (f"S{row}", kind, side, exchange_ns, receive_ns, sequence, price, size)
        for row, kind, side, _, exchange_ns, receive_ns, sequence, price, size, _, _ in records.tolist()
    ]


PRICE = 6
"""Which of their values is the price."""

"""One way from a process to another: a writer here, a reader there, as much as is asked for at a time."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import openbell
from benchmarks.hop.feed import NAME, PRICE, BareFeed, as_tuples, packed
from benchmarks.processes import BenchmarkError
from openbell.record import dtype

PATIENCE_S = 60.0
context = multiprocessing.get_context("spawn")


class Lane(ABC):
    """Hands records on, in batches.

    Parameters
    ----------
    readers : int
        Processes that each get all of them.

    Attributes
    ----------
    rates : dict of int to list of float
        Records a second, by the size of the batches, one for each turn.
    """

    name = ""

    def __init__(self, readers: int = 1) -> None:
        self.rates: dict[int, list[float]] = {}
        self._lines: list[Connection] = []
        self._processes: list[Any] = []
        self._readers = readers

    def start(self) -> None:
        """Start the readers and wait until they are there."""
        for index in range(self._readers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_read, args=(type(self), theirs, self.ends(index)), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)
        for line in self._lines:
            self._hear(line)

    def run(self, batch: int, batches: int) -> float:
        """Hand on so many batches of a size; return the records a second, until the last reader had the last one."""
        for line in self._lines:
            line.send((batch, batches))
        for line in self._lines:
            self._hear(line)
        began = time.monotonic_ns()
        self.write(batch, batches)
        ended: list[int] = []
        for line in self._lines:
            end, records, total = self._hear(line)
            if not records == total == batches * batch:
                raise BenchmarkError(f"{self.name}: {records} records, sum {total}, of {batches * batch}")
            ended.append(end)
        return batches * batch / ((max(ended) - began) / 1e9)

    def _hear(self, line: Connection) -> Any:
        if not line.poll(PATIENCE_S):
            raise BenchmarkError(f"{self.name}: a reader says nothing for {PATIENCE_S:.0f} s")
        try:
            return line.recv()
        except EOFError:
            raise BenchmarkError(f"{self.name}: a reader has died; its words are above") from None

    def close(self) -> None:
        """End the readers."""
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    @abstractmethod
    def ends(self, reader: int) -> Any:
        """Return what reader number `reader` reads from."""

    @abstractmethod
    def write(self, batch: int, batches: int) -> None:
        """Hand on so many batches of a size."""

    @staticmethod
    @abstractmethod
    def opened(end: Any) -> Iterator[Take]:
        """Yield, once, what reads: in the reader's process. It is open until this is closed."""


Take = Callable[[int, int], tuple[int, float]]
"""Reads at least so many records (second) that come in batches of a size (first); returns how many it read, and the sum
of their prices."""


def _read(lane: type[Lane], line: Connection, end: Any) -> None:
    with contextmanager(lane.opened)(end) as take:
        line.send("ready")
        while True:
            try:
                batch, batches = line.recv()
            except EOFError:
                return
            line.send("waiting")
            records, total = take(batch, batch * batches)
            line.send((time.monotonic_ns(), records, total))


class Ring(Lane):
    """OpenBell: a ring and tethered readers, which lose nothing either."""

    name = "openbell"

    def __init__(self, feed: BareFeed, readers: int = 1) -> None:
        super().__init__(readers)
        self._feed = feed

    def ends(self, reader: int) -> Any:
        return None

    def write(self, batch: int, batches: int) -> None:
        self._feed.write(packed(batch), batches)

    @staticmethod
    def opened(end: Any) -> Iterator[Take]:
        with openbell.attach(NAME) as market, market.ticks(mode="tethered") as ticks:

            def take(batch: int, wanted: int) -> tuple[int, float]:
                records, total = 0, 0.0
                if batch == 1:
                    for tick in ticks:
                        total += tick.a or 0.0
                        records += 1
                        if records == wanted:
                            break
                    return records, total
                for each in ticks.batches(8192):
                    with each:
                        total += float(each.records["a"].sum())
                        records += len(each)
                    if records >= wanted:
                        break
                return records, total

            yield take


class Rival(Lane):
    """A queue of messages, each one batch: of tuples, pickled, or packed as numpy has them."""

    def __init__(self, packs: bool) -> None:
        super().__init__()
        self.packs = packs

    def message(self, batch: int) -> Any:
        """Return what is handed on, again and again."""
        records = packed(batch)
        return records if self.packs else as_tuples(records) if batch > 1 else as_tuples(records)[0]

    def ends(self, reader: int) -> Any:
        return self.end(), self.packs

    @abstractmethod
    def end(self) -> Any:
        """Make the queue; return the reader's end."""

    @classmethod
    def opened(cls, end: Any) -> Iterator[Take]:
        source, packs = end
        messages = cls.messages(source, packs)
        next(messages)

        def take(batch: int, wanted: int) -> tuple[int, float]:
            records, total = 0, 0.0
            for message in messages:
                if packs:
                    found = np.frombuffer(message, dtype())
                    total += float(found["a"].sum())
                    records += len(found)
                elif batch == 1:
                    total += message[PRICE]
                    records += 1
                else:
                    total += sum([each[PRICE] for each in message])
                    records += len(message)
                if records >= wanted:
                    break
            return records, total

        yield take

    @staticmethod
    @abstractmethod
    def messages(source: Any, packs: bool) -> Iterator[Any]:
        """Yield nothing of interest once it is open, and then what comes."""


class MpQueue(Rival):
    """`multiprocessing.Queue`."""

    name = "mp_queue"

    def end(self) -> Any:
        # Bounded: what piles up in the writer's memory has not been handed on.
        self._queue = context.Queue(1000)
        return self._queue

    def write(self, batch: int, batches: int) -> None:
        put, message = self._queue.put, self.message(batch)
        for _ in range(batches):
            put(message)

    @staticmethod
    def messages(source: Any, packs: bool) -> Iterator[Any]:
        yield None
        while True:
            yield source.get()


class MpPipe(Rival):
    """`multiprocessing.Pipe`."""

    name = "mp_pipe"

    def end(self) -> Any:
        reader, self._writer = context.Pipe(duplex=False)
        return reader

    def write(self, batch: int, batches: int) -> None:
        send, message = (self._writer.send_bytes if self.packs else self._writer.send), self.message(batch)
        for _ in range(batches):
            send(message)

    @staticmethod
    def messages(source: Any, packs: bool) -> Iterator[Any]:
        yield None
        receive = source.recv_bytes if packs else source.recv
        while True:
            yield receive()


def _same(message: Any) -> Any:
    return message


class FasterFifo(Rival):
    """faster-fifo, whose reader takes as many messages at a time as there are."""

    name = "faster_fifo"

    def end(self) -> Any:
        import faster_fifo
        import faster_fifo_reduction  # noqa: F401 - makes its queues fit to be handed to a process

        options = {"loads": _same, "dumps": _same} if self.packs else {}
        self._queue = faster_fifo.Queue(max_size_bytes=4 << 20, **options)
        return self._queue

    def write(self, batch: int, batches: int) -> None:
        put, message = self._queue.put, self.message(batch)
        for _ in range(batches):
            put(message, timeout=PATIENCE_S)

    @staticmethod
    def messages(source: Any, packs: bool) -> Iterator[Any]:
        import queue

        yield None
        while True:
            try:
                yield from source.get_many(timeout=1.0)
            except queue.Empty:
                continue


class ZmqIpc(Rival):
    """A ZeroMQ PUSH and PULL pair on a Unix socket."""

    name = "zmq_ipc"

    def end(self) -> Any:
        import zmq

        self._directory = tempfile.TemporaryDirectory(prefix="openbell-hop-")
        address = f"ipc://{Path(self._directory.name) / 'socket'}"
        self._socket: Any = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.bind(address)
        return address

    def write(self, batch: int, batches: int) -> None:
        send, message = (self._socket.send if self.packs else self._socket.send_pyobj), self.message(batch)
        for _ in range(batches):
            send(message)

    @staticmethod
    def messages(source: Any, packs: bool) -> Iterator[Any]:
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.PULL)
        socket.connect(source)
        yield None
        receive = socket.recv if packs else socket.recv_pyobj
        while True:
            yield receive()

    def close(self) -> None:
        super().close()
        self._socket.close(0)
        self._directory.cleanup()


RIVALS: tuple[type[Rival], ...] = (MpQueue, MpPipe, FasterFifo, ZmqIpc)

"""One way, in ns: of a word and a record between processes that spin, and of a record to a strategy that waits."""

from __future__ import annotations

import random
import signal
import statistics
import struct
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import openbell
from benchmarks.hop.feed import NAME, BareFeed, packed
from benchmarks.hop.lanes import PATIENCE_S, context
from benchmarks.processes import BenchmarkError
from openbell.core import pingpong, ring
from openbell.core.follow import Follower
from openbell.core.ring import RingWriter
from openbell.market import Tick

_WORDS = 4096
_STAMP = struct.Struct("<q")


def _open(path: str) -> list[memoryview]:
    """Map the file that two answer each other by: two words, and a ring for each."""
    import mmap

    with Path(path).open("r+b") as file:
        body = memoryview(mmap.mmap(file.fileno(), 0))
    size = (len(body) - _WORDS) // 2
    return [body[:_WORDS], body[_WORDS : _WORDS + size], body[_WORDS + size :]]


def _answer(path: str, what: str, first: bool, out: NDArray[np.int64]) -> None:
    shared, here, there = _open(path)
    if what == "words":
        done = pingpong.words(shared[:512], first, out.data)
    else:
        mine, others = (here, there) if first else (there, here)
        bells = shared[1024:2048] if first else shared[2048:3072]
        writer = RingWriter(mine, bells[:64], bells[64:128])
        writer.recover()
        follower = Follower([others], [0], Tick, str)
        done = pingpong.rings(writer, follower, first, out.data)
    if done < len(out):
        raise BenchmarkError(f"the other side of the {what} was gone after {done:,} turns")


def _partner(path: str, what: str, turns: int, line: Connection) -> None:
    line.send("ready")
    _answer(path, what, False, np.zeros(turns, np.int64))


def one_way(what: str, turns: int) -> float:
    """Return the median of one way in ns, of ``"words"`` or ``"rings"``, both sides spinning."""
    capacity = 1 << max(3, (turns * 2 - 1).bit_length())
    with tempfile.NamedTemporaryFile(
        prefix="openbell-hop-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as file:
        # A whole number of pages each, so that both rings begin on a line.
        size = -(-ring.size(capacity) // 4096) * 4096
        file.truncate(_WORDS + 2 * size)
        for body in _open(file.name)[1:]:
            ring.format(body, capacity, 0)
        line, theirs = context.Pipe()
        partner = context.Process(target=_partner, args=(file.name, what, turns, theirs), daemon=True)
        partner.start()
        try:
            if not line.poll(PATIENCE_S):
                raise BenchmarkError("the other side does not start")
            halves = np.zeros(turns, np.int64)
            _answer(file.name, what, True, halves)
        finally:
            partner.join(5)
            if partner.is_alive():
                partner.kill()
                partner.join()
    # The first ones meet cold caches.
    return float(np.median(halves[turns // 10 :]))


def _strategy(wait: Any, count: int, line: Connection) -> None:
    with openbell.attach(NAME) as market, market.ticks(wait=wait) as ticks:
        line.send("ready")
        late = []
        now = time.monotonic_ns
        for tick in ticks:
            late.append(now() - tick.exchange_ns)
            if len(late) == count:
                break
        line.send(late)


def to_strategy(feed: BareFeed, wait: str, count: int) -> dict[str, int]:
    """Return percentiles of the time from before a record is written to when ``for tick in ticks`` has it, in ns.

    Records are written one at a time, at moments of their own: 200 to 800 us apart.
    """
    line, theirs = context.Pipe()
    reader = context.Process(target=_strategy, args=(wait, count, theirs), daemon=True)
    reader.start()
    theirs.close()
    try:
        if not line.poll(PATIENCE_S):
            raise BenchmarkError("the reader does not start")
        line.recv()
        blank = packed(1)
        due = time.monotonic_ns()
        randomly = random.Random(5)
        for _ in range(count):
            due += randomly.randrange(200_000, 800_000)
            while (left := due - time.monotonic_ns()) > 0:
                time.sleep(left / 1e9)
            feed.write(blank[:8] + _STAMP.pack(time.monotonic_ns()) + blank[16:], 1)
        if not line.poll(PATIENCE_S):
            raise BenchmarkError("the reader did not get all records")
        late = np.array(line.recv())
    finally:
        reader.kill()
        reader.join()
    p50, p99, most = np.percentile(late, (50, 99, 100))
    return {"p50": round(p50), "p99": round(p99), "max": round(most)}


def _parked(line: Connection) -> None:
    with openbell.attach(NAME) as market, market.ticks(wait="park") as ticks:
        line.send("ready")
        while True:
            ticks.read(8192)


def parked_cost(feed: BareFeed, readers: int, alternations: int, batches: int) -> dict[str, Any]:
    """Return the writer's CPU time a record with readers that park, over that without: the median of alternations.

    The readers are stopped (SIGSTOP) in every other slice. Stopped or not, they have announced nothing that is not
    taken back by the first record.
    """
    lines, processes = [], []
    try:
        for _ in range(readers):
            line, theirs = context.Pipe()
            process = context.Process(target=_parked, args=(theirs,), daemon=True)
            process.start()
            lines.append(line)
            processes.append(process)
        for line in lines:
            if not line.poll(PATIENCE_S):
                raise BenchmarkError("a parked reader does not start")
        batch = packed(100)
        ratios, alone = [], []
        for _ in range(alternations):
            costs = {}
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for process in processes:
                    _signal(process.pid, number)
                time.sleep(0.01)
                feed.write(batch, 10)
                began = time.thread_time_ns()
                feed.write(batch, batches)
                costs[number] = (time.thread_time_ns() - began) / (batches * 100)
            ratios.append(costs[signal.SIGCONT] / costs[signal.SIGSTOP])
            alone.append(costs[signal.SIGSTOP])
    finally:
        for process in processes:
            process.kill()
            process.join()
    return {
        "readers": readers,
        "alternations": alternations,
        "writer_cpu_ns_alone": round(statistics.median(alone), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(each, 3) for each in ratios],
    }


def _signal(pid: int | None, number: signal.Signals) -> None:
    import os

    assert pid is not None
    os.kill(pid, number)

"""One stack at work: its processes, its slices, and the proof that its snapshot is what it must be."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openbell
from benchmarks.peers.frames import REPORT, Oracle, Pool, Rows
from benchmarks.peers.generator_process import GeneratorProcess
from benchmarks.peers.stacks import OURS, Stack
from benchmarks.processes import BenchmarkError, cpu_ns

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
SLICE_S = 120.0
STOP_S = 10.0
_LOOK_S = 0.002


@dataclass(frozen=True)
class Slice:
    """What one slice took: wall time, and the CPU time of each process of the stack, in ns a tick."""

    wall_ns: float
    cpu_ns: dict[str, float]

    @property
    def total_cpu_ns(self) -> float:
        """CPU time of all processes, ns a tick."""
        return sum(self.cpu_ns.values())


class Lane:
    """A stack that runs, connected and subscribed, until it is closed.

    Parameters
    ----------
    stack : Stack
    pool : Pool
        What it will be sent.
    generator : GeneratorProcess
        By whom.
    """

    def __init__(self, stack: Stack, pool: Pool, generator: GeneratorProcess) -> None:
        self.stack = stack
        self.pool = pool
        self.slices: list[Slice] = []
        self.ticks = 0
        self._generator = generator
        self._oracle = Oracle(pool)
        self._unread = b""
        self._market: openbell.Market | None = None
        self.processes: dict[str, int] = {}
        path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
        module = f"benchmarks.peers.stacks.{stack.module}"
        url = f"ws://127.0.0.1:{generator.port}/{pool.shape}/{stack.name}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, url, pool.shape, *stack.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Its own group: whatever it has started can be ended with it.
            process_group=0,
        )
        try:
            ready = self._hear("ready", READY_S)
            self.processes = ready["processes"]
            if stack.name == OURS:
                self._market = openbell.attach(ready["feed"])
        except BaseException:
            self.close()
            raise

    def run(self, chunks: int) -> Slice:
        """Have `chunks` chunks sent, wait until the last tick is in the snapshot, and check all of it.

        Raises
        ------
        BenchmarkError
            It does not come to an end, or the snapshot is not equal to the generator's known result.
        """
        ticks = chunks * self.pool.ticks_a_chunk
        self._oracle.advance(chunks)
        self.ticks += ticks
        before = self._cpu()
        began = time.perf_counter_ns()
        self._generator.send(self.pool.shape, self.stack.name, chunks)
        self._await_end()
        wall = time.perf_counter_ns() - began
        cpu = {role: (after - before[role]) / ticks for role, after in self._cpu().items()}
        if differences := self._oracle.differences(self._snapshot()):
            raise BenchmarkError(
                f"{self.stack.title}: {len(differences)} of {len(self._oracle.rows)} symbols are not what was sent: "
                + "; ".join(differences[:3])
            )
        return Slice(wall / ticks, cpu)

    def _cpu(self) -> dict[str, int]:
        return {role: cpu_ns(pid) for role, pid in self.processes.items()}

    def _await_end(self) -> None:
        if self._market is None:
            self._hear("done", SLICE_S)
            return
        # A look costs us some 10 us; the trades are counted with the rest of a row, so none can be missing at the end.
        trades = self._market.trades
        deadline = time.monotonic() + SLICE_S
        while (seen := int(trades.sum())) < self.ticks:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.stack.title}: {seen:,} of {self.ticks:,} ticks within {SLICE_S:.0f} s")
            if self._process.poll() is not None:
                raise BenchmarkError(f"{self.stack.title}: ended with status {self._process.returncode}")
            time.sleep(_LOOK_S)

    def _snapshot(self) -> Rows:
        if self._market is not None:
            copy = self._market.snapshot()
            columns = zip(copy.symbols, copy.last.tolist(), copy.volume.tolist(), copy.trades.tolist(), strict=True)
            return {symbol: (last, volume, trades) for symbol, last, volume, trades in columns if trades}
        self._generator.ask(self.pool.shape, self.stack.name, REPORT)
        rows = self._hear("snapshot", SLICE_S)["rows"]
        return {symbol: (float(last), float(volume), int(count)) for symbol, (last, volume, count) in rows.items()}

    def _hear(self, event: str, seconds: float) -> dict[str, Any]:
        """Read the stack's next line, which must be `event`."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BenchmarkError(f"{self.stack.title}: not {event} within {seconds:.0f} s")
            if not (more := os.read(descriptor, 1 << 20)):
                status = self._process.wait(STOP_S)
                raise BenchmarkError(
                    f"{self.stack.title}: ended with status {status} instead of {event}; see its output"
                )
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if said["event"] != event:
            raise BenchmarkError(f"{self.stack.title}: {said['event']} instead of {event}")
        return said

    def close(self) -> None:
        """End the stack with all its processes: it is asked to, and not left alone if it does not."""
        if self._market is not None:
            self._market.close()
        assert self._process.stdin is not None and self._process.stdout is not None
        # OpenBell ends with its stdin, the others with their connection; those that have none yet with a signal.
        self._process.stdin.close()
        if self.processes and self.stack.name != OURS:
            self._generator.ask(self.pool.shape, self.stack.name, "close")
        ends = [None, signal.SIGTERM, signal.SIGKILL] if self.processes else [signal.SIGTERM, signal.SIGKILL]
        for number in ends:
            try:
                if number is not None:
                    os.killpg(self._process.pid, number)
                self._process.wait(STOP_S)
                break
            except ProcessLookupError:
                self._process.wait()
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.stdout.close()

    def __enter__(self) -> Lane:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The runner's end of the generator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.processes import BenchmarkError, cpu_ns

ROOT = Path(__file__).resolve().parents[2]


class GeneratorProcess:
    """A running generator. As a context manager it ends on the way out.

    Attributes
    ----------
    port : int
        Where it listens, on loopback.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # Ctrl-C in a terminal is for the benchmark alone; this ends with its stdin.
            process_group=0,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"the generator ended with status {self._process.wait()}; see its output")
        self.port = int(line)

    @property
    def cpu_ns(self) -> int:
        """CPU time that it has taken, ns."""
        return cpu_ns(self._process.pid)

    def send(self, shape: str, name: str, chunks: int) -> None:
        """Have `chunks` chunks sent to a client, and the end of the slice."""
        self._order(f"{shape} {name} {chunks}")

    def ask(self, shape: str, name: str, what: str) -> None:
        """Have a client told to answer with `what`."""
        self._order(f"{shape} {name} {what}")

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it; its connections close."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> GeneratorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Supervisors in processes of their own, which tests may kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openbell
from openbell.errors import FeedNotFound
from openbell.market import Market
from openbell.monitor.control import FeedState

RUN = """
import sys
from openbell.supervisor import Supervisor
from feed_driver import configure
sys.exit(Supervisor(configure(sys.argv[1]), receivers=False).run())
"""
RUN_WITH_RECEIVER = RUN.replace("receivers=False", "receivers=True")
RUN_IN_A_THREAD = """
import sys, threading, time
from openbell.supervisor import Supervisor
from feed_driver import configure
def run():
    supervisor = Supervisor(configure(sys.argv[1]), receivers=False)
    supervisor.start()
    while True:
        supervisor.poll(0.1)
threading.Thread(target=run, daemon=True).start()
time.sleep(600)
"""


@contextlib.contextmanager
def supervisor_process(
    name: str, source: str = RUN, *, ignore_interrupts: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisor of feed `name` in a process of its own; it is killed on the way out, if it still lives."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])

    def as_a_shell_starts_a_job() -> None:
        # Either way said, not inherited: the tests themselves may be a background job.
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_interrupts else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", source, name],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=as_a_shell_starts_a_job,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def await_running(name: str, patience_s: float = 15.0) -> Market:
    """Wait until feed `name` runs; return it attached."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            market = openbell.attach(name)
            if market.status().state is FeedState.RUNNING:
                return market
            market.close()
        except FeedNotFound:
            assert time.monotonic() < deadline, f"feed {name} did not start within {patience_s} s"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Say whether process `pid` lives; one that is dead and not yet reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False
    return stat[stat.rindex(b")") + 2 :].split()[0] not in (b"Z", b"X")


def seconds_until_gone(pids: list[int], patience_s: float) -> float:
    """Wait until no process of `pids` lives; return how long that took."""
    began = time.monotonic()
    while any(lives(pid) for pid in pids):
        assert time.monotonic() - began < patience_s, f"{[pid for pid in pids if lives(pid)]} still live"
        time.sleep(0.005)
    return time.monotonic() - began

"""Writers and tethered readers that are killed: what the others are given stays whole, and nobody is held for long."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.tether_harness import CAPACITY, SLOT, Shared, numbered
from faults.walking import Walk, finished
from openbell.core import ring, tether
from openbell.core.ring import RingReader
from openbell.errors import ReaderCut

COUNT = 600
PATIENCE_S = 60.0


@pytest.fixture
def walk(core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]) -> Walk:
    return Walk(core, tmp_path, processes)


def await_end(process: subprocess.Popen[str], meanwhile: Callable[[], None]) -> str:
    """Do something again and again until a process ends; return how it did."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        assert time.monotonic() < deadline, "the process hangs"
        meanwhile()
    return finished(process)


@pytest.mark.parametrize(
    ("point", "passage"), [(20, 3), (23, 9), (24, 2), (25, 40), (40, 1), (41, 1)], ids=lambda value: str(value)
)
def test_a_reader_is_given_every_position_once_though_its_writer_is_killed(
    walk: Walk, tmp_path: Path, point: int, passage: int
) -> None:
    shared = Shared(tmp_path, create=True)
    worker = RingReader(shared.ring)
    reader, stalled = shared.tether(0), shared.tether(1)
    reader.join()
    stalled.join()
    taken: list[bytes] = []

    def follow() -> None:
        worker.poll()
        taken.append(reader.read())

    # Killed where it claims, publishes, rings or cuts; then while it pads what that left; then left in peace.
    writer = walk.start("tether_harness", f"write {COUNT}", (point, passage))
    assert await_end(writer, follow) == "crashed"
    at = ring.positions(shared.ring)
    if at["claim"] > at["head"]:
        assert await_end(walk.start("tether_harness", f"write {COUNT}", (30, 1)), follow) == "crashed"
    assert await_end(walk.start("tether_harness", f"write {COUNT}"), follow) == "done"
    follow()
    data = b"".join(taken)
    assert len(data) // 64 == ring.positions(shared.ring)["head"]
    assert shared.wrong(data, 0) == []
    assert reader.gating
    # Who stalled was cut by one of the writers; killed behind the cut, it had not come to counting it.
    assert tether.states(shared.consumers, 0)[1][0] == "cut"
    assert tether.states(shared.consumers, 0)[1][4] == (0 if point == 41 else 1)
    with pytest.raises(ReaderCut):
        stalled.read()


@pytest.mark.parametrize(("point", "passage"), [(42, 2), (43, 1), (43, 6), (44, 3), (45, 8)])
def test_a_writer_is_not_held_for_long_by_a_reader_that_was_killed(
    walk: Walk, tmp_path: Path, point: int, passage: int
) -> None:
    shared = Shared(tmp_path, create=True)
    worker, writer = RingReader(shared.ring), shared.writer()

    def write() -> None:
        worker.poll()
        if writer.append(numbered(writer.position_next)):
            writer.publish()

    reader = walk.start("tether_harness", "read", (point, passage))
    assert await_end(reader, write) == "crashed"
    deadline = time.monotonic() + PATIENCE_S
    for _ in range(3 * CAPACITY):
        worker.poll()
        while not writer.append(numbered(writer.position_next)):
            assert time.monotonic() < deadline, "the dead reader holds the writer"
    # As the supervisor does; then the place is as good as new.
    tether.clear(shared.consumers, SLOT)
    assert tether.states(shared.consumers, 0)[SLOT][0] == "free"
    again = shared.tether(SLOT)
    at = again.join("oldest")
    writer.publish()
    assert shared.wrong(again.read(), at) == []


def test_a_reader_that_is_killed_by_anyone_at_any_moment_leaves_the_others_what_they_were_promised(
    walk: Walk, tmp_path: Path
) -> None:
    shared = Shared(tmp_path, create=True)
    worker, writer = RingReader(shared.ring), shared.writer()
    watching = shared.tether(0)
    watching.join()
    for pause in (0.0, 0.013, 0.031):
        process = walk.start("tether_harness", "read")
        end = time.monotonic() + 0.4 + pause
        while time.monotonic() < end:
            worker.poll()
            at = writer.position_next
            if writer.append(numbered(at)):
                writer.publish()
            first = watching.position
            assert shared.wrong(watching.read(), first) == []
        process.send_signal(signal.SIGKILL)
        assert finished(process) == "crashed"
        tether.clear(shared.consumers, SLOT)
    assert watching.gating

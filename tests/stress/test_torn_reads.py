"""Rows read by some processes while another one writes them, at full speed: each is a state the row was really in."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from corelab.laps import ROWS
from corelab.memory import shared
from corelab.processes import program, said, tell

from openbell.core import snapshot


def read(path: Path, readers: list[tuple[str, int]], stops: int = 0) -> list[dict[str, Any]]:
    """Have `readers` (how, reads) read while a worker applies; stop and continue the worker `stops` times meanwhile."""
    # Kept mapped here: the memory lives as long as the test.
    rows = shared(path, snapshot.size(ROWS, 1))
    generator = random.Random(4)
    with ExitStack() as stack:
        worker = stack.enter_context(program("apply_laps", path))
        said(worker)
        processes = [stack.enter_context(program("read_laps", path, how, count)) for how, count in readers]
        for process in processes:
            said(process)
        for process in processes:
            tell(process)
        for _ in range(stops):
            time.sleep(generator.uniform(0.01, 0.03))
            os.kill(worker.pid, signal.SIGSTOP)
            time.sleep(0.02)
            os.kill(worker.pid, signal.SIGCONT)
        found = [said(process) for process in processes]
        assert worker.poll() is None, "the worker died"
    rows.close()
    return found


@pytest.mark.timeout(3600)
def test_no_row_is_torn_in_ten_million_reads_by_two_processes(tmp_path: Path, reads: int) -> None:
    # The worker is stopped twenty times wherever it is, often in the middle of a row: readers must not mind.
    found = read(tmp_path / "snapshot", [("all", reads // 2), ("rows", reads - reads // 2)], stops=20)
    assert sum(each["reads"] for each in found) >= reads
    for each in found:
        assert (each["torn"], each["odd"], each["backwards"]) == (0, 0, 0), each
        assert each["records"] > 100_000, f"the worker did hardly anything: {each}"
    assert sum(each["undone"] for each in found) > 0, "no reader ever met a worker that was stopped in a row"


@pytest.mark.timeout(60)
def test_the_check_for_torn_rows_finds_them_where_versions_are_not_looked_at(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "snapshot", [("live", 200_000)])
    assert found["torn"] > 0

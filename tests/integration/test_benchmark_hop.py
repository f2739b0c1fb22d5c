"""``python -m benchmarks hop``: what it hands on is counted to the last record, and what it says is complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hop import report
from benchmarks.hop.feed import PRICE, SYMBOLS, as_tuples, bare_feed, packed
from benchmarks.hop.lanes import MpPipe, Ring
from benchmarks.processes import BenchmarkError

pytestmark = pytest.mark.timeout(100)

REPOSITORY = Path(__file__).parents[2]


def measured(**ratios: float) -> dict[str, Any]:
    """Return what a run might have found."""
    rivals = dict.fromkeys(report.RIVALS, 100.0) | ratios
    rates = dict.fromkeys(("openbell", *report.RIVALS), 1000)
    latencies = {"p50": 1, "p99": 2, "max": 3}
    return {
        "spin": [1.5, 9.0, 1.6],
        "one_way_ns": {"words": 100, "ring_spin": 160}
        | {f"strategy_{wait}": latencies for wait in ("spin", "adaptive", "park")},
        "parked": {"readers": 8, "ratio": 1.2, "writer_cpu_ns_alone": 5.0},
        "records_per_s": {"1": rates, "100": rates},
        "ratios": {"1": rivals, "100": rivals},
        "records_per_s_by_readers": {"1": {"1": 5}, "100": {"1": 5}},
    }


def test_a_quick_run_comes_to_its_end_and_says_everything() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "hop", "--quick", "--json"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["ratio"]) == {"mp_queue", "mp_pipe", "faster_fifo", "zmq_ipc", "spin_vs_pingpong"}
    assert found["unavailable"] == {}
    for batch in ("1", "100"):
        assert all(rate > 0 for rate in found["records_per_s"][batch].values())
        assert set(found["records_per_s_by_readers"][batch]) == {"1", "2"}
    for wait in ("spin", "adaptive", "park"):
        assert 0 < found["one_way_ns"][f"strategy_{wait}"]["p50"] <= found["one_way_ns"][f"strategy_{wait}"]["max"]
    assert found["parked_readers"]["alternations"] == len(found["parked_readers"]["ratios"]) == 2
    assert "batches of 100" in done.stderr
    assert not list(Path("/dev/shm").glob("openbell-hop-*/hop/*"))


def test_what_is_expected_is_judged_by_the_medians() -> None:
    assert report.result(measured(), {}, 3)["ok"]
    assert report.result(measured(), {}, 3)["ratio"]["spin_vs_pingpong"] == 1.6
    slow = report.result(measured(faster_fifo=15.0), {}, 3)
    assert not slow["ok"]
    assert [name for name, met in slow["met"].items() if not met] == ["faster_fifo_batch_100"]
    # A pipe is shown, and nothing is expected of it.
    assert report.result(measured(mp_pipe=0.5), {}, 3)["ok"]


def test_all_are_given_the_same_records() -> None:
    tuples = as_tuples(packed(3))
    assert [each[0] for each in tuples] == ["S0", "S1", "S2"]
    assert all(each[PRICE] == 1.0 for each in tuples)
    assert SYMBOLS >= 3


def test_a_lane_counts_what_its_readers_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with bare_feed() as feed:
        ring = Ring(feed, readers=2)
        try:
            ring.start()
            assert ring.run(7, 50) > 0
            assert ring.run(1, 3) > 0
        finally:
            ring.close()
    pipe = MpPipe(packs=False)
    try:
        pipe.start()
        assert pipe.run(3, 10) > 0
        monkeypatch.setattr(pipe, "message", lambda batch: [("S0", 1, 0, 0, 0, 0, 2.0, 1.0)] * batch)
        with pytest.raises(BenchmarkError, match="mp_pipe: 30 records, sum 60"):
            pipe.run(3, 10)
    finally:
        pipe.close()

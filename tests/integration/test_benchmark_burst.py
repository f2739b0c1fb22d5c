"""The burst benchmark, small, as a command: its figures are there and add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
KEYS = {
    *("profile", "scale", "symbols", "frame_ticks", "offered", "offered_first_second", "applied", "lost"),
    *("generator_late_ns", "receive_to_snapshot_ns", "intended_to_snapshot_ns", "first_flush_drain_ns"),
    *("decode_only_drain_ns", "cpu_seconds", "peak_ring_fill", "rss_mb", "ok"),
}


def burst(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "burst", "--quick", "--json", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("profile", "scale", "ticks", "first_second", "flush"),
    [("hk", 0.5, 1, 5_000, 1_500), ("us", 0.1, 100, 50_000, 2_000)],
)
def test_an_opening_comes_through_whole(
    profile: str, scale: float, ticks: int, first_second: int, flush: int, tmp_path: Path
) -> None:
    picture = tmp_path / "burst.svg"
    status, found, said = burst(
        *("--profile", profile, "--scale", str(scale), "--frame-ticks", str(ticks), "--plot", str(picture))
    )
    assert found.keys() >= KEYS
    assert (found["offered_first_second"], found["expected_first_second"]) == (first_second, first_second)
    assert found["offered"] == found["applied"] > first_second
    assert found["lost"] == 0
    assert found["snapshot_matches"] is True
    assert found["first_flush_events"] == flush
    assert found["first_flush_drain_ns"] > 0
    assert found["decode_only_drain_ns"] > 0
    for name in ("receive_to_snapshot_ns", "intended_to_snapshot_ns"):
        assert 0 < found[name]["p50"] <= found[name]["p99"] <= found[name]["p999"] <= found[name]["max"]
        assert sum(count for _, _, count in found["histograms"][name]) == found["applied"]
    # From the intended moment on cannot be shorter than from the socket read on.
    assert found["intended_to_snapshot_ns"]["p50"] >= found["receive_to_snapshot_ns"]["p50"]
    assert 0 < found["peak_ring_fill"] <= 1
    assert found["cpu_seconds"].keys() == {"generator", "receiver-0", "worker-0", "benchmark"}
    assert all(seconds > 0 for seconds in found["cpu_seconds"].values())
    # How late the generator was is this machine's affair, and the only thing that may fail here.
    assert found["ok"] is (found["generator_late_ns"]["p99"] <= 5_000_000)
    assert status == (0 if found["ok"] else 1)
    assert said.splitlines()[-1] == ("OK" if found["ok"] else "NOT OK")
    assert picture.read_text().lstrip().startswith("<?xml")


def test_a_picture_that_cannot_be_drawn_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "burst", "--plot", str(tmp_path / "burst.txt")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ends in .png, .svg, .pdf" in done.stderr
    assert "Traceback" not in done.stderr

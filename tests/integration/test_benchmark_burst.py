"""The burst benchmark, small, as a command: its figures are there and add up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.burst import BurstOptions, drain
from benchmarks.processes import BenchmarkError
from openbell.signals import StopSignals

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
    [("hk", 0.2, 1, 2_000, 600), ("us", 0.02, 100, 10_000, 400)],
)
def test_an_opening_comes_through_whole(
    profile: str, scale: float, ticks: int, first_second: int, flush: int, tmp_path: Path
) -> None:
    picture = tmp_path / "burst.svg"
    # One picture is enough: to draw it takes longer than the burst.
    drawn = ("--plot", str(picture)) if ticks == 1 else ()
    status, found, said = burst("--profile", profile, "--scale", str(scale), "--frame-ticks", str(ticks), *drawn)
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
    assert found["cpu_seconds"].keys() == {"generator", "receiver-0", "worker-0", "supervisor"}
    assert found["rss_mb"].keys() == found["cpu_seconds"].keys()
    assert all(seconds > 0 for seconds in found["cpu_seconds"].values())
    # How late the generator was is this machine's affair, and the only thing that may fail here.
    assert found["ok"] is (found["generator_late_ns"]["p99"] <= 5_000_000)
    assert status == (0 if found["ok"] else 1)
    assert said.splitlines()[-1] == ("OK" if found["ok"] else "NOT OK")
    assert not drawn or picture.read_text().lstrip().startswith("<?xml")


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


@pytest.mark.parametrize(("benchmark", "until"), [("burst", "first flush"), ("burst", "connecting"), ("peers", "")])
def test_an_interrupt_is_said_and_leaves_nothing(benchmark: str, until: str, tmp_path: Path) -> None:
    arguments = [benchmark, "--quick", "--json"]
    runtime, temporary = tmp_path / "feeds", tmp_path / "tmp"
    runtime.mkdir(mode=0o700)
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=os.environ | {"OPENBELL_RUNTIME_DIR": str(runtime), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal, where Ctrl-C is for all of its processes.
        process_group=0,
    )
    try:
        assert process.stderr is not None
        if until:
            assert "first flush" in process.stderr.readline()
        if until == "connecting":
            # The feed is there, and nothing has been sent yet.
            deadline = time.monotonic() + 30
            while not any(runtime.rglob("ring*")) and time.monotonic() < deadline:
                time.sleep(0.001)
        elif not until:
            # It says nothing before its end. Once it has processes of its own, it is somewhere in the middle.
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            deadline = time.monotonic() + 60
            while len(children.read_text().split()) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert out == ""
    assert not any(path.is_file() for path in runtime.rglob("*")) and not any(temporary.iterdir())


def test_a_client_that_ends_too_early_is_an_error_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def broken(command: list[str], **options: Any) -> subprocess.Popen[str]:
        return real([sys.executable, "-c", ""] if "benchmarks.burst.decode_only" in command else command, **options)

    monkeypatch.setattr(subprocess, "Popen", broken)
    options = BurstOptions(profile="hk", scale=0.1, frame_ticks=1, overflow="block", seconds=1.0, repeats=1)
    with StopSignals() as signals, pytest.raises(BenchmarkError, match="ended with status 0"):
        drain.decode_only_ns(options.market(0.01), signals)

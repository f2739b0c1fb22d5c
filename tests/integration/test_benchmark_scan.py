"""The scan benchmark, small, as a command: its figures are there, and everybody has found the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
LANES = {"copy", "memcpy", "scan", "numpy", "dict", "whole"}


def test_copies_and_scans_are_compared() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "scan", "--quick", "--json"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ratio"].keys() == found["target"].keys() == {"copy_vs_memcpy", "scan_vs_numpy", "dict_vs_scan"}
    assert all(value > 0 for value in found["ratio"].values())
    assert (found["symbols"], found["turns"]) == (2_000, 30)
    assert {kind: set(costs) for kind, costs in found["us"].items()} == {"quiet": LANES, "writing": LANES}
    assert found["quotes_per_s"] > 0
    assert found["ok"] is all(found["met"].values())
    assert done.stderr.splitlines()[-1] == ("OK" if found["ok"] else "NOT OK")

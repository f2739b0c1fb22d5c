"""The soak: a vendor that misbehaves in every way, again and again, and a feed that needs no more for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbell.demo.resources import JUDGED_S

EVERY_S = 5.0


@pytest.mark.timeout(3600)
def test_a_storm_of_faults_is_weathered_and_leaves_nothing_behind(soak_s: float) -> None:
    # Short runs have all their faults at short intervals, and are not judged by what their processes hold.
    every_s = EVERY_S if soak_s >= JUDGED_S else 1.0
    market = ("--symbols", "400", "--rate", "2000", "--connections", "2", "--seed", "5")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openbell", "demo", "--json", "--faults", "storm", *market),
            *("--seconds", str(soak_s), "--fault-every", str(every_s)),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        timeout=soak_s + 120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] and result["wrong"] == []
    assert len(result["faults"]) >= soak_s / every_s - 2
    assert result["received"] > 1000 * soak_s
    assert all(each["recovered_s"] is not None for each in result["faults"])
    # What it does is said when it is done.
    assert all(each["kind"] in done.stderr for each in result["faults"])
    for name, trend in result["resources"].items():
        assert trend["flat"] and trend["judged"] is (soak_s >= JUDGED_S), (name, trend)

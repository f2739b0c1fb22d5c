"""The benchmark of looks for changes: that it runs, and finds what moved."""

from __future__ import annotations

import json

import pytest

from benchmarks.changes import MOVED, SYMBOLS, WAYS, run


@pytest.mark.timeout(60)
def test_a_quick_run_tells_the_cost_of_every_way_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(as_json=True, quick=True) == 0
    told = capsys.readouterr()
    result = json.loads(told.out.splitlines()[-1])
    assert result["symbols"] == SYMBOLS
    assert tuple(result["cost_us"]) == WAYS
    assert all([int(count) for count in cost] == list(MOVED) for cost in result["cost_us"].values())
    assert all(each > 0 for cost in result["cost_us"].values() for each in cost.values())
    assert set(result["ratio"]) == {"column_vs_poll", "snapshot_vs_poll"}
    assert "each symbol more that moved costs" in told.err

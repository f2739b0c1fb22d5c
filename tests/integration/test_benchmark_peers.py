"""The comparison with other stacks, small: it proves its snapshots, says what it could not measure, and cleans up."""

from __future__ import annotations

import io
import json
from types import MappingProxyType
from typing import Any

import pytest

from benchmarks.generator import TICKS_A_FRAME
from benchmarks.peers import report
from benchmarks.peers.frames import Oracle, Pool
from benchmarks.peers.generator_process import GeneratorProcess
from benchmarks.peers.lane import Lane
from benchmarks.peers.run import Plan, compare
from benchmarks.peers.stacks import OURS, STACKS, Stack
from benchmarks.processes import BenchmarkError

SMALL = Plan(rounds=2, slice_s=0.02)


def named(*names: str) -> list[Stack]:
    return [stack for stack in STACKS if stack.name in names]


@pytest.mark.parametrize("shape", ["single", "batch"])
def test_openbell_and_a_rival_end_with_what_the_generator_sent(shape: str) -> None:
    found = report.figures(compare(named(OURS, "one_process"), shape, SMALL))
    ours, theirs = found[OURS], found["one_process"]
    assert set(ours["cpu_ns_by_process"]) == {"supervisor", "receiver", "worker"}
    for entry in (ours, theirs):
        assert entry["verified"]
        assert entry["ticks"] >= 3 * TICKS_A_FRAME[shape], "a warm-up and two turns"
        assert entry["ticks_per_s"] > 0
        assert entry["cpu_ns_per_tick"] > 0
    assert theirs["speed_ratio"] > 0
    assert theirs["cpu_ratio"] > 0
    assert theirs["met"] is (min(theirs["speed_ratio"], theirs["cpu_ratio"]) >= theirs["target"])


def test_a_snapshot_that_is_not_what_was_sent_ends_the_comparison() -> None:
    with GeneratorProcess() as generator, Lane(named("one_process")[0], Pool.of("batch"), generator) as lane:
        # As if a chunk had been lost on the way.
        lane._oracle.advance(1)
        with pytest.raises(BenchmarkError, match="symbols are not what was sent"):
            lane.run(1)


def test_the_oracle_gives_the_same_for_many_turns_at_once_and_one_chunk_after_the_other() -> None:
    pool = Pool.of("batch")
    at_once, one_by_one = Oracle(pool), Oracle(pool)
    at_once.advance(3)
    at_once.advance(2 * len(pool.chunks) + 5)
    for _ in range(2 * len(pool.chunks) + 8):
        one_by_one.advance(1)
    assert at_once.rows == one_by_one.rows
    symbol = next(iter(at_once.rows))
    last, volume, count = at_once.rows[symbol]
    assert one_by_one.differences({**at_once.rows, symbol: (last, volume, count - 1)}), "one tick is missing"


def test_what_could_not_be_measured_is_said_and_is_not_ok() -> None:
    lacking = Stack("one_process", "a rival", "one_process", MappingProxyType({"no-such": "no_such_module"}))
    why = lacking.unavailable()
    assert why is not None
    assert "no-such cannot be imported" in why
    assert "pip install 'openbell[bench]'" in why
    entry: dict[str, Any] = {
        "ticks": 1,
        "ticks_per_s": 1,
        "cpu_ns_per_tick": 1.0,
        "cpu_ns_by_process": {"process": 1.0},
    }
    result = report.result({"single": {OURS: entry}}, {"one_process": why}, 1, 0.1)
    assert json.loads(json.dumps(result))["ok"] is False
    out = io.StringIO()
    report.table(result, out)
    assert f"NOT MEASURED: {why}" in out.getvalue()

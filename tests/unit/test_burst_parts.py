"""The parts of the burst benchmark that need no market: the search for a limit, the checks, the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.burst import BurstOptions, drain, drawing, limit
from benchmarks.processes import BenchmarkError
from openbell.errors import ConfigError

OPTIONS = BurstOptions(profile="us", scale=1.0, frame_ticks=1, overflow="block", seconds=10.0, repeats=1)


class Machine:
    """Sustains everything up to a scale, or, in a mood, only every other time."""

    def __init__(self, most: float, *, in_time: float = 1e9, moody: bool = False) -> None:
        self.most, self.in_time, self.moody, self.runs = most, in_time, moody, 0

    def measure(self, options: BurstOptions) -> dict[str, Any]:
        self.runs += 1
        ok = options.scale <= self.most and not (self.moody and self.runs % 2 == 0)
        late = 10_000_000 if options.scale <= self.in_time else 200_000_000
        return {
            **{"ok": ok, "offered": 1, "lost": 0, "generator_late_ns": None},
            "intended_to_snapshot_ns": {"p99": late},
        }


@pytest.mark.parametrize("most", [0.013, 0.2, 0.7, 1.0, 1.3, 3.0, 31.0])
def test_the_limit_is_found_to_a_few_percent(most: float) -> None:
    scale, tried = limit.find(OPTIONS, Machine(most).measure, lambda text: None)
    assert 0.95 * most <= scale <= most
    assert [each["ok"] for each in tried] == [each["scale"] <= most for each in tried]


def test_what_only_buffers_hold_is_not_sustained() -> None:
    scale, _ = limit.find(OPTIONS, Machine(10.0, in_time=0.7).measure, lambda text: None)
    assert 0.95 * 0.7 <= scale <= 0.7


def test_a_scale_that_is_sustained_only_now_and_then_is_not_sustained() -> None:
    with pytest.raises(BenchmarkError, match="not even"):
        limit.find(OPTIONS, Machine(100.0, moody=True).measure, lambda text: None)


def test_a_machine_without_limit_ends_the_search() -> None:
    scale, _ = limit.find(OPTIONS, Machine(1e9).measure, lambda text: None)
    assert scale == 32.0


def test_frames_that_were_not_decoded_are_an_error() -> None:
    assert drain.decoded_at_ns('{"last_ns": 7, "frames": 1000}', 1000, 1) == 7
    # A part of a group may leave alone.
    assert drain.decoded_at_ns('{"last_ns": 7, "frames": 11}', 1000, 100) == 7
    for frames, group in ((999, 1), (9, 100)):
        with pytest.raises(BenchmarkError, match="1,000 events were sent"):
            drain.decoded_at_ns(f'{{"last_ns": 7, "frames": {frames}}}', 1000, group)


@pytest.mark.parametrize(("name", "why"), [("burst.txt", "ends in"), ("nowhere/burst.svg", "no directory")])
def test_a_picture_that_cannot_be_drawn_is_refused_at_once(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        drawing.check(tmp_path / name)

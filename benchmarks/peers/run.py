"""The comparison: who takes part, in which order, for how long."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.peers import report
from benchmarks.peers.frames import Pool
from benchmarks.peers.generator_process import GeneratorProcess
from benchmarks.peers.lane import Lane
from benchmarks.peers.stacks import STACKS, Stack
from openbell.errors import OpenBellError

SHAPES = ("single", "batch")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    rounds : int
        Turns; in each, every stack has one slice.
    slice_s : float
        About how long a slice is, in seconds: each stack is sent as much as it takes in that time.
    """

    rounds: int
    slice_s: float


FULL = Plan(rounds=11, slice_s=1.5)
QUICK = Plan(rounds=3, slice_s=0.25)


def main(as_json: bool, quick: bool) -> int:
    """Measure, print; return the exit status."""
    plan = QUICK if quick else FULL
    out = sys.stderr if as_json else sys.stdout
    missing = {stack.name: why for stack in STACKS if (why := stack.unavailable())}
    present = [stack for stack in STACKS if stack.name not in missing]
    try:
        shapes = {shape: report.figures(compare(present, shape, plan)) for shape in SHAPES}
    except OpenBellError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    result = report.result(shapes, missing, plan.rounds, plan.slice_s)
    report.table(result, out)
    if as_json:
        report.json_line(result)
    # A quick run is a smoke test: too short to judge by.
    return 0 if result["ok"] or quick else 1


def compare(stacks: Sequence[Stack], shape: str, plan: Plan) -> list[Lane]:
    """Run every stack over one shape, in turns.

    Returns
    -------
    list of Lane
        Ended, with their slices: one a turn.

    Raises
    ------
    OpenBellError
        A stack fails, or its snapshot is not equal to the generator's known result.
    """
    with ExitStack() as closing:
        generator = closing.enter_context(GeneratorProcess())
        pool = Pool.of(shape)
        lanes = [closing.enter_context(Lane(stack, pool, generator)) for stack in stacks]
        chunks = [_calibrated(lane, plan.slice_s) for lane in lanes]
        for turn in range(plan.rounds):
            # Turn the order from turn to turn, so that none always follows the same neighbour.
            for i in [*range(turn % len(lanes), len(lanes)), *range(turn % len(lanes))]:
                lanes[i].slices.append(lanes[i].run(chunks[i]))
            if sys.stderr.isatty():
                print(f"\r{shape}: turn {turn + 1} of {plan.rounds}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(file=sys.stderr)
    return lanes


def _calibrated(lane: Lane, slice_s: float) -> int:
    """Warm a stack up, and return how many chunks it takes in `slice_s`."""
    chunks = 1
    while True:
        taken_s = lane.run(chunks).wall_ns * chunks * lane.pool.ticks_a_chunk / 1e9
        wanted = max(1, round(chunks * slice_s / taken_s))
        if taken_s >= slice_s / 2:
            return wanted
        # Not at once: the first ticks are the slowest, and a guess from them far too low or, after a pause, too high.
        chunks = min(wanted, chunks * 8) if wanted > chunks else chunks + 1

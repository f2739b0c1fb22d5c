"""The comparison: who takes part, in which order, for how long."""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.hop import latency, report
from benchmarks.hop.feed import BareFeed, bare_feed
from benchmarks.hop.lanes import RIVALS, Lane, Ring, Rival
from openbell.errors import OpenBellError

BATCHES: Final = (1, 100)
_NEEDS: Final = {"faster_fifo": "faster_fifo", "zmq_ipc": "zmq"}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    rounds : int
        Turns; in each, every lane has one slice.
    slice_s : float
        About how long a slice is, in seconds.
    turns : int
        Of a ping-pong.
    records : int
        Of a latency.
    alternations : int
        With and without parked readers.
    parked_batches : int
        Batches of 100 in each of their slices.
    readers : tuple of int
        To how many readers a ring is measured.
    parked : int
        How many readers park.
    """

    rounds: int = 9
    slice_s: float = 0.4
    turns: int = 20_000
    records: int = 4_000
    alternations: int = 25
    parked_batches: int = 20_000
    readers: tuple[int, ...] = (1, 3, 8)
    parked: int = 8


QUICK = Plan(
    rounds=1, slice_s=0.02, turns=1_000, records=40, alternations=2, parked_batches=500, readers=(1, 2), parked=2
)


def main(as_json: bool, quick: bool) -> int:
    """Measure, print; return the exit status."""
    plan = QUICK if quick else Plan()
    out = sys.stderr if as_json else sys.stdout
    missing = {
        name: f"{module} is not installed: pip install 'openbell[bench]'"
        for name, module in _NEEDS.items()
        if importlib.util.find_spec(module) is None
    }
    rivals = [each for each in RIVALS if each.name not in missing]
    try:
        with bare_feed() as feed:
            result = _measure(feed, rivals, plan)
    except OpenBellError as error:
        print(f"hop: {error}", file=sys.stderr)
        return 1
    result = report.result(result, missing, plan.rounds)
    report.table(result, out)
    if as_json:
        report.json_line(result)
    # A quick run is a smoke test: too short to judge by.
    return 0 if result["ok"] or quick else 1


def _measure(feed: BareFeed, rivals: Sequence[type[Rival]], plan: Plan) -> dict[str, Any]:
    words, rings = [], []
    for turn in range(plan.rounds):
        _say(f"ping-pong, turn {turn + 1} of {plan.rounds}")
        words.append(latency.one_way("words", plan.turns))
        rings.append(latency.one_way("rings", plan.turns))
    one_way: dict[str, Any] = {"words": round(statistics.median(words)), "ring_spin": round(statistics.median(rings))}
    for wait in ("spin", "adaptive", "park"):
        _say(f"latency of a strategy: {wait}")
        one_way[f"strategy_{wait}"] = latency.to_strategy(feed, wait, plan.records)
    _say("parked readers")
    parked = latency.parked_cost(feed, plan.parked, plan.alternations, plan.parked_batches)
    lanes: dict[str, Lane] = {"openbell": Ring(feed)}
    for rival in rivals:
        lanes[rival.name] = rival(packs=False)
        lanes[f"{rival.name}_packed"] = rival(packs=True)
    _compare(lanes, plan, "one reader")
    rates: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for batch in BATCHES:
        ours = lanes["openbell"].rates[batch]
        rates[str(batch)] = {name: round(statistics.median(lane.rates[batch])) for name, lane in lanes.items()}
        ratios[str(batch)] = {
            name: round(statistics.median(x / y for x, y in zip(ours, lane.rates[batch], strict=True)), 2)
            for name, lane in lanes.items()
            if name != "openbell"
        }
    readers: dict[str, Any] = {str(batch): {} for batch in BATCHES}
    for count in plan.readers:
        ring = Ring(feed, count)
        _compare({"openbell": ring}, plan, f"{count} readers")
        for batch in BATCHES:
            readers[str(batch)][str(count)] = round(statistics.median(ring.rates[batch]))
    return {
        "spin": [round(ring / word, 3) for ring, word in zip(rings, words, strict=True)],
        "one_way_ns": one_way,
        "parked": parked,
        "records_per_s": rates,
        "ratios": ratios,
        "records_per_s_by_readers": readers,
    }


def _compare(lanes: dict[str, Lane], plan: Plan, what: str) -> None:
    """Run all lanes in turns, so that their slices of a turn can be compared."""
    with ExitStack() as closing:
        for name, lane in lanes.items():
            _say(f"{what}: {name}")
            closing.callback(lane.close)
            lane.start()
        names = list(lanes)
        for batch in BATCHES:
            sizes = {name: _calibrated(lane, batch, plan.slice_s) for name, lane in lanes.items()}
            for lane in lanes.values():
                lane.rates[batch] = []
            for turn in range(plan.rounds):
                _say(f"{what}, batches of {batch}: turn {turn + 1} of {plan.rounds}")
                # Turn the order from turn to turn, so that none always follows the same neighbour.
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    lanes[name].rates[batch].append(lanes[name].run(batch, sizes[name]))


def _calibrated(lane: Lane, batch: int, slice_s: float) -> int:
    """Warm a lane up, and return how many batches it takes in `slice_s`."""
    batches = 16
    while True:
        taken_s = batches * batch / lane.run(batch, batches)
        wanted = max(1, round(batches * slice_s / taken_s))
        if taken_s >= slice_s / 2:
            return wanted
        batches = min(max(wanted, batches + 1), batches * 8)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        print(f"\r{text:<{max(0, width - 1)}}", end="", file=sys.stderr, flush=True)

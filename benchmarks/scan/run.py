"""Takes turns between ours and theirs, in one process, and compares turn by turn."""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import openbell
from benchmarks.processes import BenchmarkError
from benchmarks.scan.market import SYMBOLS, Writer, configure, opening
from benchmarks.scan.rivals import COLUMNS, EXPRESSION, Arrays, Objects
from openbell.errors import OpenBellError
from openbell.market import Market
from openbell.supervisor import Supervisor

TARGETS = {"copy_vs_memcpy": 2.0, "scan_vs_numpy": 1.5, "dict_vs_scan": 25.0}
AT_LEAST = frozenset({"dict_vs_scan"})
RATE = 20_000
_ROOT_MODULE = "benchmarks.scan.writing"


def run(*, as_json: bool, quick: bool) -> int:
    """Run the benchmark; 0 if all targets are met, or for a quick run that came to its end."""
    out = sys.stderr if as_json else sys.stdout
    symbols, turns = (2_000, 30) if quick else (SYMBOLS, 1_000)
    try:
        found = measure(symbols, turns)
    except OpenBellError as error:
        print(f"scan: {error}", file=sys.stderr)
        return 1
    _print(found, out)
    if as_json:
        print(json.dumps(found))
    return 0 if found["ok"] or quick else 1


def measure(symbols: int, turns: int) -> dict[str, Any]:
    """Start a feed, fill it, and take `turns` turns: with nobody writing, then with a live writer.

    Raises
    ------
    BenchmarkError
        Not everybody finds the same, or the feed does not get on.
    """
    name = f"scan-{uuid.uuid4().hex[:8]}"
    with Supervisor(configure(name, symbols), receivers=False) as supervisor:
        supervisor.start()
        with openbell.attach(name) as market:
            written = Writer(supervisor.generation, symbols).write(opening(symbols))
            _await_applied(supervisor, market, written)
            quiet = _turns(market, turns)
            directory, number = str(supervisor.generation.directory), supervisor.generation.number
            with _live_writer(directory, number, symbols):
                before = market.status().applied
                began = time.monotonic()
                writing = _turns(market, turns)
                rate = (market.status().applied - before) / (time.monotonic() - began)
                if rate < RATE / 10:
                    raise BenchmarkError(f"only {rate:,.0f} of {RATE:,} quotes a second were applied")
    ratio = {
        "copy_vs_memcpy": _paired(quiet["copy"], quiet["memcpy"]),
        "scan_vs_numpy": _paired(quiet["scan"], quiet["numpy"]),
        "dict_vs_scan": _paired(quiet["dict"], quiet["scan"]),
    }
    more = {
        kind: {
            "copy_vs_memcpy": _paired(of["copy"], of["memcpy"]),
            "whole_scan_vs_numpy": _paired(of["whole"], of["numpy"]),
            "dict_vs_whole_scan": _paired(of["dict"], of["whole"]),
        }
        for kind, of in (("quiet", quiet), ("writing", writing))
    }
    met = {key: ratio[key] >= most if key in AT_LEAST else ratio[key] <= most for key, most in TARGETS.items()}
    return {
        "symbols": symbols,
        "turns": turns,
        "expression": EXPRESSION,
        "ratio": ratio,
        "target": TARGETS,
        "met": met,
        "more": more,
        "quotes_per_s": round(rate),
        "us": {
            kind: {each: round(statistics.median(costs) / 1e3, 1) for each, costs in of.items()}
            for kind, of in (("quiet", quiet), ("writing", writing))
        },
        "ok": all(met.values()),
    }


def _turns(market: Market, turns: int) -> dict[str, list[int]]:
    taken = market.snapshot()
    arrays, objects = Arrays(taken), Objects(taken)
    expected = objects.scan()
    answers = (
        taken.scan(EXPRESSION).symbols,
        tuple(taken.symbols[place] for place in taken.matches(EXPRESSION)),
        market.scan(EXPRESSION).symbols,
        tuple(taken.symbols[place] for place in arrays.scan()),
    )
    if not expected or any(list(each) != expected for each in answers):
        raise BenchmarkError(f"not everybody finds the same: {len(expected)}, {[len(each) for each in answers]}")
    source = np.array([taken[name].view(np.uint64) for name in taken])
    target = np.empty_like(source)
    # Each with what is done before its turn, and not timed: a scan follows its copy, that of the same five columns for
    # ours and for numpy's; a new one each time, because a snapshot keeps the columns that it has derived.
    lanes: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "copy": (lambda: None, lambda _: market.snapshot()),
        "memcpy": (lambda: None, lambda _: np.copyto(target, source)),
        "scan": (lambda: market.snapshot(columns=COLUMNS), lambda snapshot: snapshot.matches(EXPRESSION)),
        "numpy": (lambda: Arrays(taken), Arrays.scan),
        "dict": (lambda: objects, Objects.scan),
        "whole": (lambda: None, lambda _: market.scan(EXPRESSION, columns=())),
    }
    costs: dict[str, list[int]] = {name: [] for name in lanes}
    names = list(lanes)
    gc.collect()
    gc.disable()
    try:
        for turn in range(-3, turns):
            # Turn the order, so that none always follows the same neighbour.
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                prepare, act = lanes[name]
                ready = prepare()
                before = time.perf_counter_ns()
                act(ready)
                cost = time.perf_counter_ns() - before
                if turn >= 0:
                    costs[name].append(cost)
    finally:
        gc.enable()
    return costs


@contextlib.contextmanager
def _live_writer(directory: str, number: int, symbols: int) -> Iterator[None]:
    command = [sys.executable, "-m", _ROOT_MODULE, directory, str(number), str(symbols), str(RATE)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "writing\n":
            raise BenchmarkError("the live writer could not start")
        time.sleep(0.1)
        yield
        process.stdin.close()
        if status := process.wait(10):
            raise BenchmarkError(f"the live writer ended with status {status}")
    finally:
        process.kill()
        process.wait()


def _await_applied(supervisor: Supervisor, market: Market, count: int) -> None:
    deadline = time.monotonic() + 30
    while market.status().applied < count:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"only {market.status().applied:,} of {count:,} records were applied in 30 s")
        supervisor.poll(0.01)


def _paired(ours: list[int], theirs: list[int]) -> float:
    """Return the median over the turns of one cost over the other of the same turn."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def _print(found: dict[str, Any], out: Any) -> None:
    print(f"{found['symbols']:,} symbols, {found['turns']:,} turns; {found['expression']}", file=out)
    for kind, costs in found["us"].items():
        print(f"{kind}: " + ", ".join(f"{name} {cost:,.1f} us" for name, cost in costs.items()), file=out)
    for key, value in found["ratio"].items():
        word = "at least" if key in AT_LEAST else "at most"
        print(f"{key}: {value:.2f} ({word} {TARGETS[key]:g}){'' if found['met'][key] else ', MISSED'}", file=out)
    for kind, ratios in found["more"].items():
        print(f"{kind}: " + ", ".join(f"{name} {value:.2f}" for name, value in ratios.items()), file=out)
    print("OK" if found["ok"] else "NOT OK", file=out)

"""What was found, against what is expected, as a table, as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, TextIO

RIVALS: Final = ("mp_queue", "mp_pipe", "faster_fifo", "zmq_ipc")
TARGETS: Final = {"100": {"mp_queue": 50.0, "faster_fifo": 20.0}, "1": {"mp_queue": 10.0, "faster_fifo": 10.0}}
SPIN_AT_MOST: Final = 2.0
PARKED_AT_MOST: Final = 1.25


def result(measured: Mapping[str, Any], missing: Mapping[str, str], rounds: int) -> dict[str, Any]:
    """Return the whole result.

    Parameters
    ----------
    measured : mapping
        What the run has found.
    missing : mapping of str to str
        Rivals that were not measured, and why.
    rounds : int
        Turns that each figure is a median of.
    """
    batched, single = measured["ratios"]["100"], measured["ratios"]["1"]
    spin = round(statistics.median(measured["spin"]), 3)
    parked = measured["parked"]["ratio"]
    met = {
        f"{name}_batch_{batch}": measured["ratios"][batch].get(name, 0.0) >= target
        for batch, targets in TARGETS.items()
        for name, target in targets.items()
    }
    met |= {"spin_vs_pingpong": spin <= SPIN_AT_MOST, "parked_readers": parked <= PARKED_AT_MOST}
    return {
        "benchmark": "hop",
        "machine": {
            "processors": os.cpu_count(),
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": _versions(),
        "rounds": rounds,
        "ratio": {name: batched.get(name) for name in RIVALS} | {"spin_vs_pingpong": spin},
        "ratio_batch_1": {name: single.get(name) for name in RIVALS},
        "ratio_packed": {name: batched.get(f"{name}_packed") for name in RIVALS},
        "ratio_packed_batch_1": {name: single.get(f"{name}_packed") for name in RIVALS},
        "records_per_s": measured["records_per_s"],
        "records_per_s_by_readers": measured["records_per_s_by_readers"],
        "one_way_ns": measured["one_way_ns"],
        "parked_readers": measured["parked"],
        "unavailable": dict(missing),
        "met": met,
        "ok": all(met.values()),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("faster-fifo", "numpy", "pyzmq"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def table(found: Mapping[str, Any], out: TextIO) -> None:
    """Print the result for people."""
    for batch in ("1", "100"):
        rates = found["records_per_s"][batch]
        print(f"\nbatches of {batch}: records a second, and how many times that OpenBell hands on", file=out)
        print(f"  {'openbell':<22}{rates['openbell']:>14,}", file=out)
        for name in RIVALS:
            for kind in ("", "_packed"):
                if name + kind not in rates:
                    continue
                key = f"ratio{kind}" + ("_batch_1" if batch == "1" else "")
                target = "" if kind or name not in TARGETS[batch] else f"   expected {TARGETS[batch][name]:.0f} x"
                print(f"  {name + kind:<22}{rates[name + kind]:>14,}{found[key][name]:>9.1f} x{target}", file=out)
        by_readers = found["records_per_s_by_readers"][batch]
        told = ", ".join(f"{count}: {rate:,}" for count, rate in by_readers.items())
        print(f"  to so many readers, each of which gets all: {told}", file=out)
    one_way, ratio = found["one_way_ns"], found["ratio"]["spin_vs_pingpong"]
    print("\none way, ns, median", file=out)
    print(f"  a bare word, both sides spin    {one_way['words']:>9,}", file=out)
    print(
        f"  a record through a ring         {one_way['ring_spin']:>9,}   {ratio:.2f} x, at most {SPIN_AT_MOST:.0f} x",
        file=out,
    )
    for wait in ("spin", "adaptive", "park"):
        each = one_way[f"strategy_{wait}"]
        print(f"  for tick in ticks, {wait:<13}{each['p50']:>9,}   p99 {each['p99']:,}  max {each['max']:,}", file=out)
    parked = found["parked_readers"]
    print(
        f"\n{parked['readers']} parked readers: {parked['ratio']:.2f} x the writer's CPU time of "
        f"{parked['writer_cpu_ns_alone']} ns a record, at most {PARKED_AT_MOST} x",
        file=out,
    )
    for name, why in found["unavailable"].items():
        print(f"NOT MEASURED {name}: {why}", file=out)
    missed = [name for name, met in found["met"].items() if not met]
    print("all targets met" if not missed else f"missed: {', '.join(missed)}", file=out)


def json_line(found: Mapping[str, Any]) -> None:
    """Print the result for programs."""
    print(json.dumps(found, allow_nan=False))

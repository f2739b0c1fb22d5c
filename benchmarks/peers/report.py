"""What was found, as figures, as a table, as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from benchmarks.peers.lane import Lane
from benchmarks.peers.stacks import OURS, STACKS, versions

_COLUMNS = f"{'ticks/s':>12}{'CPU ns':>10}{'speed':>9}{'CPU':>9}{'target':>8}"


def figures(lanes: Sequence[Lane]) -> dict[str, dict[str, Any]]:
    """Return what each stack took, and how OpenBell compares.

    Parameters
    ----------
    lanes : sequence of Lane
        Each with one slice a turn, the same number of turns; OpenBell's among them.

    Returns
    -------
    dict
        Stack name to: ``ticks`` (all that it was sent, all of it found in its snapshot), ``ticks_per_s``,
        ``cpu_ns_per_tick`` and ``cpu_ns_by_process``, medians over the turns. For the others also ``speed_ratio`` (how
        many times the ticks a second OpenBell takes) and ``cpu_ratio`` (how many times the CPU a tick they take): the
        medians of the ratios of each turn. Where something is expected, ``target`` and whether both ratios meet it.
    """
    ours = next(lane for lane in lanes if lane.stack.name == OURS).slices
    found = {}
    for lane in lanes:
        entry: dict[str, Any] = {
            "ticks": lane.ticks,
            "verified": True,
            "ticks_per_s": round(statistics.median(1e9 / each.wall_ns for each in lane.slices)),
            "cpu_ns_per_tick": round(statistics.median(each.total_cpu_ns for each in lane.slices), 1),
            "cpu_ns_by_process": {
                role: round(statistics.median(each.cpu_ns[role] for each in lane.slices), 1) for role in lane.processes
            },
        }
        if lane.stack.name != OURS:
            pairs = list(zip(lane.slices, ours, strict=True))
            entry["speed_ratio"] = round(statistics.median(theirs.wall_ns / our.wall_ns for theirs, our in pairs), 2)
            entry["cpu_ratio"] = round(
                statistics.median(theirs.total_cpu_ns / our.total_cpu_ns for theirs, our in pairs), 2
            )
            if target := lane.stack.targets.get(lane.pool.shape):
                entry["target"] = target
                entry["met"] = entry["speed_ratio"] >= target and entry["cpu_ratio"] >= target
        found[lane.stack.name] = entry
    return found


def result(
    shapes: Mapping[str, dict[str, dict[str, Any]]], unavailable: Mapping[str, str], rounds: int, slice_s: float
) -> dict[str, Any]:
    """Return the whole result, as it is printed as JSON.

    ``ok``: every target is met. A stack that has targets and is not available is not ok: nothing was shown.
    """
    missed = [name for stacks in shapes.values() for name, entry in stacks.items() if not entry.get("met", True)]
    unseen = [stack.name for stack in STACKS if stack.name in unavailable and stack.targets]
    return {
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "versions": versions(),
        "rounds": rounds,
        "slice_s": slice_s,
        **shapes,
        "unavailable": dict(unavailable),
        "ok": not missed and not unseen,
    }


def table(found: Mapping[str, Any], out: TextIO) -> None:
    """Print the result for people."""
    machine = found["machine"]
    print(
        f"{machine['platform']}, {machine['processor']}, {machine['cores']} cores, CPython {machine['python']}",
        file=out,
    )
    print(", ".join(f"{name} {number}" for name, number in found["versions"].items()), file=out)
    print(
        f"{found['rounds']} turns of {found['slice_s']} s a stack, medians. CPU: all its processes, ns a tick.\n"
        "Ratios are medians over the turns. Speed: OpenBell's ticks/s over theirs; CPU: theirs over OpenBell's.\n"
        "Every snapshot was equal to what was sent.",
        file=out,
    )
    for shape, ticks in (("single", "1 tick"), ("batch", "100 ticks")):
        if shape not in found:
            continue
        print(f"\n{ticks + ' a frame':72}{_COLUMNS}", file=out)
        for stack in STACKS:
            if stack.name in found["unavailable"]:
                print(f"{stack.title:72}NOT MEASURED: {found['unavailable'][stack.name]}", file=out)
            elif (entry := found[shape].get(stack.name)) is not None:
                print(f"{stack.title:72}{_cells(entry)}", file=out)


def json_line(found: Mapping[str, Any]) -> None:
    """Print the result as one line of JSON on stdout."""
    print(json.dumps(found))


def _cells(entry: Mapping[str, Any]) -> str:
    cells = f"{entry['ticks_per_s']:>12,}{entry['cpu_ns_per_tick']:>10,.0f}"
    cells += f"{entry['speed_ratio']:>7.1f} x{entry['cpu_ratio']:>7.1f} x" if "speed_ratio" in entry else " " * 18
    cells += f"{entry['target']:>6g} x {'met' if entry['met'] else 'MISSED':6}" if "target" in entry else " " * 15
    if len(each := entry["cpu_ns_by_process"]) == 1:
        return cells.rstrip()
    return cells + "  " + ", ".join(f"{role} {ns:,.0f}" for role, ns in each.items())


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a device, not a file
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

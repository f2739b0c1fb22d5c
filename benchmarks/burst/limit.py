"""The highest scale at which an opening still comes through whole and in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.burst.options import SUSTAINED_P99_NS, BurstOptions
from benchmarks.processes import BenchmarkError

_TRY_S = 2.0
_STEPS = 5
_LOWEST, _HIGHEST = 0.01, 32.0


def find(
    options: BurstOptions, measure: Callable[[BurstOptions], dict[str, Any]], progress: Callable[[str], None]
) -> tuple[float, list[dict[str, Any]]]:
    """Search by doubling or halving from `options.scale`, then by bisection of the ratio.

    A scale is sustained if two runs of 2 s are, one after the other (the machine's speed changes): they are ok, and
    99 % of the events are in the snapshot within 100 ms of their intended times. Without that the limit would be that
    of the buffers on the way, which can hold a second of a market that nobody keeps up with.

    Returns
    -------
    scale : float
        The highest that was sustained.
    tried : list of dict
        ``scale`` and ``ok`` of each, in order.

    Raises
    ------
    BenchmarkError
        Not even a hundredth of the profile is.
    """
    tried: list[dict[str, Any]] = []

    def sustained(scale: float) -> bool:
        ok, found = True, dict[str, Any]()
        for _ in range(2):
            found = measure(replace(options, scale=scale, seconds=_TRY_S))
            ok = bool(found["ok"]) and found["intended_to_snapshot_ns"]["p99"] <= SUSTAINED_P99_NS
            if not ok:
                break
        late = (found["generator_late_ns"] or {}).get("p99", 0)
        progress(
            f"x {scale:g}: {'ok' if ok else 'not sustained'} (offered {found['offered']:,}, lost {found['lost']:,}, "
            f"generator late p99 {late / 1e6:.1f} ms, in the snapshot p99 "
            f"{found['intended_to_snapshot_ns']['p99'] / 1e6:.1f} ms)"
        )
        tried.append({"scale": scale, "ok": ok})
        return ok

    low = high = options.scale
    if sustained(low):
        while high < _HIGHEST and sustained(high := round(high * 2, 4)):
            low = high
        if low == high:
            return low, tried
    else:
        while not sustained(low := round(low / 2, 4)):
            high = low
            if low < _LOWEST:
                raise BenchmarkError(f"not even {low:g} of the profile is sustained")
    for _ in range(_STEPS):
        middle = round((low * high) ** 0.5, 3)
        if not low < middle < high:
            break
        if sustained(middle):
            low = middle
        else:
            high = middle
    return low, tried

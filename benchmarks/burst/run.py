"""One burst, or a search among many."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.burst import drain, drawing, limit, report
from benchmarks.burst.meter import Meter
from benchmarks.burst.options import BurstOptions
from benchmarks.processes import BenchmarkError
from openbell.demo import Aborted, Result, run_demo
from openbell.errors import ConfigError, OpenBellError
from openbell.signals import StopSignals


def run(options: BurstOptions, *, as_json: bool, find_limit: bool, plot: Path | None) -> int:
    """Run, print, draw; return the exit status."""
    out = sys.stderr if as_json else sys.stdout

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with StopSignals() as signals:
        try:
            if plot is not None:
                # Now, not after minutes.
                drawing.check(plot)
            found, result = _measure(options, signals, progress, find_limit=find_limit)
        except Aborted:
            print("burst: interrupted", file=sys.stderr)
            return 130
        except OpenBellError as error:
            print(f"burst: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
    report.table(found, out)
    if as_json:
        print(json.dumps(found))
    if plot is not None:
        try:
            drawing.draw(plot, found, result)
        except BenchmarkError as error:
            # After the figures: they took minutes.
            print(f"burst: {error}", file=sys.stderr)
            return 1
    return 0 if found["ok"] else 1


def _measure(
    options: BurstOptions,
    signals: StopSignals,
    progress: Callable[[str], None],
    *,
    find_limit: bool,
) -> tuple[dict[str, Any], Result]:
    tried: list[dict[str, Any]] = []
    if find_limit:
        scale, tried = limit.find(options, lambda at: one(at, signals)[0], progress)
        options = options.at(scale)
    flush = drain.measure(options, signals, progress)
    progress(f"{options.profile} x {options.scale:g}, {options.seconds:g} s")
    found, result = one(options, signals)
    found |= report.flush(flush)
    if find_limit:
        found |= {"limit_scale": options.scale, "tried": tried}
    return found, result


def one(options: BurstOptions, signals: StopSignals) -> tuple[dict[str, Any], Result]:
    """Run one opening and return its figures.

    Raises
    ------
    Aborted
        A stop signal came.
    OpenBellError
        The feed or the simulator could not run.
    """
    meter = Meter()
    with tempfile.NamedTemporaryFile(prefix="openbell-burst-", suffix=".log") as log:
        result = run_demo(options.market(options.seconds), meter, signals, log)
    if signals.requested:
        raise Aborted
    return report.figures(options, result, meter), result

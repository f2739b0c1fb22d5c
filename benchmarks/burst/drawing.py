"""The latencies of a burst as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError
from openbell.demo import Result
from openbell.errors import ConfigError
from openbell.monitor.histogram import Histogram

SUFFIXES = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Check that a picture can be drawn and written there.

    Raises
    ------
    ConfigError
        Not a format that is known, no such directory, or matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: a picture's name ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no directory {path.parent}")
    try:
        import matplotlib  # noqa: F401 - whether it is there
    except ImportError:
        raise ConfigError("a plot needs matplotlib; run: pip install -e '.[bench]'") from None


def draw(path: Path, found: dict[str, Any], result: Result) -> None:
    """Draw the share of events that took longer than a latency, for both latencies.

    Raises
    ------
    BenchmarkError
        The file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for label, histogram in (
        ("intended send time to snapshot", result.status.exchange_latency),
        ("socket read to snapshot", result.status.latency),
    ):
        axes.step(*_exceeded(histogram), where="post", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("share of events that took longer")
    axes.set_title(
        f"{found['profile']} opening x {found['scale']:g}: {found['offered']:,} events in {found['seconds']:g} s, "
        f"{found['frame_ticks']} a frame"
    )
    axes.grid(visible=True, which="major", alpha=0.4)
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        pyplot.close(figure)


def _exceeded(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Return upper ends of buckets in ms, and the share of events above each."""
    ends, shares, left = [], [], histogram.count - histogram.negative
    for _, high, count in histogram.nonempty():
        left -= count
        ends.append(high / 1e6)
        shares.append(left / max(histogram.count, 1))
    return ends, shares

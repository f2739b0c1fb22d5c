"""Run a benchmark: ``python -m benchmarks NAME [--json] [--quick]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from openbell.config import Overflow

_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line of stdout."
)
_quick = click.option("--quick", is_flag=True, help="Fewer and shorter slices: a smoke test, not a measurement.")


def _command(name: str, short_help: str, example: str) -> Callable[[Callable[..., None]], click.Command]:
    def add(function: Callable[..., None]) -> click.Command:
        function = _json(_quick(function))
        return main.command(name, short_help=short_help, epilog=f"Example: python -m benchmarks {example}")(function)

    return add


@click.group(epilog="Example: python -m benchmarks ceiling --quick --json")
def main() -> None:
    """Run one of the benchmarks."""


@_command("bars", "A worker's apply loop with and without one-minute bars.", "bars --quick --json")
def bars(as_json: bool, quick: bool) -> None:
    """Measure what one-minute bars cost a worker, a record."""
    from benchmarks.bars import run

    sys.exit(run(as_json=as_json, quick=quick))


@_command("ceiling", "Receiver CPU per tick, socket to ring, against decode-only and raw.", "ceiling --quick --json")
def ceiling(as_json: bool, quick: bool) -> None:
    """Measure the receiver's CPU time per tick, from socket to ring, against decode-only and raw."""
    from benchmarks.ceiling import run

    sys.exit(run(as_json=as_json, quick=quick))


@_command("changes", "A look for what moved, by how much did, against comparing everything.", "changes --json")
def changes(as_json: bool, quick: bool) -> None:
    """Measure what a look for changes costs, by how many symbols moved, against comparing the whole market."""
    from benchmarks.changes import run

    sys.exit(run(as_json=as_json, quick=quick))


@_command("hop", "From a ring to a consumer: records a second, latency, and what readers cost.", "hop --quick --json")
def hop(as_json: bool, quick: bool) -> None:
    """Measure the way from a ring to another process, against queues, pipes and sockets."""
    from benchmarks.hop import run

    sys.exit(run(as_json=as_json, quick=quick))


@_command("peers", "Whole feeds against what people build with the usual libraries.", "peers --quick --json")
def peers(as_json: bool, quick: bool) -> None:
    """Compare whole feeds, socket to snapshot, with what people build with the usual libraries."""
    from benchmarks.peers import run

    sys.exit(run(as_json=as_json, quick=quick))


@_command("burst", "A market's opening through the whole pipeline.", "burst --profile us --frame-ticks 100 --json")
@click.option(
    "--profile", type=click.Choice(["cn", "hk", "us"]), default="cn", show_default=True, help="Whose opening it is."
)
@click.option(
    "--scale",
    type=click.FloatRange(0.001, 100),
    default=1.0,
    show_default=True,
    help="Multiplies the number of events.",
)
@click.option("--frame-ticks", type=click.IntRange(1, 1000), default=1, show_default=True, help="Events a frame.")
@click.option(
    "--overflow",
    type=click.Choice(["block", "conflate", "drop"]),
    default="block",
    show_default=True,
    help="What happens when a ring is full.",
)
@click.option("--seconds", type=click.FloatRange(1, 60), help="Length of the market.  [default: 10; quick: 2]")
@click.option("--find-limit", is_flag=True, help="Search the highest scale that is sustained.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the latencies into this .svg, .png or .pdf."
)
def burst(
    profile: str,
    scale: float,
    frame_ticks: int,
    overflow: Overflow,
    seconds: float | None,
    find_limit: bool,
    plot: Path | None,
    as_json: bool,
    quick: bool,
) -> None:
    """Send a market's opening through the whole pipeline, and time it from the intended send times.

    Exit status 0 if nothing was lost, the market sent all that its profile says and kept to its times; 1 if not; 130
    after Ctrl-C.
    """
    from benchmarks.burst import BurstOptions, run

    options = BurstOptions(
        profile=profile,
        scale=scale,
        frame_ticks=frame_ticks,
        overflow=overflow,
        seconds=seconds or (2.0 if quick else 10.0),
        repeats=1 if quick else 9,
    )
    sys.exit(run(options, as_json=as_json, find_limit=find_limit, plot=plot))


@_command("scan", "A consistent copy and a scan of 11,000 symbols.", "scan --quick --json")
def scan(as_json: bool, quick: bool) -> None:
    """Compare a copy with memcpy, and a scan with numpy on private arrays and with a dict of objects."""
    from benchmarks.scan import run

    sys.exit(run(as_json=as_json, quick=quick))


def run() -> int:
    """Run what the command line asks for; return the exit status, as those of ``openbell``."""
    try:
        main(prog_name="python -m benchmarks", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run())

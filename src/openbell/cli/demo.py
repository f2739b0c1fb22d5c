"""``openbell demo``: see it work, and see it judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbell.cli.dialects import DIALECTS
from openbell.cli.exits import FAILED, INTERRUPTED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.config import Overflow


@click.command(
    short_help="Show it all working, with a verdict.",
    epilog="Example: openbell demo --universe us --dialect ticks --frame-ticks 100 --connections 4 --workers 4",
)
@click.option(
    "--universe",
    type=click.Choice(["cn", "hk", "us", "crypto"]),
    help="Market to make up.  [default: the dialect's; cn with alltick]",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="What the made-up market speaks.  [default: alltick]",
)
@click.option(
    "--profile",
    type=click.Choice(["steady", "open"]),
    help="--rate all the time, or the opening of the market.  [default: steady]",
)
@click.option("--scale", type=click.FloatRange(min=0.001), help="Multiplies all rates.  [default: 1]")
@click.option("--frame-ticks", type=click.IntRange(1, 1000), help="Events a frame, with --dialect ticks.  [default: 1]")
@click.option("--cumulative", is_flag=True, help="symbol-array: volumes are those of the day so far.")
@click.option("--books", is_flag=True, help="Half of the events are order books (best bids and offers at Binance).")
@click.option(
    "--book-levels", type=click.IntRange(1, 10), help="Levels a side of the order books.  [default: the market's]"
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the market.  [default: 20, or all of the capture]",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same trades.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=1, show_default=True, help="Connections to the simulator."
)
@click.option("--receivers", type=click.IntRange(1, 16), default=1, show_default=True, help="Receiver processes.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--slow-worker",
    type=click.IntRange(min=1),
    metavar="N",
    help="Hold each worker to N records a second, with small rings, to see --overflow.",
)
@click.option(
    "--overflow",
    type=click.Choice(["block", "conflate", "drop"]),
    default="block",
    show_default=True,
    help="What happens when a ring is full.",
)
@click.option(
    "--capture",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Play this file of recorded messages instead (see `openbell record`).",
)
@click.option("--speed", default="1", show_default=True, help="Pace of a capture: a factor, or max.")
@click.option("--symbols", type=click.IntRange(min=1), help="Number of symbols; a capture is dealt out to them.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Events a second of the made-up market.  [default: 20000; 2000 with --faults]",
)
@click.option("--faults", metavar="storm|FILE", help="Let the vendor misbehave in every way, or by a schedule.")
@click.option(
    "--fault-every",
    type=click.FloatRange(min=0.1),
    help="Seconds from one fault of a storm to the next.  [default: so that all fit]",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.5, 100),
    default=1.0,
    show_default=True,
    help="Multiplies the times after which a feed with --faults gives something up.",
)
@click.option("--name", help="Name of the feed.  [default: demo-<pid>]")
@json_option
def demo(
    universe: str | None,
    dialect: str | None,
    profile: str | None,
    scale: float | None,
    frame_ticks: int | None,
    cumulative: bool,
    books: bool,
    book_levels: int | None,
    seconds: float | None,
    seed: int,
    connections: int,
    receivers: int,
    workers: int,
    slow_worker: int | None,
    overflow: Overflow,
    capture: Path | None,
    speed: str,
    symbols: int | None,
    rate: float | None,
    faults: str | None,
    fault_every: float | None,
    patience: float,
    name: str | None,
    as_json: bool,
) -> int:
    """Run an exchange in a box and a whole feed, show it live, and compare the snapshot with the truth.

    Ends with a verdict: every event sent is accounted for, and the snapshot equals the simulator's oracle on every
    row and column (where --overflow drop has dropped something: on every row that tells no gap). With --faults the
    vendor misbehaves; what was received is accounted for then, and what was not lies in a gap that was told. Exit
    status 0 if so, 1 if not. Ctrl-C ends the market early, with the verdict so far: exit status 130 unless that is a
    bad one; once more aborts.
    """
    from openbell.cli.view import choose_view
    from openbell.demo import Aborted, DemoOptions, Result, run_demo
    from openbell.demo.options import default_name
    from openbell.demo.scratch import scratch
    from openbell.demo.storm import run_storm
    from openbell.demo.storm_result import StormResult
    from openbell.errors import OpenBellError
    from openbell.signals import StopSignals
    from openbell.simulator import parse_speed

    output = Output(as_json)
    options = DemoOptions(
        universe=universe or "",
        dialect=dialect or "",
        profile=profile or "",
        scale=scale or 0.0,
        frame_ticks=frame_ticks or 0,
        cumulative=cumulative,
        books=books,
        book_levels=book_levels or 0,
        seconds=seconds,
        seed=seed,
        connections=connections,
        receivers=receivers,
        workers=workers,
        slow_worker=slow_worker or 0,
        overflow=overflow,
        capture=capture,
        speed=parse_speed(speed),
        symbols=symbols or 0,
        # With faults every message is taken into somebody's hand.
        rate=rate or (2_000.0 if faults else 20_000.0),
        faults=faults or "",
        fault_every_s=fault_every or 0.0,
        patience=patience,
        name=name or default_name(),
    )
    with StopSignals() as signals, scratch() as directory, (directory / "log").open("w+b") as log:
        try:
            result: Result | StormResult = (run_storm if options.faults else run_demo)(
                options, choose_view(output), signals, log
            )
        except Aborted:
            output.say("aborted")
            return INTERRUPTED
        except OpenBellError:
            _show_log(Path(log.name))
            raise
        if not result.ok:
            _show_log(Path(log.name))
    for line in result.lines():
        output.say(line)
    output.result(result.to_json())
    if result.interrupted and not result.broken:
        return INTERRUPTED
    return OK if result.ok else FAILED


def _show_log(path: Path) -> None:
    """Show the end of what the processes printed: usually why it went wrong."""
    for line in path.read_text("utf-8", "replace").splitlines()[-20:]:
        click.echo(f"  | {line}", err=True)

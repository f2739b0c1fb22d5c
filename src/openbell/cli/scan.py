"""``openbell scan``: which symbols of a running feed an expression holds for, now or all the time."""

import time
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import INTERRUPTED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.cli.scanning import View


@click.command(
    short_help="Find symbols by an expression.",
    epilog="Example: openbell scan cn 'change_pct > 3 and volume_z > 2' --sort turnover --top 20 --watch",
)
@click.argument("feed", metavar="FEED")
@click.argument("expression", metavar="EXPRESSION")
@click.option("--sort", metavar="COLUMN", help="Sort by a column or an expression, greatest first; NaN last.")
@click.option("--ascending", is_flag=True, help="Sort smallest first.")
@click.option("--top", type=click.IntRange(min=1), help="Show this many at most.")
@click.option("--columns", metavar="A,B,...", help="Show these columns, derived ones too.")
@click.option("--all", "everything", is_flag=True, help="Also what has not traded, where the feed leaves that out.")
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C; in place on a terminal.")
@click.option("--alert", is_flag=True, help="Look again and again, and print only what newly matches.")
@click.option(
    "--interval",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one look to the next.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values; everything for people to stderr.")
@json_option
def scan(
    feed: str,
    expression: str,
    sort: str | None,
    ascending: bool,
    top: int | None,
    columns: str | None,
    everything: bool,
    watch: bool,
    alert: bool,
    interval: float,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Show the symbols of a running feed for which EXPRESSION holds.

    It compares columns: 'change_pct > 3 and volume_z > 2', 'spread_bps < 5 or isnan(ask)',
    'symbol.startswith("60") and range_position > 0.95'. There are + - * / // % **, < <= == != >= >, and, or, not, in,
    abs, min, max, log, sqrt, round, isnan, and symbol.startswith, .endswith and .matches.

    With --watch --json comes one object a look, with --alert --json one a match. Both go on over restarts of the feed.
    """
    import openbell
    from openbell.cli.scanning import Alerts, Once, Question, Watch
    from openbell.errors import ExpressionError

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if watch and alert:
        raise click.UsageError("--watch shows all that matches, --alert what newly does: take one of them")
    # The symbol is shown in any case.
    wanted = tuple(name for name in map(str.strip, (columns or "").split(",")) if name not in ("", "symbol"))
    try:
        with openbell.attach(feed, reattach=watch or alert) as market:
            question = Question(market, expression, sort, top, not ascending, wanted, everything)
            if not watch and not alert:
                Once(question, Output(as_json), as_csv).look()
                return OK
            view = (Alerts if alert else Watch)(question, Output(as_json), as_csv)
            return _keep_looking(view, interval)
    except ExpressionError as error:
        raise click.ClickException(error.pointed()) from None


def _keep_looking(view: "View", interval: float) -> int:
    from openbell.errors import FeedGone
    from openbell.signals import StopSignals

    with StopSignals() as signals:
        try:
            due = time.monotonic()
            gone = False
            while not signals.requested:
                try:
                    view.look()
                    gone = False
                except FeedGone as error:
                    # It may come back; once is enough to say.
                    if not gone:
                        view.miss(f"{error}; waiting for its next run")
                    gone = True
                # Not one look behind the other to catch up, if the machine was stopped for a while.
                due = max(due + interval, time.monotonic())
                signals.wait(due - time.monotonic())
        finally:
            view.close()
    return INTERRUPTED

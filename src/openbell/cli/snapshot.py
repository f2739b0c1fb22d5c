"""``openbell snapshot``: what a running feed knows."""

import math
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.market import Snapshot

_SHOWN = ("last", "size", "open", "high", "low", "volume", "turnover", "trades", "bid", "bid_size", "ask", "ask_size")


@click.command(
    short_help="Print what a running feed knows.", epilog="Example: openbell snapshot cn 600519.SH 000001.SZ"
)
@click.argument("feed", metavar="FEED")
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1)
@click.option("--limit", type=click.IntRange(min=1), help="Show this many rows at most.")
@click.option("--all", "everything", is_flag=True, help="Also what has not traded, where the feed leaves that out.")
@json_option
def snapshot(feed: str, symbols: tuple[str, ...], limit: int | None, everything: bool, as_json: bool) -> int:
    """Print the rows of some symbols of a running feed, or of all of them.

    Every row is consistent in itself. With --json all columns come, times in ns since the epoch, and null where
    nothing has arrived yet.
    """
    import openbell

    output = Output(as_json)
    with openbell.attach(feed) as market:
        # Whoever names a symbol wants to see it.
        taken = market.snapshot(only_traded=False if everything or symbols else None)
        untraded = len(market) - len(taken.symbols)
    places = [taken.place(symbol) for symbol in symbols] if symbols else list(range(len(taken.symbols)))
    kept = places[:limit]
    _print_table(taken, kept, output)
    if len(kept) < len(places):
        output.say(f"{len(places) - len(kept):,} more rows; ask for them by --limit or by symbol")
    if untraded > 0:
        output.say(f"{untraded:,} more symbols have not traded in their session; --all shows them")
    if as_json:
        rows = {taken.symbols[place]: _row(taken, place) for place in kept}
        output.result({"feed": feed, "taken_ns": taken.taken_ns, "symbols": len(taken.symbols), "rows": rows})
    return OK


def _row(taken: "Snapshot", place: int) -> dict[str, object]:
    values = ((name, taken[name][place].item()) for name in taken)
    row: dict[str, object] = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values
    }
    return row | {"subscription": _subscription(taken, place)}


def _subscription(taken: "Snapshot", place: int) -> str:
    from openbell.monitor.subscriptions import SubscriptionState

    return SubscriptionState(taken.subscriptions[place]).name.lower()


def _print_table(taken: "Snapshot", places: list[int], output: Output) -> None:
    from rich.table import Table
    from rich.text import Text

    from openbell.printable import word

    if output.as_json:
        return
    table = Table(box=None, header_style="bold")
    table.add_column("symbol", no_wrap=True)
    for name in _SHOWN:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for place in places:
        received_ns = int(taken["receive_ns"][place])
        age = f"{(taken.taken_ns - received_ns) / 1e9:,.3f} s" if received_ns else "–"
        if _subscription(taken, place) == "unsubscribed":
            age += " (unsubscribed)"
        table.add_row(Text(word(taken.symbols[place])), *(_cell(taken[name][place].item()) for name in _SHOWN), age)
    output.console().print(table)


def _cell(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if math.isnan(value) else f"{value:,.10g}"

"""``openbell bars``: the one-minute bars of a symbol."""

import math
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from openbell.market import Bars, Market

_FRAME_S = 0.5
_NUMBERS = ("open", "high", "low", "close", "volume", "turnover", "trades")


@click.command(short_help="Print the one-minute bars of a symbol.", epilog="Example: openbell bars cn 600519.SH -n 5")
@click.argument("feed", metavar="FEED")
@click.argument("symbol", metavar="SYMBOL")
@click.option("-n", "--last", "most", type=click.IntRange(min=1), help="Show this many at most.  [default: all kept]")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values; everything for people to stderr.")
@click.option("--watch", is_flag=True, help="Show them live until Ctrl-C, also over restarts of the feed.")
@json_option
def bars(feed: str, symbol: str, most: int | None, as_csv: bool, watch: bool, as_json: bool) -> int:
    """Print the last one-minute bars of a symbol of a running feed, oldest first; the last one still grows.

    A feed keeps as many as its configuration says (bars). Minutes are UTC, by the venue's time where it sends one. A
    minute without a trade has no bar.
    """
    import openbell

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if watch and (as_csv or as_json):
        raise click.UsageError("--watch takes neither --json nor --csv")
    output = Output(as_json or as_csv)
    with openbell.attach(feed, reattach=watch) as market:
        found = market.bars(symbol, most)
        if watch:
            return _watch(market, symbol, most, output)
    if as_csv:
        click.echo(",".join(("start", *_NUMBERS)))
        for row in _rows(found):
            click.echo(",".join("" if each is None else str(each) for each in row))
    elif not as_json:
        output.console().print(_render(found))
    if int(found.late[0]):
        output.say(f"{int(found.late[0]):,} trades came too late for the bars that are kept")
    if as_json:
        shown = [
            {**dict(zip(("start", *_NUMBERS), row, strict=True)), "start_ns": start_ns}
            for row, start_ns in zip(_rows(found), found.start_ns.tolist(), strict=True)
        ]
        output.result({"feed": feed, "symbol": symbol, "late": int(found.late[0]), "bars": shown})
    return OK


def _rows(found: "Bars") -> "Iterator[tuple[str | float | int | None, ...]]":
    """Yield the bars, oldest first: the minute as people and programs read it, then the numbers."""
    starts = [f"{start}Z" for start in found.start.astype(str).tolist()]
    columns = [found[name].tolist() for name in _NUMBERS]
    for start, *values in zip(starts, *columns, strict=True):
        yield start, *(None if isinstance(value, float) and not math.isfinite(value) else value for value in values)


def _watch(market: "Market", symbol: str, most: int | None, output: Output) -> int:
    from rich.live import Live

    from openbell.signals import StopSignals

    console = output.console()
    with StopSignals() as signals:
        if not console.is_terminal:
            last = ""
            while not signals.wait(_FRAME_S):
                line = _line(_look(market, symbol, most))
                if line != last:
                    output.say(line)
                    last = line
            return OK
        with Live(console=console, auto_refresh=False) as live:
            while not signals.wait(0.0):
                live.update(_render(_look(market, symbol, most)), refresh=True)
                signals.wait(_FRAME_S)
    return OK


def _look(market: "Market", symbol: str, most: int | None) -> "Bars | str":
    """Return the bars, or why there are none now: the feed is stopped, or started again and not as far yet."""
    from openbell.errors import FeedError, FeedGone, UnknownSymbol

    try:
        return market.bars(symbol, most)
    except (FeedGone, UnknownSymbol, FeedError) as error:
        return str(error)


def _line(found: "Bars | str") -> str:
    if isinstance(found, str):
        return found
    newest = list(_rows(found))[-1:]
    cells = "  ".join(f"{name} {_cell(value)}" for row in newest for name, value in zip(_NUMBERS, row[1:], strict=True))
    return f"{found.symbols[0]}  {newest[0][0]}  {cells}" if newest else f"{found.symbols[0]}  no trade yet"


def _render(found: "Bars | str") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from openbell.printable import printable, word

    if isinstance(found, str):
        return Text(printable(found))
    title = Text.assemble((word(found.symbols[0]), "bold"), "" if len(found) else "  no trade yet")
    table = Table(box=None, header_style="dim", title=title, title_justify="left", title_style="")
    table.add_column("minute (UTC)", no_wrap=True)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    for start, *values in _rows(found):
        table.add_row(str(start).replace("T", " ").removesuffix(":00Z"), *map(_cell, values))
    return table


def _cell(value: "str | float | int | None") -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"

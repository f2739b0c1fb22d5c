"""``openbell book``: the order book of a symbol."""

import math
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from openbell.market import Book, Market

_LOOK_S = 0.1
_FRAME_S = 0.25


@click.command(short_help="Print the order book of a symbol.", epilog="Example: openbell book cn 600519.SH --watch")
@click.argument("feed", metavar="FEED")
@click.argument("symbol", metavar="SYMBOL")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C, also over restarts of the feed.")
@json_option
def book(feed: str, symbol: str, watch: bool, as_json: bool) -> int:
    """Print the last known order book of a symbol of a running feed.

    A feed keeps as many levels as its configuration says (book_levels), as far as its vendor sends them; where there
    are none this is the best bid and offer. With --json, sides are lists of [price, size], best first.
    """
    import openbell

    output = Output(as_json)
    if watch and as_json:
        raise click.UsageError("--watch takes no --json")
    with openbell.attach(feed, reattach=watch) as market:
        if watch:
            # Before anything is drawn: a symbol that is not there is to be told as one line.
            _ = market[symbol]
            return _watch(market, symbol, output)
        found = market.book(symbol)
    if not as_json:
        output.console().print(_render(found))
    output.result(_to_json(feed, found))
    return OK


def _watch(market: "Market", symbol: str, output: Output) -> int:
    from rich.live import Live

    from openbell.signals import StopSignals

    console = output.console()
    with StopSignals() as signals:
        if not console.is_terminal:
            last = ""
            while not signals.wait(_LOOK_S):
                line = _line(_look(market, symbol))
                if line != last:
                    output.say(line)
                    last = line
            return OK
        with Live(console=console, auto_refresh=False) as live:
            while not signals.wait(0.0):
                live.update(_render(_look(market, symbol)), refresh=True)
                signals.wait(_FRAME_S)
    return OK


def _look(market: "Market", symbol: str) -> "Book | str":
    """Return the book, or why there is none now: the feed is stopped, or started again and not as far yet."""
    from openbell.errors import FeedGone, UnknownSymbol

    try:
        return market.book(symbol)
    except (FeedGone, UnknownSymbol) as error:
        return str(error)


def _line(found: "Book | str") -> str:
    if isinstance(found, str):
        return found
    sides = [_cell(value) for value in (found.bid_size, found.bid, found.ask, found.ask_size)]
    return f"{found.symbol}  {sides[0]} @ {sides[1]} | {sides[2]} @ {sides[3]}"


def _render(found: "Book | str") -> "RenderableType":
    import time

    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from openbell.printable import printable, word

    if isinstance(found, str):
        return Text(printable(found))
    age = f"{(time.time_ns() - found.receive_ns) / 1e9:,.3f} s ago" if found.receive_ns else "nothing yet"
    kept = "" if found.levels else ", the feed keeps no levels"
    title = Text.assemble(
        (word(found.symbol), "bold"),
        f"  spread {_cell(found.spread)}  mid {_cell(found.mid)}  bids' share {_share(found.imbalance)}  ({age}{kept})",
    )
    table = Table(box=None, header_style="dim")
    for name in ("bid size", "bid", "ask", "ask size"):
        table.add_column(name, justify="right", no_wrap=True)
    bids = list(zip(found.bid_sizes.tolist(), found.bids.tolist(), strict=True))
    asks = list(zip(found.asks.tolist(), found.ask_sizes.tolist(), strict=True))
    for level in range(max(len(bids), len(asks), 1)):
        left = [_cell(value) for value in bids[level]] if level < len(bids) else ["", "–"]
        right = [_cell(value) for value in asks[level]] if level < len(asks) else ["–", ""]
        table.add_row(*left, *right)
    # As a title it would be broken into lines of the table's width.
    return Group(title, table)


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.10g}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def _to_json(feed: str, found: "Book") -> dict[str, object]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "feed": feed,
        "symbol": found.symbol,
        "levels": found.levels,
        "bids": [list(level) for level in zip(found.bids.tolist(), found.bid_sizes.tolist(), strict=True)],
        "asks": [list(level) for level in zip(found.asks.tolist(), found.ask_sizes.tolist(), strict=True)],
        **{name: number(getattr(found, name)) for name in ("bid", "bid_size", "ask", "ask_size", "spread", "mid")},
        "imbalance": number(found.imbalance),
        "exchange_ns": found.exchange_ns,
        "receive_ns": found.receive_ns,
        "sequence": found.sequence,
    }

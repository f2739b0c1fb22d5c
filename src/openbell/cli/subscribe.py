"""``openbell subscribe`` and ``openbell unsubscribe``: change what a running feed asks for."""

from collections import Counter
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import FAILED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.control import Change

_feed = click.argument("feed")
_symbols = click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
_source = click.option(
    "--source", type=click.IntRange(min=1), help="Number of the source in the configuration, where prefixes do not say."
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=600),
    default=15.0,
    show_default=True,
    help="Seconds that the vendor's answers are waited for.",
)


@click.command(
    short_help="Subscribe symbols of a running feed.", epilog="Example: openbell subscribe cn 600519.SH 000001.SZ"
)
@_feed
@_symbols
@_source
@_timeout
@json_option
def subscribe(feed: str, symbols: tuple[str, ...], source: int | None, timeout: float, as_json: bool) -> int:
    """Subscribe SYMBOLs of the running FEED, without touching its connections, and say what came of each.

    Exit status 0 if all of them are subscribed now, 1 if one was refused, not answered, or waits for its connection.
    """
    from openbell.control import FeedControl

    with FeedControl(feed) as control:
        return _tell(control.subscribe(symbols, source=source, timeout_s=timeout), feed, Output(as_json))


@click.command(short_help="Unsubscribe symbols of a running feed.", epilog="Example: openbell unsubscribe cn 000001.SZ")
@_feed
@_symbols
@_source
@_timeout
@json_option
def unsubscribe(feed: str, symbols: tuple[str, ...], source: int | None, timeout: float, as_json: bool) -> int:
    """Unsubscribe SYMBOLs of the running FEED, without touching its connections. Their rows stay as they are; what the
    vendor still sends of them is dropped and counted.

    Exit status 0 if none of them is subscribed now, 1 if one was refused.
    """
    from openbell.control import FeedControl

    with FeedControl(feed) as control:
        return _tell(control.unsubscribe(symbols, source=source, timeout_s=timeout), feed, Output(as_json))


def _tell(changes: "list[Change]", feed: str, output: Output) -> int:
    from openbell.printable import word

    width = max(len(word(change.symbol)) for change in changes)
    for change in changes:
        output.say(f"{word(change.symbol):<{width}}  {change.fate.value}{f': {change.why}' if change.why else ''}")
    good = all(change.fate.good for change in changes)
    output.result(
        {
            "feed": feed,
            "ok": good,
            "counts": dict(Counter(change.fate.value for change in changes)),
            "symbols": [
                {
                    "symbol": change.symbol,
                    "fate": change.fate.value,
                    "ok": change.fate.good,
                    "why": change.why or None,
                    "connection": change.connection,
                }
                for change in changes
            ],
        }
    )
    return OK if good else FAILED

"""``openbell symbols FEED --live``: what a running feed is subscribed to."""

from collections import Counter
from typing import TYPE_CHECKING

from openbell.cli.exits import OK
from openbell.cli.output import Output

if TYPE_CHECKING:
    from openbell.control.client import Subscribed

_SHOWN = 20


def live_symbols(feed: str, every: bool, output: Output) -> int:
    """Show how far the subscriptions of a running feed are.

    Parameters
    ----------
    feed : str
        Its name.
    every : bool
        Show every symbol; otherwise those that are not simply granted, and not too many of them.
    output : Output
    """
    from openbell.control import FeedControl

    with FeedControl(feed) as control:
        found = control.subscriptions()
    if not output.as_json:
        _print(feed, found, every, output)
    output.result(
        {
            "feed": feed,
            "counts": _counts(found),
            "symbols": [
                {
                    "symbol": each.symbol,
                    "state": each.subscription.state.name.lower(),
                    "silent": each.subscription.silent,
                    "connection": each.connection,
                    "code": each.subscription.code or None,
                    "why": each.why or None,
                }
                for each in found
            ],
        }
    )
    return OK


def _counts(found: "list[Subscribed]") -> dict[str, int]:
    counts = Counter(each.subscription.state.name.lower() for each in found)
    counts["silent"] = sum(each.subscription.silent for each in found)
    return {name: count for name, count in counts.items() if count}


def _print(feed: str, found: "list[Subscribed]", every: bool, output: Output) -> None:
    from rich.table import Table
    from rich.text import Text

    from openbell.monitor.subscriptions import SubscriptionState
    from openbell.printable import printable, word

    console = output.console()
    told = ", ".join(f"{count:,} {name}" for name, count in _counts(found).items()) or "nothing is asked for"
    console.print(f"[bold]{feed}[/]  {told}")
    granted = SubscriptionState.CONFIRMED
    odd = [each for each in found if each.subscription.state is not granted or each.subscription.silent]
    shown = found if every else odd
    table = Table(box=None, header_style="dim")
    for name in ("symbol", "state", "connection"):
        table.add_column(name, no_wrap=True)
    table.add_column("")
    for each in shown if every else shown[:_SHOWN]:
        seen = each.subscription
        said = each.why or seen.state.description
        table.add_row(
            Text(word(each.symbol)),
            seen.state.name.lower() + (", silent" if seen.silent else ""),
            each.connection,
            # The vendor's words, among them.
            Text("granted, and nothing comes where something should" if seen.silent else printable(said)),
        )
    if shown:
        console.print(table)
    if len(shown) > _SHOWN and not every:
        console.print(f"and {len(shown) - _SHOWN:,} more; --list shows all")

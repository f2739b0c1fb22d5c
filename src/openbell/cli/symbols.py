"""``openbell symbols``: what a configuration would subscribe to."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.asking import Asked
    from openbell.universe.narrowing import Selection

_SHOWN = 4


@click.command(
    short_help="Show what a configuration would subscribe to, or what a feed has.",
    epilog="Example: openbell symbols feed.toml --json",
)
@click.argument("target", metavar="FEED.toml|FEED")
@click.option("--live", is_flag=True, help="Show what the running FEED is subscribed to.")
@click.option("--list", "every", is_flag=True, help="Print every symbol, one a line, with its connection.")
@json_option
def symbols(target: str, live: bool, every: bool, as_json: bool) -> int:
    """Show what FEED.toml would subscribe to: which symbols, on which connection, in how many messages and bytes, how
    long that takes by the vendors' rules, and what was left out and why.

    Files and addresses of lists are read, vendors are not connected to. Exit status 2 if the configuration cannot be
    used.

    With --live (openbell symbols cn --live), FEED is the name of a running feed, and what is shown is which of its
    symbols are granted, refused, not answered or silent, and on which connection.
    """
    if live:
        from openbell.cli.live import live_symbols

        return live_symbols(target, every, Output(as_json))
    file = Path(target)
    if not file.exists() and not file.suffix and len(file.parts) == 1:
        from openbell.errors import ConfigError

        raise ConfigError(f"{target}: there is no such file; of a running feed: openbell symbols {target} --live")
    return _planned(file, every, Output(as_json))


def _planned(file: Path, every: bool, output: Output) -> int:
    from openbell.asking import asked_for
    from openbell.config.file import read_with_account
    from openbell.errors import ConfigError
    from openbell.vendors import check

    config, account = read_with_account(file)
    vendors = check(config, file)
    try:
        asked = asked_for(config, vendors)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    if not output.as_json:
        _print(config.feed.name, asked, account.selections, every, output)
    output.result(
        {
            "feed": config.feed.name,
            "symbols": sum(len(each.symbols) for each in asked),
            "messages": sum(each.messages for each in asked),
            "bytes": sum(each.bytes for each in asked),
            "seconds": round(max(each.done_s for each in asked), 3),
            "connections": [_connection(each) for each in asked],
            "sources": [_source(number, each) for number, each in enumerate(account.selections, 1)],
        }
    )
    return OK


def _connection(asked: "Asked") -> dict[str, object]:
    return {
        "label": asked.label,
        "receiver": asked.receiver,
        "source": asked.source,
        "address": asked.address,
        "limit": asked.limit,
        "messages": asked.messages,
        "bytes": asked.bytes,
        "begins_s": round(asked.begins_s, 3),
        "done_s": round(asked.done_s, 3),
        "symbols": list(asked.symbols),
    }


def _source(number: int, selection: "Selection") -> dict[str, object]:
    return {
        "source": number,
        "entries": selection.entries,
        "repeated": {"count": selection.repeated.count, "examples": selection.repeated.examples},
        "left_out": [
            {"reason": reason, "count": each.count, "examples": each.examples}
            for reason, each in selection.left_out.items()
        ],
    }


def _print(feed: str, asked: "list[Asked]", selections: "list[Selection]", every: bool, output: Output) -> None:
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    if every:
        for each in asked:
            for symbol in each.symbols:
                output.say(f"{symbol}\t{each.label}")
        return
    messages, size = sum(each.messages for each in asked), sum(each.bytes for each in asked)
    console.print(
        f"[bold]{feed}[/]  {_count(sum(len(each.symbols) for each in asked), 'symbol')} on "
        f"{_count(len(asked), 'connection')}, {_count(messages, 'message')} of {_count(size, 'byte')} in all; by the "
        f"vendors' rules asked for within {max(each.done_s for each in asked):.1f} s"
    )
    table = Table(box=None, header_style="dim")
    table.add_column("connection", no_wrap=True)
    for name in ("receiver", "symbols", "of at most", "messages", "bytes", "begins", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("asks for")
    for each in asked:
        more = f" and {len(each.symbols) - _SHOWN:,} more" if len(each.symbols) > _SHOWN else ""
        table.add_row(
            each.label,
            str(each.receiver),
            f"{len(each.symbols):,}",
            "–" if each.limit is None else f"{each.limit:,}",
            f"{each.messages:,}",
            f"{each.bytes:,}",
            f"{each.begins_s:.1f} s",
            f"{each.done_s:.1f} s",
            # Not the words of a markup: a list may have any.
            Text((", ".join(each.symbols[:_SHOWN]) + more) or "whatever comes"),
        )
    console.print(table)
    for number, selection in enumerate(selections, 1):
        _print_left_out(number if len(selections) > 1 else None, selection, output)


def _print_left_out(number: int | None, selection: "Selection", output: Output) -> None:
    where = "" if number is None else f" of [[source]] {number}"
    if selection.repeated.count:
        output.say(f"repeated{where}, asked for once: {selection.repeated.count:,} ({selection.repeated})")
    if selection.left_out:
        left_out = sum(each.count for each in selection.left_out.values())
        output.say(f"left out{where}: {left_out:,} of {selection.entries:,}")
    for reason, each in selection.left_out.items():
        output.say(f"  {each.count:>7,} {reason}{f': {each}' if each.examples else ''}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"

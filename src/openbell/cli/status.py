"""``openbell status``: how running feeds are."""

from typing import TYPE_CHECKING

import click

from openbell.cli.exits import FAILED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from openbell.monitor.status import Status


@click.command(short_help="Show how running feeds are.", epilog="Example: openbell status cn --json")
@click.argument("feed", required=False)
@click.option("--watch", is_flag=True, help="Show a live table of one feed until Ctrl-C.")
@json_option
def status(feed: str | None, watch: bool, as_json: bool) -> int:
    """Show the processes, connections, rings, counters and latencies of one running feed, or of all.

    Exit status 1 if the named feed is not running, or if any process of a feed shown is not well.
    """
    import openbell
    from openbell.errors import FeedGone, FeedNotFound
    from openbell.memory import feeds

    output = Output(as_json)
    if watch:
        if feed is None or as_json:
            raise click.UsageError("--watch takes the name of one feed, and no --json")
        return _watch(feed, output)
    found: list[Status] = []
    for name in [feed] if feed is not None else feeds.running():
        try:
            with openbell.attach(name) as market:
                found.append(market.status())
        except (FeedGone, FeedNotFound):
            # One that stops while we look at all of them is not missing; one that was asked for is.
            if feed is not None:
                raise
    if not found:
        output.say("no feed is running; start one: openbell run feed.toml")
    for each in found:
        if not as_json:
            _print(each, output)
    output.result({"feeds": [_to_json(each) for each in found]})
    return OK if all(process.healthy for each in found for process in each.processes) else FAILED


def _watch(feed: str, output: Output) -> int:
    import openbell
    from openbell.cli.view import choose_view
    from openbell.signals import StopSignals

    with StopSignals() as signals, openbell.attach(feed) as market:
        view = choose_view(output)
        view.attach(market)
        try:
            while not signals.wait(0.1):
                view.look()
        finally:
            view.close()
    return OK


def _print(status: "Status", output: Output) -> None:
    from rich.table import Table

    from openbell.monitor.table import latencies

    console = output.console()
    console.print(
        f"[bold]{status.feed}[/]  {status.state.name.lower()}  up {status.uptime_ns / 1e9:,.1f} s  "
        f"{status.symbols:,} symbols"
    )
    counters = Table(box=None, show_header=False)
    for name in ("frames", "bytes", "events", "published", "applied", "invalid", "ignored", "lost", "gaps"):
        counters.add_row(name, f"{getattr(status, name):,}")
    for reason, count in status.reasons.items():
        counters.add_row(f"  {reason.name.lower()}", f"{count:,}  {reason.description}")
    counters.add_row("paused", f"{status.paused_ns / 1e9:.3f} s")
    counters.add_row("receive → snapshot", latencies(status.latency))
    for table in (_processes(status), _connections(status), _rings(status), counters):
        console.print(table)


def _processes(status: "Status") -> "Table":
    table = _table("process", "pid", "state", "restarts", "heartbeat", "up")
    for each in status.processes:
        table.add_row(
            each.name,
            str(each.pid),
            each.state.name.lower() if each.healthy else f"[red]{each.state.name.lower()}[/]",
            str(each.restarts),
            f"{each.heartbeat_age_ns / 1e9:.2f} s ago",
            f"{each.uptime_ns / 1e9:,.1f} s",
        )
    return table


def _connections(status: "Status") -> "Table":
    table = _table("connection", "receiver", "state", "symbols", "last frame", "connects", "disconnects", "errors")
    for each in status.connections:
        age = each.last_frame_age_ns
        table.add_row(
            each.label,
            str(each.receiver),
            each.state.name.lower(),
            f"{each.symbols:,}",
            "never" if age is None else f"{age / 1e9:.2f} s ago",
            str(each.connects),
            str(each.disconnects),
            str(each.errors),
        )
    return table


def _rings(status: "Status") -> "Table":
    table = _table("ring", "backlog", "capacity", "fill", "published", "applied")
    for each in status.rings:
        table.add_row(
            f"{each.receiver} → {each.worker}",
            f"{each.backlog:,}",
            f"{each.capacity:,}",
            f"{each.backlog / each.capacity:.1%}",
            f"{each.published:,}",
            f"{each.applied:,}",
        )
    return table


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _to_json(status: "Status") -> dict[str, object]:
    return {
        "feed": status.feed,
        "state": status.state.name.lower(),
        "generation": status.generation,
        "uptime_s": status.uptime_ns / 1e9,
        "symbols": status.symbols,
        "processes": [
            {
                "name": each.name,
                "pid": each.pid,
                "state": each.state.name.lower(),
                "healthy": each.healthy,
                "restarts": each.restarts,
                "exit_status": each.exit_status,
                "heartbeat_age_s": each.heartbeat_age_ns / 1e9,
                "uptime_s": each.uptime_ns / 1e9,
            }
            for each in status.processes
        ],
        "connections": [
            {
                "label": each.label,
                "receiver": each.receiver,
                "state": each.state.name.lower(),
                "symbols": each.symbols,
                "connects": each.connects,
                "disconnects": each.disconnects,
                "acks": each.acks,
                "errors": each.errors,
                "last_frame_age_s": None if each.last_frame_age_ns is None else each.last_frame_age_ns / 1e9,
            }
            for each in status.connections
        ],
        "rings": [
            {
                "receiver": each.receiver,
                "worker": each.worker,
                "capacity": each.capacity,
                "published": each.published,
                "applied": each.applied,
                "backlog": each.backlog,
            }
            for each in status.rings
        ],
        "counters": {
            name: getattr(status, name)
            for name in ("frames", "bytes", "events", "published", "applied", "invalid", "ignored", "lost", "gaps")
        }
        | {"paused_s": status.paused_ns / 1e9},
        "reasons": {reason.name.lower(): count for reason, count in status.reasons.items()},
        "receive_to_snapshot_ns": status.latency.summary(),
    }

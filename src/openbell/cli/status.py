"""``openbell status``: how running feeds are."""

from typing import TYPE_CHECKING

import click

from openbell.cli.exits import FAILED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from openbell.market import Market
    from openbell.monitor.history import Life
    from openbell.monitor.status import ConnectionStatus, Status


@click.command(short_help="Show how running feeds are.", epilog="Example: openbell status cn --json")
@click.argument("feed", required=False)
@click.option("--watch", is_flag=True, help="Show a live table of one feed until Ctrl-C.")
@click.option("--history", is_flag=True, help="Show the last lives of every connection, too, and how each ended.")
@json_option
def status(feed: str | None, watch: bool, history: bool, as_json: bool) -> int:
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
    lives: list[dict[int, list[Life]]] = []
    for name in [feed] if feed is not None else feeds.running():
        try:
            with openbell.attach(name) as market:
                found.append(market.status())
                lives.append(_histories(market, found[-1]) if history else {})
        except (FeedGone, FeedNotFound):
            # One that stops while we look at all of them is not missing; one that was asked for is.
            if feed is not None:
                raise
    if not found:
        output.say("no feed is running; start one: openbell run feed.toml")
    for each, past in zip(found, lives, strict=True):
        if not as_json:
            _print(each, output)
            if history:
                output.console().print(_lives(each, past))
    output.result({"feeds": [_to_json(each, past) for each, past in zip(found, lives, strict=True)]})
    return OK if all(process.healthy for each in found for process in each.processes) else FAILED


def _histories(market: "Market", status: "Status") -> "dict[int, list[Life]]":
    return {each.index: market.history(each.index) for each in status.connections}


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
    counters.add_row("event loop", f"{status.loop_lag_ns / 1e6:.1f} ms late (peak {status.loop_lag_peak_ns / 1e6:.1f})")
    counters.add_row("receive → snapshot", latencies(status.latency))
    for table in (_processes(status), _connections(status), _rings(status), *_consumers(status), counters):
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
    table = _table(
        "connection", "receiver", "state", "symbols", "last frame", "last pong", "connects", "gaps", "errors", "queue"
    )
    for each in status.connections:
        table.add_row(
            each.label,
            str(each.receiver),
            each.state.name.lower(),
            _symbols(each),
            _ago(each.last_frame_age_ns),
            _ago(each.last_pong_age_ns),
            str(each.connects),
            _gaps(each),
            str(each.errors),
            f"{each.queue_bytes / 1024:,.0f} KiB (peak {each.queue_peak_bytes / 1024:,.0f})",
        )
    return table


def _ago(age_ns: int | None) -> str:
    return "never" if age_ns is None else f"{age_ns / 1e9:.2f} s ago"


def _gaps(connection: "ConnectionStatus") -> str:
    """Return how often it was interrupted, and what the vendor's numbers prove to be missing."""
    if not connection.missing:
        return str(connection.gaps)
    return f"{connection.gaps} ({connection.missing:,} events missing, {connection.holes:,} holes)"


def _symbols(connection: "ConnectionStatus") -> str:
    """Return how many symbols it has, and in how many of them something is not as it should be."""
    troubles = [
        f"{count:,} {name}" for name in ("refused", "unconfirmed", "silent") if (count := getattr(connection, name))
    ]
    if connection.kept:
        troubles.append(f"only the first {connection.kept:,} come")
    return f"{connection.symbols:,}" + (f" ({', '.join(troubles)})" if troubles else "")


def _lives(status: "Status", histories: "dict[int, list[Life]]") -> "Table":
    from openbell.core import words

    now = words.monotonic_ns()
    table = _table("connection", "life", "began", "live after", "lasted", "gap", "messages", "records", "end")
    for each in status.connections:
        for life in histories.get(each.index, []):
            ended = life.ended_ns if life.ended_ns is not None else now
            code = f" ({life.close_code})" if life.close_code else ""
            table.add_row(
                each.label,
                str(life.number),
                f"{(now - life.began_ns) / 1e9:,.1f} s ago",
                "never" if life.live_ns is None else f"{(life.live_ns - life.began_ns) / 1e9:.2f} s",
                f"{(ended - life.began_ns) / 1e9:,.1f} s",
                "" if not life.told else "still" if life.gap_ns is None else f"{life.gap_ns / 1e9:,.1f} s",
                f"{life.messages:,}",
                f"{life.records:,}",
                f"{life.why.description}{code}",
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


def _consumers(status: "Status") -> "list[Table]":
    """Return the table of tethered readers, if there ever was one that left a trace."""
    from rich.text import Text

    from openbell.printable import printable

    found = status.consumers
    if not (found.readers or found.cuts or found.died):
        return []
    table = _table("tethered reader", "pid", "rings", "lag", "held up", "cut off", "up")
    for each in found.readers:
        lost = f" [red]({each.cut} cut)[/]" if each.cut else ""
        table.add_row(
            Text(printable(each.label) or f"slot {each.slot}"),
            str(each.pid),
            f"{each.rings}{lost}",
            f"{each.lag:,}",
            f"{each.held_ns / 1e6:,.1f} ms",
            f"{each.cuts:,}",
            f"{each.age_ns / 1e9:,.1f} s",
        )
    died = f" ({found.died} died)" if found.died else ""
    table.add_row(f"all so far{died}", "", "", "", f"{found.held_ns / 1e6:,.1f} ms", f"{found.cuts:,}", "")
    return [table]


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _to_json(status: "Status", histories: "dict[int, list[Life]]") -> dict[str, object]:
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
                "last_frame_age_s": _seconds(each.last_frame_age_ns),
                "last_pong_age_s": _seconds(each.last_pong_age_ns),
                **{name: getattr(each, name) for name in _COUNTS},
                **({"history": [_life(life) for life in histories[each.index]]} if histories else {}),
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
        "consumers": {
            "places": status.consumers.places,
            "held_s": status.consumers.held_ns / 1e9,
            "cuts": status.consumers.cuts,
            "died": status.consumers.died,
            "readers": [
                {
                    "slot": each.slot,
                    "pid": each.pid,
                    "label": each.label,
                    "age_s": each.age_ns / 1e9,
                    "rings": each.rings,
                    "cut": each.cut,
                    "lag": each.lag,
                    "held_s": each.held_ns / 1e9,
                    "cuts": each.cuts,
                }
                for each in status.consumers.readers
            ],
        },
        "counters": {
            name: getattr(status, name)
            for name in ("frames", "bytes", "events", "published", "applied", "invalid", "ignored", "lost", "gaps")
        }
        | {
            "paused_s": status.paused_ns / 1e9,
            "loop_lag_s": status.loop_lag_ns / 1e9,
            "loop_lag_peak_s": status.loop_lag_peak_ns / 1e9,
        },
        "reasons": {reason.name.lower(): count for reason, count in status.reasons.items()},
        "receive_to_snapshot_ns": status.latency.summary(),
    }


_COUNTS = (
    *("confirmed", "refused", "unconfirmed", "silent", "kept", "retries", "missed_pongs", "gaps", "switches"),
    *("holes", "missing", "repairs", "messages", "queue_bytes", "queue_peak_bytes"),
)


def _seconds(age_ns: int | None) -> float | None:
    return None if age_ns is None else age_ns / 1e9


def _life(life: "Life") -> dict[str, object]:
    """Return one life; times are seconds of this machine's monotonic clock."""
    return {
        "number": life.number,
        "began_s": life.began_ns / 1e9,
        "live_s": _seconds(life.live_ns),
        "ended_s": _seconds(life.ended_ns),
        "next_live_s": _seconds(life.next_live_ns),
        "messages": life.messages,
        "records": life.records,
        "local_port": life.local_port,
        "why": life.why.name.lower(),
        "close_code": life.close_code,
        "failed_attempts": life.attempts,
        "gap_told": life.told,
        "gap_s": _seconds(life.gap_ns),
    }

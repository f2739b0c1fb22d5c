"""The live table: a feed's health and its top movers, for a terminal, and the same in one line for a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openbell.monitor.control import ConnectionState
from openbell.monitor.histogram import Histogram
from openbell.monitor.status import ConnectionStatus, Status
from openbell.printable import word

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from openbell.market import Market, Snapshot

_LIGHTS = {
    ConnectionState.LIVE: "green",
    ConnectionState.CONNECTING: "yellow",
    ConnectionState.SUBSCRIBING: "yellow",
    ConnectionState.STALE: "yellow",
    ConnectionState.DOWN: "red",
}
_FILL_CELLS = 12
# A terminal has some 40 lines, and the movers want theirs.
_CONNECTIONS_APART = 4
_RINGS_SHOWN = 8
# Above these the ring is coloured: half full is worth a look, and near the end reading pauses.
_FILL_WARN, _FILL_ALARM = 0.5, 0.9


class FeedTable:
    """Draws a feed as it is now; rates and latencies are those since the drawing before.

    Parameters
    ----------
    market : Market
        The feed; borrowed.
    movers : int
        Rows of the table of symbols.
    """

    def __init__(self, market: Market, movers: int = 12) -> None:
        self._market = market
        self._movers = movers
        self._before = market.status()

    def render(self) -> RenderableType:
        """Return the whole view."""
        from rich.console import Group

        status, before = self._advance()
        return Group(_health(status, before), _movers(self._market.snapshot(), self._movers))

    def line(self) -> str:
        """Return the same in one line, without the symbols."""
        status, before = self._advance()
        seconds = _seconds(status, before)
        recent = _recent(status, before).summary()
        fill = max((ring.backlog / ring.capacity for ring in status.rings), default=0.0)
        merged = f"  conflated {status.conflated:,}" if status.conflated else ""
        return (
            f"{status.uptime_ns / 1e9:6.1f} s  {_states(status)}  "
            f"received {status.events:,} ({(status.events - before.events) / seconds:,.0f}/s)  "
            f"applied {status.applied:,}  invalid {status.invalid:,}  lost {status.lost:,}{merged}  "
            f"rings {fill:.0%}  p50 {_micros(recent['p50'])}  p99 {_micros(recent['p99'])}"
        )

    def _advance(self) -> tuple[Status, Status]:
        before, self._before = self._before, self._market.status()
        return self._before, before


def _health(status: Status, before: Status) -> Table:
    from rich.table import Table

    seconds = _seconds(status, before)
    grid = Table(
        title=f"[bold]{status.feed}[/] · {status.state.name.lower()} · {status.uptime_ns / 1e9:.1f} s",
        title_justify="left",
        box=None,
        show_header=False,
    )
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, text in _lights(status.connections):
        grid.add_row(name, text)
    events, applied, frames, size = (
        (getattr(status, name) - getattr(before, name)) / seconds for name in ("events", "applied", "frames", "bytes")
    )
    grid.add_row(
        "rates", f"{events:,.0f} events/s   {applied:,.0f} applied/s   {frames:,.0f} frames/s   {size / 1e6:.1f} MB/s"
    )
    grid.add_row(
        "totals",
        f"received {status.events:,}   applied {status.applied:,}   ignored {status.ignored:,}   "
        f"invalid {_alarm(status.invalid, 'yellow')}   lost {_alarm(status.lost, 'red')}   "
        f"conflated {_alarm(status.conflated, 'yellow')}",
    )
    fullest = sorted(status.rings, key=lambda ring: ring.backlog / ring.capacity, reverse=True)[:_RINGS_SHOWN]
    # In the order of their numbers, so that they do not jump about.
    for ring in sorted(fullest, key=lambda ring: (ring.receiver, ring.worker)):
        fill = ring.backlog / ring.capacity
        colour = "red" if fill >= _FILL_ALARM else "yellow" if fill >= _FILL_WARN else "green"
        full = round(fill * _FILL_CELLS)
        bar = f"[{colour}]{'█' * full}[/][dim]{'░' * (_FILL_CELLS - full)}[/]"
        grid.add_row(f"ring {ring.receiver} → {ring.worker}", f"{bar} {ring.backlog:,} of {ring.capacity:,}")
    if others := len(status.rings) - len(fullest):
        grid.add_row("", f"[dim]and {others} rings that are not fuller[/]")
    grid.add_row("latency", f"receive → snapshot, now   {latencies(_recent(status, before))}")
    grid.add_row("", f"         since the start   {latencies(status.latency)}")
    for process in status.processes:
        if not process.healthy or process.restarts:
            grid.add_row(process.name, f"[yellow]{process.state.name.lower()}, {process.restarts} restarts[/]")
    return grid


def _movers(snapshot: Snapshot, count: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="top movers", title_justify="left", box=None, header_style="dim")
    table.add_column("symbol", no_wrap=True)
    # A feed of trades alone has no quotes to show.
    quotes = [name for name in ("bid", "ask") if (snapshot[name] == snapshot[name]).any()]
    for name in ("last", "change", "volume", "turnover", "trades", *quotes):
        table.add_column(name, justify="right", no_wrap=True)
    for row, change in top_movers(snapshot, count):
        colour = "green" if change > 0 else "red" if change < 0 else "white"
        table.add_row(
            Text(word(snapshot.symbols[row])),
            _price(snapshot["last"][row]),
            f"[{colour}]{change:+.2%}[/]",
            f"{snapshot['volume'][row]:,.8g}",
            f"{snapshot['turnover'][row]:,.0f}",
            f"{snapshot['trades'][row]:,}",
            *(_price(snapshot[name][row]) for name in quotes),
        )
    return table


def top_movers(snapshot: Snapshot, count: int) -> list[tuple[int, float]]:
    """Return ``(index, change)`` of the symbols that moved most against their reference, farthest first.

    The reference is the previous close, or the first trade where that is not known; symbols without a trade are left
    out.
    """
    import numpy as np

    reference = np.where(np.isnan(snapshot["prev_close"]), snapshot["open"], snapshot["prev_close"])
    change = snapshot["last"] / reference - 1.0
    moved = np.flatnonzero(~np.isnan(change))
    # Stable, so that symbols that stand still do not change places from one drawing to the next.
    order = moved[np.argsort(-np.abs(change[moved]), kind="stable")][:count]
    return [(int(row), float(change[row])) for row in order]


def latencies(histogram: Histogram) -> str:
    """Return the percentiles for people."""
    names = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}
    return "   ".join(f"{names[name]} {_micros(value)}" for name, value in histogram.summary().items())


def _seconds(status: Status, before: Status) -> float:
    return max(status.uptime_ns - before.uptime_ns, 1) / 1e9


def _recent(status: Status, before: Status) -> Histogram:
    return status.latency.since(before.latency)


def _states(status: Status) -> str:
    """Return how the connections are, in words: ``live``, or ``3 live, 1 down``."""
    names = Counter(connection.state.name.lower() for connection in status.connections)
    if len(status.connections) == 1:
        return next(iter(names))
    return ", ".join(f"{count} {name}" for name, count in names.items()) or "no connection"


def _lights(connections: Sequence[ConnectionStatus]) -> list[tuple[str, str]]:
    """Return rows with a light for each connection: a row each for a few, else one for all and one for each in need."""
    if len(connections) <= _CONNECTIONS_APART:
        return [("connection", _light(connection)) for connection in connections]
    lights = "".join(f"[{_LIGHTS[connection.state]}]●[/]" for connection in connections)
    live = sum(connection.state is ConnectionState.LIVE for connection in connections)
    symbols = sum(connection.symbols for connection in connections)
    rows = [("connections", f"{lights}  {live} of {len(connections)} live  {symbols:,} symbols")]
    ill = [each for each in connections if each.state is not ConnectionState.LIVE or each.disconnects]
    rows += [("", _light(connection)) for connection in ill[:_CONNECTIONS_APART]]
    if others := len(ill[_CONNECTIONS_APART:]):
        rows.append(("", f"[dim]and {others} more that are not live, or were disconnected[/]"))
    return rows


def _light(connection: ConnectionStatus) -> str:
    colour = _LIGHTS[connection.state]
    state = f"[{colour}]●[/] {connection.state.name.lower()}"
    troubles = f", {connection.disconnects} disconnects" if connection.disconnects else ""
    return f"{state}  {connection.label}  {connection.symbols:,} symbols{troubles}"


def _alarm(count: int, colour: str) -> str:
    return f"[{colour}]{count:,}[/]" if count else "0"


def _price(value: float) -> str:
    return "–" if value != value else f"{value:,.8g}"


def _micros(nanoseconds: int) -> str:
    return f"{nanoseconds / 1000:,.1f} µs" if abs(nanoseconds) < 1_000_000 else f"{nanoseconds / 1e6:,.1f} ms"

"""``openbell tail``: the records of a running feed, as they come."""

import time
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import INTERRUPTED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.market import Tick
    from openbell.market.ticks import Ticks
    from openbell.signals import StopSignals

_LOOK_S = 0.1
_VALUES = (
    *("price", "size", "turnover", "reference_price", "cumulative_volume", "cumulative_turnover"),
    *("level", "bid", "bid_size", "ask", "ask_size", "session"),
)


@click.command(short_help="Print records as they come.", epilog="Example: openbell tail cn 600519.SH --kinds trade")
@click.argument("feed", metavar="FEED")
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1)
@click.option("--kinds", metavar="KIND,...", help="Only these: trade, quote, ticker, level, ... Gaps always come.")
@click.option("--count", type=click.IntRange(min=1), help="End after this many records.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this long.")
@click.option("--oldest", is_flag=True, help="Begin with the oldest that the feed still has.")
@click.option("--reattach", is_flag=True, help="Go on with the next run of the feed when it is restarted.")
@json_option
def tail(
    feed: str,
    symbols: tuple[str, ...],
    kinds: str | None,
    count: int | None,
    seconds: float | None,
    oldest: bool,
    reattach: bool,
    as_json: bool,
) -> int:
    """Print the records of a running feed, of some symbols or of all, one a line, until Ctrl-C.

    It never slows the feed. If it cannot keep up it misses records, and says how many: such a line is a gap, as where
    the feed itself was not given something. With --json every line is an object, one a record; the last one, with
    "feed" in it, says how many there were.
    """
    import openbell
    from openbell.errors import InvalidArgument
    from openbell.signals import StopSignals

    output = Output(as_json)
    with openbell.attach(feed, reattach=reattach) as market, StopSignals() as signals:
        wanted = None if kinds is None else [each.strip() for each in kinds.split(",")]
        try:
            following = market.ticks(symbols or None, wanted, start="oldest" if oldest else "now")
        except InvalidArgument as error:
            raise click.BadParameter(str(error), param_hint="--kinds") from None
        with following as ticks:
            ended = _follow(ticks, output, signals, count, seconds)
            summary = {
                "feed": feed,
                "records": ticks.delivered,
                "skipped": ticks.skipped,
                "lost": ticks.lost,
                "gaps": ticks.gaps,
            }
    output.result(summary)
    # Without a bound, Ctrl-C is how it ends.
    return OK if ended or (count is None and seconds is None) else INTERRUPTED


def _follow(ticks: "Ticks", output: Output, signals: "StopSignals", count: int | None, seconds: float | None) -> bool:
    """Print what comes; return whether all that was asked for came before a signal."""
    import sys

    deadline = None if seconds is None else time.monotonic() + seconds
    write = sys.stdout.write
    line = _object if output.as_json else _line
    printed = 0
    fresh = False
    while not signals.requested:
        tick = ticks.take(0)
        if tick is None:
            if fresh:
                sys.stdout.flush()
                fresh = False
            left = _LOOK_S if deadline is None else min(_LOOK_S, deadline - time.monotonic())
            if left <= 0:
                return True
            tick = ticks.take(left)
            if tick is None:
                continue
        write(line(tick))
        fresh = True
        printed += 1
        if printed == count or (deadline is not None and time.monotonic() >= deadline):
            return True
    return False


def _object(tick: "Tick") -> str:
    import json

    from openbell.record import Flag, Kind

    found: dict[str, object] = {
        "symbol": tick.symbol,
        "kind": Kind(tick.kind).name.lower(),
        "receive_ns": tick.receive_ns,
        "exchange_ns": tick.exchange_ns or None,
        "sequence": tick.sequence or None,
    }
    found |= _values(tick)
    if tick.flags & (Flag.FIRST | Flag.LAST):
        found |= {"first_of_group": tick.first_of_group, "last_of_group": tick.last_of_group}
    gap = tick.gap
    if gap is not None:
        found |= {"reason": gap.reason.name.lower(), "count": gap.count, "first": gap.first, "last": gap.last}
    return json.dumps(found, allow_nan=False) + "\n"


def _line(tick: "Tick") -> str:
    from openbell.printable import word
    from openbell.record import Kind

    seconds, rest = divmod(tick.receive_ns, 1_000_000_000)
    clock = time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{rest // 1000:06d}" if seconds else " " * 15
    gap = tick.gap
    if gap is None:
        said = "  ".join(
            f"{name} {value:,.10g}" if isinstance(value, float | int) else f"{name} {value}"
            for name, value in _values(tick).items()
        )
    else:
        # `-1` and the like are for programs.
        many = "nobody knows how many" if gap.count is None else f"{gap.count:,} missing"
        said = f"{gap.reason.name.lower().replace('_', ' ')}: {many}"
    return f"{clock}  {word(tick.symbol or '-'):<14} {Kind(tick.kind).name.lower():<7} {said}\n"


def _values(tick: "Tick") -> dict[str, object]:
    """Return what the record says, by name."""
    from openbell.record import Kind, Side

    found: dict[str, object] = {name: getattr(tick, name) for name in _VALUES if getattr(tick, name) is not None}
    if tick.aggressor is not None and tick.aggressor is not Side.UNKNOWN:
        found["side"] = tick.aggressor.name.lower()
    if tick.status is not None:
        found["status"] = tick.status.name.lower()
    if tick.kind == Kind.TRADES:
        first, second = ("price", "size", "first_price", "trades"), ("high", "low", "volume", "turnover")
        names = first if tick.first_of_group else second
        values = (tick.a, tick.b, tick.c, tick.d)
        found |= {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return found

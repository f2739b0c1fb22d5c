"""``openbell simulate``: an exchange to connect to."""

from collections.abc import Mapping
from pathlib import Path

import click

from openbell.cli.dialects import DIALECTS
from openbell.cli.exits import INTERRUPTED, OK
from openbell.cli.output import Output, json_option


@click.command(
    short_help="Serve a market or a capture to connect to.",
    epilog="Example: openbell simulate --universe us --profile open --dialect ticks --frame-ticks 100",
)
@click.option(
    "--universe",
    type=click.Choice(["cn", "hk", "us", "crypto"]),
    help="Market to make up.  [default: the dialect's; cn with alltick]",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default="alltick",
    show_default=True,
    help="What a made-up market speaks; ticks are plain batches, the last ones what relays speak.",
)
@click.option(
    "--profile",
    type=click.Choice(["steady", "open"]),
    default="steady",
    show_default=True,
    help="A trade a symbol and then --rate, or the market's opening.",
)
@click.option("--scale", type=click.FloatRange(min=0.001), default=1.0, show_default=True, help="Multiplies all rates.")
@click.option(
    "--frame-ticks", type=click.IntRange(1, 1000), default=1, show_default=True, help="Events a frame of ticks."
)
@click.option(
    "--join", type=click.IntRange(1, 1000), default=1, show_default=True, help="AllTick pushes a frame, by newlines."
)
@click.option("--cumulative", is_flag=True, help="symbol-array: volumes are those of the day so far.")
@click.option("--books", is_flag=True, help="Half of the events are order books, or Binance's best bids and offers.")
@click.option("--book-levels", type=click.IntRange(1, 10), help="Levels a side of AllTick's books.  [default: all]")
@click.option("--enforce", is_flag=True, help="Keep clients to the limits the venue publishes.")
@click.option("--codes-limit", type=click.IntRange(min=0), help="Codes, or streams, of a connection at most; 0: any.")
@click.option("--connections-limit", type=click.IntRange(min=0), help="AllTick: connections at most; 0: any.")
@click.option("--request-spacing", type=click.FloatRange(min=0), help="AllTick: seconds between two requests.")
@click.option(
    "--connection-spacing", type=click.FloatRange(min=0), help="AllTick: seconds between requests of two connections."
)
@click.option("--stamp-ns", is_flag=True, help="Messages tell their intended send time on this machine, in ns.")
@click.option(
    "--capture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Serve this file of recorded messages instead, as its venue would (see `openbell record`).",
)
@click.option("--speed", default="1", show_default=True, help="Pace of a capture: a factor, or max.")
@click.option("--symbols", type=click.IntRange(min=1), help="Number of symbols; a capture is dealt out to them.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Length of the market.  [default: no end]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same trades.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=20_000.0, show_default=True, help="Events a second."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--oracle", type=click.Path(dir_okay=False, path_type=Path), help="Write the snapshot a correct handler must hold."
)
@click.option(
    "--fault",
    multiple=True,
    metavar="KIND[=VALUE][#CLIENT]@AT[+LENGTH]",
    help="Something that goes wrong, such as mute@5s+3s; repeatable, see docs/simulator.md.",
)
@click.option("--faults", metavar="storm|FILE", help="All kinds of faults in turn, or a schedule (TOML or JSON).")
@click.option(
    "--fault-every",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds from one fault of a storm to the next.",
)
@click.option(
    "--fault-clients",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="A fault of a storm happens to one of so many clients.  [1: to all]",
)
@click.option("--commands", is_flag=True, help="Take more faults from stdin, a line each, while it runs.")
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="Write what every connection was sent."
)
@click.option("--linger", is_flag=True, help="Keep connections open after the end, until Ctrl-C.")
@json_option
def simulate(
    universe: str | None,
    dialect: str,
    profile: str,
    scale: float,
    frame_ticks: int,
    join: int,
    cumulative: bool,
    books: bool,
    book_levels: int | None,
    enforce: bool,
    codes_limit: int | None,
    connections_limit: int | None,
    request_spacing: float | None,
    connection_spacing: float | None,
    stamp_ns: bool,
    capture: Path | None,
    speed: str,
    symbols: int | None,
    seconds: float | None,
    seed: int,
    rate: float,
    host: str,
    port: int,
    oracle: Path | None,
    fault: tuple[str, ...],
    faults: str | None,
    fault_every: float,
    fault_clients: int,
    commands: bool,
    journal: Path | None,
    linger: bool,
    as_json: bool,
) -> int:
    """Serve a made-up market, or a capture, over WebSocket on this machine, to its end or until Ctrl-C.

    A made-up market speaks AllTick's protocol (any token will do), Binance's, or plain batches of ticks, a capture
    that of its venue. The market begins with the first subscriber. With --json every event is one JSON line; the last
    one states what was sent.
    """
    from openbell.simulator import SimulatorOptions, parse_speed, print_report, serve

    output = Output(as_json)
    options = SimulatorOptions(
        universe=universe or "",
        dialect=dialect,
        profile=profile,
        scale=scale,
        frame_ticks=frame_ticks,
        join=join,
        cumulative=cumulative,
        books=books,
        book_levels=book_levels or 0,
        enforce=enforce,
        codes_limit=codes_limit,
        connections_limit=connections_limit,
        request_spacing_s=request_spacing,
        connection_spacing_s=connection_spacing,
        stamp_ns=stamp_ns,
        capture=capture,
        symbols=symbols or 0,
        seed=seed,
        rate=rate,
        speed=parse_speed(speed),
        seconds=seconds,
        host=host,
        port=port,
        oracle=oracle,
        linger=linger,
        fault=fault,
        faults=faults or "",
        fault_every_s=fault_every,
        fault_clients=fault_clients,
        commands=commands,
        journal=journal,
    )
    # Until it is ready, nothing but an interrupt ends it without an error.
    cut_short = True

    def tell(event: Mapping[str, object]) -> None:
        nonlocal cut_short
        if event["event"] == "ready":
            cut_short = False
        elif event["event"] == "done":
            # A market without an end is not cut short by being told to stop.
            cut_short = event["stopped"] is True and (seconds is not None or capture is not None)
        if as_json:
            print_report(event)
        elif (line := _line(event)) is not None:
            output.say(line)

    serve(options, tell)
    return INTERRUPTED if cut_short else OK


def _line(event: Mapping[str, object]) -> str | None:
    match event["event"]:
        case "ready":
            symbols = event.get("symbols")
            count = f"{len(symbols):,} symbols" if isinstance(symbols, list) else "a market"
            return f"{count} in the dialect of {event['vendor']} at {event['url']}; waiting for a subscriber"
        case "started":
            return "the market is open"
        case "progress":
            return f"{event['seconds']:8.1f} s  sent {event['sent']:,}  clients {event['clients']}"
        case "fault":
            ports = event["ports"]
            return f"fault: {event['fault']}, to {len(ports) if isinstance(ports, list) else 0} clients"
        case "refused":
            return f"not done: {event['message']}"
        case "done":
            return f"the market is closed: sent {event['sent']:,} events in {event['seconds']:.1f} s"
    return None

"""The configuration of a demonstration's feed, from what the simulator announces."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from openbell.config import Config, Feed, Generic, Liveness, Network, Source, Subscribing, Universe
from openbell.config.generic import generic
from openbell.demo.exchange import Event, Lists
from openbell.demo.options import DemoError, DemoOptions

_TOKEN = "OPENBELL_DEMO_TOKEN"
_BOOK = "book:"
_CAPACITY = 16_384
_RING, _SMALL_RING = 65_536, 1_024
_SMALL_BUFFER = 262_144
_ADDRESS_BYTES = 7_000
_PROFILES = {
    "symbol-array": "symbol-array",
    "symbol-text": "symbol-text",
    "symbol-wildcard": "symbol-text",
    "symbol-query": "symbol-query",
    "command-code": "command-code",
}


def _quick(patience: float) -> dict[str, Any]:
    """Return what makes a source meet in a minute what others meet in a year: intervals up to a hundred times shorter.

    Parameters
    ----------
    patience : float
        Multiplies those after which it gives something up.
    """
    return {
        "min_reconnect_s": 0.05,
        # What is in fragments fits in, and what has no end is cut soon.
        "max_message_bytes": 1 << 20,
        "liveness": Liveness(
            ping_s=0.4 * patience,
            pong_s=0.4 * patience,
            missed_pongs=2,
            silence_s=0.5 * patience,
            symbol_silence_s=2.0 * patience,
            backoff_first_s=0.1,
            backoff_longest_s=0.4,
            stable_s=1.0,
            refused_pause_s=0.2,
            forgets_after_s=0.0,
            overlap_s=0.3,
        ),
        "subscribing": Subscribing(
            pause_s=0.05, ack_s=0.4 * patience, retries=3, retry_s=0.1, retry_longest_s=0.3, refused_again_s=1.0
        ),
        "network": Network(handshake_s=0.5 * patience, connect_s=1.0 * patience),
    }


def configure(options: DemoOptions, ready: Event, lists: Lists) -> Config:
    """Return the configuration of a feed that takes all that the simulator plays.

    Parameters
    ----------
    options : DemoOptions
        Name, processes and connections.
    ready : Event
        The simulator's ``ready``: its address and its dialect.
    lists : Lists
        Symbols and streams.

    Raises
    ------
    DemoError
        A capture holds what no verdict can be about.
    ConfigError
        It holds streams that a feed cannot take together.
    """
    symbols = tuple(lists.symbols)
    books = any(stream.startswith(_BOOK) for stream in lists.streams)
    streams: tuple[str, ...] = ("trade", "book") if books else ("trade",)
    if ready.vendor == "alltick":
        # AllTick takes nobody without a token; the simulator takes any. It travels as a real one would.
        os.environ[_TOKEN] = "any-token-will-do"
    elif ready.vendor == "binance":
        if whole := [stream for stream in lists.streams if stream.startswith("!")]:
            raise DemoError(
                f"the capture has arrays of a whole market ({whole[0]}), of which the oracle states nothing"
            )
        streams = tuple(sorted({stream.partition("@")[2] for stream in lists.streams}))
    described = _described(ready.vendor, options)
    connections = options.connections
    if described is not None and described.in_address:
        # An address has no room for a whole market.
        connections = max(connections, -(-sum(len(symbol) + 1 for symbol in symbols) // _ADDRESS_BYTES))
    everything = ready.vendor == "symbol-wildcard"
    source = Source(
        vendor=ready.vendor if described is None else "generic",
        generic=described,
        url=ready.url,
        # What stands for all of them is asked for, and what comes is taken.
        symbols=() if everything else symbols,
        open=everything,
        streams=streams,
        connections=connections,
        token_env=_TOKEN if ready.vendor == "alltick" else None,
        # Left to the system it grows to some MB, and one read of that is what a blocked receiver has to keep.
        receive_buffer_bytes=_SMALL_BUFFER if options.slow_worker else 0,
        # The venue's limit for a connection is not the simulator's, and a relabelled capture may need more.
        max_streams=len(symbols) * len(streams) if ready.vendor == "binance" else None,
        # Whatever stands in a capture was some vendor's symbol.
        universe=Universe(faulty="ask"),
    )
    if options.faults:
        source = msgspec.structs.replace(source, **_quick(options.patience))
    feed = Feed(
        name=options.name,
        receivers=options.receivers,
        workers=options.workers,
        # A hash does not deal symbols out evenly: leave room, or one shard's rows run out before the table is full.
        symbols_capacity=max(_CAPACITY, 2 * len(symbols)),
        overflow=options.overflow,
        exchange_latency=options.stamp,
        book_levels=options.kept_levels if books else 0,
        worker_rate_limit=options.slow_worker,
        ring_capacity=_SMALL_RING if options.slow_worker else _RING,
    )
    return Config(feed=feed, sources=(source,))


def _described(dialect: str, options: DemoOptions) -> Generic | None:
    """Return the description of a relay's dialect, None of a vendor's own."""
    profile = _PROFILES.get(dialect)
    if profile is None:
        return None
    keys: dict[str, object] = {}
    if dialect == "symbol-array":
        keys["volume_is"] = "cumulative" if options.cumulative else "trade"
    if dialect != "symbol-query":
        # The simulator answers every request, which not every server of these dialects does.
        keys["acknowledges"] = True
    return generic(profile, **keys)

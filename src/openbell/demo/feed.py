"""The configuration of a demonstration's feed, from what the simulator announces."""

from __future__ import annotations

import os

from openbell.config import Config, Feed, Source
from openbell.demo.exchange import Event, Lists
from openbell.demo.options import DemoOptions

_TOKEN = "OPENBELL_DEMO_TOKEN"
_CAPACITY = 16_384


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
    """
    symbols = tuple(lists.symbols)
    if ready.vendor == "alltick":
        # AllTick takes nobody without a token; the simulator takes any. It travels as a real one would.
        os.environ[_TOKEN] = "any-token-will-do"
        source = Source(
            vendor="alltick", url=ready.url, symbols=symbols, token_env=_TOKEN, connections=options.connections
        )
    else:
        streams = tuple(sorted({stream.partition("@")[2] for stream in lists.streams}))
        source = Source(
            vendor=ready.vendor,
            url=ready.url,
            symbols=symbols,
            streams=streams,
            connections=options.connections,
            # The venue's limit for a connection is not the simulator's, and a relabelled capture may need more.
            max_streams=len(symbols) * len(streams),
        )
    # A hash does not deal symbols out evenly: leave room, or one shard's rows run out before the table is full.
    capacity = max(_CAPACITY, 2 * len(symbols))
    feed = Feed(name=options.name, receivers=options.receivers, workers=options.workers, symbols_capacity=capacity)
    return Config(feed=feed, sources=(source,))

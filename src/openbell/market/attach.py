"""Attaching to a running feed."""

from __future__ import annotations

import time

from openbell.errors import FeedNotFound
from openbell.market.market import Market
from openbell.memory import feeds
from openbell.memory.segment import Kind


def attach(feed: str) -> Market:
    """Attach to a running feed and read its market, at no cost to the feed.

    Parameters
    ----------
    feed : str
        The feed's name, as in its ``feed.toml``.

    Returns
    -------
    Market
        Read-only. Close it, or use it in a ``with`` statement; leaving that to the garbage collector is fine too.

    Raises
    ------
    FeedNotFound
        This user runs no feed of that name; the message lists those that run.
    LayoutMismatch
        Another version of OpenBell runs the feed; the message names both layout versions.
    FeedError
        The runtime directory belongs to somebody else, or others may write to it.

    Notes
    -----
    The memory is mapped read-only: a reader cannot disturb a feed, whatever it does. After a fork, or in another
    process, attach again. The feed must be this user's, and both must see the same runtime directory
    (``OPENBELL_RUNTIME_DIR``, by default in ``/dev/shm``).

    Examples
    --------
    ::

        import openbell

        with openbell.attach("cn") as market:
            print(market["600519.SH"].last)
            snapshot = market.snapshot()
            print(dict(zip(snapshot.symbols, snapshot.last)))
    """
    deadline = time.monotonic() + 1.0
    while True:
        generation = feeds.find(feed)
        try:
            generation.open("symbols", Kind.SYMBOLS)
            generation.open("snapshot", Kind.SNAPSHOT)
        except FeedNotFound:
            # Stopped or restarted while we looked; `find` knows which.
            generation.close()
            if time.monotonic() > deadline:
                raise
            continue
        except BaseException:
            generation.close()
            raise
        return Market(feed, generation)

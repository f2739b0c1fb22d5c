"""Attaching to a running feed."""

from __future__ import annotations

from openbell.errors import InvalidArgument
from openbell.market.attachment import Attachment
from openbell.market.market import Market


def attach(feed: str, *, reattach: bool = False, wait_s: float = 0.0) -> Market:
    """Attach to a running feed and read its market, at no cost to the feed.

    Parameters
    ----------
    feed : str
        The feed's name, as in its ``feed.toml``.
    reattach : bool
        What happens when the feed is stopped, killed or restarted. False: everything raises `FeedGone` from then on.
        True: it does so only as long as the feed does not run, and then goes on with its next run.
    wait_s : float
        Seconds to wait for a feed that does not run: here, and, with `reattach`, in each call that finds it gone.

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
    InvalidArgument
        `wait_s` is no time.

    Notes
    -----
    The memory is mapped read-only: a reader cannot disturb a feed, whatever it does. (But for one small segment, which
    is mapped by the first that waits or holds a ring: it has the bells and the places of such readers.) After a fork,
    or in another process, attach again. The feed must be this user's, and both must see the same runtime directory
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
    if not wait_s >= 0:
        raise InvalidArgument(f"wait_s must be a number of seconds from 0, not {wait_s!r}")
    return Market(Attachment(feed, reattach, wait_s))

"""Finding running feeds: what a reader does before it attaches."""

from __future__ import annotations

import time

from openbell.errors import FeedNotFound
from openbell.memory import runtime
from openbell.memory.generation import Generation
from openbell.memory.locks import is_held
from openbell.memory.names import SUPERVISOR_LOCK

_PATIENCE_S = 1.0


def running() -> list[str]:
    """Return the names of this user's running feeds, sorted.

    Raises
    ------
    FeedError
        The runtime directory cannot be trusted.
    """
    base = runtime.root()
    try:
        runtime.check_private(base)
        entries = list(base.iterdir())
    except FileNotFoundError:
        return []
    return sorted(entry.name for entry in entries if entry.is_dir() and is_held(entry / SUPERVISOR_LOCK))


def find(feed: str, patience_s: float = _PATIENCE_S) -> Generation:
    """Map the control segment of a running feed, read-only.

    A feed that is just starting, or restarting, is given `patience_s` seconds.

    Raises
    ------
    FeedNotFound
        No feed of this name is running; the message lists those that are.
    LayoutMismatch
        Another layout version runs it.
    FeedError
        The runtime directory cannot be trusted.
    """
    directory = runtime.feed_directory(feed)
    deadline = time.monotonic() + patience_s
    while is_running(feed):
        number = runtime.read_current(directory)
        if number is not None:
            generation = Generation(directory, number)
            try:
                generation.open_control()
                if generation.segments["control"].live:
                    return generation
            except FeedNotFound:
                # The generation we read of is over by now; look which one is next.
                generation.close()
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    raise FeedNotFound(_not_found(feed))


def is_running(feed: str) -> bool:
    """Say whether a live supervisor runs `feed`.

    Raises
    ------
    FeedError
        The runtime directory cannot be trusted.
    """
    directory = runtime.feed_directory(feed)
    try:
        runtime.check_private(directory.parent)
        runtime.check_private(directory)
    except FileNotFoundError:
        return False
    return is_held(directory / SUPERVISOR_LOCK)


def _not_found(feed: str) -> str:
    names = running()
    if feed in names:
        return f"feed {feed!r} is starting or stopping; try again in a moment"
    if not names:
        return f"no feed {feed!r} is running in {runtime.root()}, nor any other; start one: openbell run feed.toml"
    return f"no feed {feed!r} is running in {runtime.root()}; running: {', '.join(names)}"

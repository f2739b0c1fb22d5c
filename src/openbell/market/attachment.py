"""Staying attached to a feed: which of its generations is read now, and what happens once that is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from openbell.errors import FeedError, FeedGone, FeedNotFound
from openbell.market.session import VANISHING_S, Session

LOOK_S = 0.02
"""How often a feed that does not run is looked for by who waits for it."""

Result = TypeVar("Result")


def find(feed: str, wait_s: float) -> Session:
    """Map what runs of a feed, and wait up to `wait_s` seconds for it to start.

    Raises
    ------
    FeedNotFound, LayoutMismatch, FeedError
        As `openbell.attach`.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return Session.open(feed)
        except FeedNotFound:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        time.sleep(min(LOOK_S, left))


class Attachment:
    """The way from a market to the present generation of its feed.

    Parameters
    ----------
    feed : str
        Its name.
    reattach : bool
        Whether to go on with the next generation, once there is one.
    wait_s : float
        How long `session` waits for it.

    Raises
    ------
    FeedNotFound, LayoutMismatch, FeedError
        As `openbell.attach`.
    """

    def __init__(self, feed: str, reattach: bool, wait_s: float) -> None:
        self.feed = feed
        self.reattach = reattach
        self.wait_s = wait_s
        self._lock = threading.Lock()
        self._session: Session | None = find(feed, wait_s)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session is None

    def session(self, wait_s: float | None = None) -> Session:
        """Return the generation that runs; keep it for the length of one call only.

        Parameters
        ----------
        wait_s : float, optional
            How long to wait for the feed to be started again; by default what was said when it was attached, and a
            moment for one that is just starting.

        Raises
        ------
        FeedGone
            The feed does not run any more, and is not to be attached again, or was not started again in time.
        LayoutMismatch, FeedError
            It was started again by another version of OpenBell, or cannot be read any more; or this is closed.
        """
        session = self._session
        if session is not None and session.alive:
            return session
        if wait_s is None:
            return self._renewed(self.wait_s, VANISHING_S)
        return self._renewed(wait_s, 0.0)

    def _renewed(self, wait_s: float, patience_s: float) -> Session:
        deadline = time.monotonic() + wait_s
        while True:
            session = self._session
            if session is None:
                raise FeedError(f"this market of feed {self.feed!r} is closed; attach again")
            if session.alive:
                return session
            if not self.reattach:
                raise FeedGone(f"feed {self.feed!r} was stopped, killed or restarted; attach again")
            left = deadline - time.monotonic()
            try:
                found = Session.open(self.feed, patience_s)
            except FeedNotFound as error:
                if left <= 0:
                    raise FeedGone(f"{error}. This market looks for it again with every call") from error
            else:
                self._replace(session, found)
                continue
            time.sleep(min(LOOK_S, left))

    def _replace(self, old: Session, new: Session) -> None:
        with self._lock:
            # Another thread may have been quicker, or closed this: then `new` is forgotten, which unmaps it.
            if self._session is old:
                self._session = new

    def read(self, look: Callable[[Session], Result]) -> Result:
        """Return ``look(session)``; once more, if the feed was restarted while it looked.

        Raises
        ------
        FeedGone, FeedError
            As `session`.
        """
        while True:
            session = self.session()
            try:
                return look(session)
            except FeedNotFound:
                # It wanted to map one more segment, and that is not there any more. Files go after they were marked.
                if session.alive:
                    raise

    @property
    def alive(self) -> bool:
        """Whether there is something to read now; does not raise."""
        session = self._session
        if session is None or session.alive:
            return session is not None
        if not self.reattach:
            return False
        try:
            self.session(0.0)
        except FeedError:
            # Gone, starting, or of another version: not to be read now.
            return False
        return True

    def close(self) -> None:
        """Forget the feed. May be called again."""
        with self._lock:
            self._session = None

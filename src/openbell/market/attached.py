"""A feed that is attached to, whatever is read of it: its name, its runs, its state, its subscriptions, its end."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from openbell.market.attachment import Attachment
from openbell.market.columns import Columns
from openbell.market.session import Session
from openbell.market.waiting import Waiters
from openbell.memory.segment import Kind
from openbell.monitor.history import History, Life
from openbell.monitor.status import Status, read_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openbell.control.client import FeedControl, Subscribed
    from openbell.control.protocol import Change


class Attached(Columns):
    """What a `Market` is besides its prices.

    Parameters
    ----------
    attachment : Attachment
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._waiters = Waiters(attachment)

    def _session(self) -> Session:
        """Return what is mapped of the feed's present generation, for the length of one call.

        Two calls of a market may get two different ones, which have nothing in common but the name of the feed.

        Raises
        ------
        FeedGone
            The feed does not run.
        """
        return self._attachment.session()

    @property
    def feed(self) -> str:
        """Name of the feed."""
        return self._attachment.feed

    @property
    def generation(self) -> int:
        """Number of the run of the feed that is read now: another one after each restart, and a greater one.

        Rows, live columns and ring positions belong to one generation.

        Raises
        ------
        FeedGone
            The feed does not run.
        """
        return self._session().number

    def __bool__(self) -> bool:
        # By its length, a market without symbols would be false, and ``if market:`` raise once the feed is gone.
        return True

    # ---- the feed itself ----

    @property
    def alive(self) -> bool:
        """Whether the feed runs now; does not raise. Of one that was killed it is known after about a second."""
        return self._attachment.alive

    def status(self) -> Status:
        """Return what the feed's processes, connections and rings say about themselves.

        Returns
        -------
        Status
            Of the feed. The trading status of the symbols is ``market.column("status")``, or in `snapshot`.

        Raises
        ------
        FeedGone
            The feed was stopped or restarted.
        """
        return self._attachment.read(
            lambda session: read_status(self.feed, session.generation, session.reader, session.directory.table.count)
        )

    def history(self, connection: int) -> list[Life]:
        """Return the last lives of a connection, oldest first: one a socket, with how and why it ended.

        Parameters
        ----------
        connection : int
            Its `ConnectionStatus.index`.

        Raises
        ------
        IndexError
            The feed has no such connection.
        FeedGone
            The feed was stopped or restarted.
        """
        return self._attachment.read(
            lambda session: list(History(session.generation.open("history", Kind.HISTORY), connection).lives())
        )

    # ---- waiting ----

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the market has news: until anything is applied to it that this thread was not told of.

        One that is told waits for what comes after; the first call of a thread returns at once if there is anything in
        the market at all. News is whatever the workers apply, of any symbol. A waiter costs nothing as long as nothing
        comes, and the writers at most one wake-up for each of its sleeps.

        Parameters
        ----------
        timeout : float, optional
            Seconds; by default there is no end to it. With 0 it only looks.

        Returns
        -------
        bool
            Whether there is news; False after the time. Attached with ``reattach=True``, a restart of the feed is news,
            and while the feed does not run there is none.

        Raises
        ------
        FeedGone
            The feed does not run, and is not to be attached again. It ends the wait.
        InvalidArgument
            `timeout` is no time.
        """
        return self._waiters.wait(timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Do the same for a task, without blocking its event loop.

        Each task has news of its own, as each thread has. All of them are waited for by one thread, which is there only
        while somebody waits.
        """
        return await self._waiters.wait_async(timeout)

    # ---- subscriptions ----

    def subscribe(self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = 15.0) -> list[Change]:
        """Subscribe more symbols, without touching the feed's connections, and wait for what comes of it.

        Parameters
        ----------
        symbols : iterable of str
            As the vendor spells them, behind the prefix of their source.
        source : int, optional
            Number of the source in the configuration, from 1, where prefixes do not say which one it is.
        timeout_s : float
            How long the vendor's answers are waited for.

        Returns
        -------
        list of Change
            One a symbol, in order: what became of it, and why.

        Raises
        ------
        FeedError
            Nothing was changed, or nobody knows: a receiver does not answer, or others' commands took all the time.
        """
        return self._feed_control.subscribe(symbols, source=source, timeout_s=timeout_s)

    def unsubscribe(
        self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = 15.0
    ) -> list[Change]:
        """Unsubscribe symbols, as `subscribe` does. Their rows stay as they are; what still comes is dropped."""
        return self._feed_control.unsubscribe(symbols, source=source, timeout_s=timeout_s)

    def subscriptions(self) -> list[Subscribed]:
        """Return how far all subscriptions are: granted, refused and why, silent, on which connection."""
        return self._feed_control.subscriptions()

    @property
    def _feed_control(self) -> FeedControl:
        return self._attachment.read(lambda session: session.feed_control)

    # ---- the end ----

    def close(self) -> None:
        """Detach. The feed does not notice.

        The memory is unmapped at once, unless live columns (numpy arrays) are still in use: it then stays mapped, and
        those arrays valid, until the last of them is gone. May be called again.
        """
        self._attachment.close()
        # What they have mapped goes with them.
        self._waiters = Waiters(self._attachment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process attaches for itself.
        from openbell.market.attach import attach

        attachment = self._attachment
        return partial(attach, self.feed, reattach=attachment.reattach, wait_s=attachment.wait_s), ()

    def __repr__(self) -> str:
        if self._attachment.closed:
            return f"<{type(self).__name__} of feed {self.feed!r}: closed>"
        return f"<{type(self).__name__} of feed {self.feed!r}: {'live' if self.alive else 'gone'}>"

"""What a connection is to be subscribed to, for as long as it is configured: whatever sockets come and go.

A :class:`Subscriber` knows what is wanted; each socket has a :class:`~openbell.receiver.session.Session` of its own,
which knows what was asked for and granted there. Where one socket takes over from another, each has its own for as long
as both live, and only the *current* one says in shared memory how far every symbol is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from openbell.config import Source, symbol_fault
from openbell.errors import SymbolTableFull
from openbell.monitor.subscriptions import SubscriptionState
from openbell.receiver.board import Board
from openbell.receiver.desired import Desired
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.redact import Redactor
from openbell.receiver.session import Session
from openbell.receiver.turns import Turns
from openbell.vendors.base import Vendor

log = logging.getLogger("openbell.receiver")


class SubscriberBlock(Protocol):
    """The words of a connection in the control segment that its subscriber writes."""

    symbols: int
    confirmed: int
    refused: int
    unconfirmed: int

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""

    def set_time(self, name: str) -> None:
        """Store the present time."""


class Outcome(Enum):
    """What a wish for a symbol came to at once."""

    CHANGED = "changed"
    ALREADY = "already"
    REFUSED = "refused"


class Reply(NamedTuple):
    """The answer to a wish for one symbol: its key, what it came to, and why not."""

    symbol: str
    key: str
    outcome: Outcome
    why: str = ""


class Refused(NamedTuple):
    """What the vendor said as it refused a symbol, and when, by the subscriber's clock."""

    code: int
    message: str
    at_s: float


class Subscriber:
    """What one connection of a source is to be subscribed to.

    Parameters
    ----------
    source : Source
        With the symbols of this connection.
    vendor : Vendor
        The dialect.
    block : SubscriberBlock
        Where symbols and answers are counted.
    limited : RateLimitedLog
        For what the vendor says.
    turns : Turns, optional
        When the connection may connect and ask, among those of its account.
    board : Board, optional
        Where its symbols have rows; without one, nothing is said about them.
    desired : Desired, optional
        What was subscribed and unsubscribed since the configuration was read, kept for the next receiver.
    clock : callable
        Monotonic seconds; for tests.

    Attributes
    ----------
    manner : Semantics
        How its vendor takes subscriptions.
    wanted : dict of str to str
        How every symbol is spelled that is wanted, by its key: as it arrives, without the source's prefix.
    withdrawn : int
        How often a symbol was unsubscribed: what comes after that has another rate.
    on_wanted : callable
        Called with the key, prefix included, of a symbol that is about to be asked for (again) while all is running:
        what it did meanwhile nobody wanted to know.
    """

    def __init__(
        self,
        source: Source,
        vendor: Vendor,
        block: SubscriberBlock,
        limited: RateLimitedLog,
        *,
        turns: Turns | None = None,
        board: Board | None = None,
        desired: Desired | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.vendor = vendor
        self.block = block
        self.limited = limited
        self.turns = turns or Turns()
        self.manner = vendor.manner
        self.where = vendor.display_url()
        self.redactor = Redactor(vendor)
        self.refusals: dict[str, Refused] = {}
        self._board = board
        self._desired = desired
        self._clock = clock
        self._sessions: list[Session] = []
        self._current: Session | None = None
        self._changed = asyncio.Event()
        self.wanted: dict[str, str] = {}
        for symbol in source.symbols:
            self.wanted.setdefault(vendor.symbol_key(symbol), symbol)
        self.unwanted: dict[str, str] = {}
        self.on_wanted: Callable[[bytes], None] = _nobody
        self.withdrawn = 0
        if desired is not None:
            self._restore(desired)
        self._requests_a_time = 0
        self._keys: dict[str, bytes] | None = None
        block.symbols = len(self.wanted)

    def _restore(self, desired: Desired) -> None:
        """Take up where a receiver left off that ran this connection before."""
        changes = desired.load()
        for symbol in changes.removed:
            key = self.vendor.symbol_key(symbol)
            self.wanted.pop(key, None)
            self.unwanted[key] = symbol
        for symbol in changes.added:
            self.wanted.setdefault(self.vendor.symbol_key(symbol), symbol)
        if self._board is None:
            return
        for key in self.wanted:
            past = self._board.read(key)
            if past.state is SubscriptionState.REFUSED:
                said = "as it said before"
                self.refusals[key] = Refused(past.code, said, self._clock() - self._board.age_s(key))
            self._board.unmute(key)
        for key in self.unwanted:
            self._board.mute(key)
            self._board.show(key, SubscriptionState.UNSUBSCRIBED)

    @property
    def requests_a_time(self) -> int:
        """Requests that are sent together, one after the other: one a kind of stream where the vendor wants that."""
        if not self._requests_a_time:
            one = next(iter(self.wanted.values()), None)
            if one is None:
                return 1
            self._requests_a_time = max(1, len(self.vendor.subscribe((one,))))
        return self._requests_a_time

    # ---- sessions ----

    def open(self, on_change: Callable[[], None], *, beside: bool = False) -> Session:
        """Return the session of a new socket, made before the socket is opened.

        Parameters
        ----------
        on_change : callable
            Called whenever the session's `granted`, `complete` or `all_sent` may have changed.
        beside : bool
            The socket is to replace the current one, which goes on until `switch`.
        """
        session = Session(self, on_change, self._clock)
        # Those whose socket never opened have no end that anybody could tell.
        self._sessions = [*(each for each in self._sessions if each.begun), session]
        if not beside or self._current is None:
            self._current = session
        now = self._clock()
        for key, symbol in self.wanted.items():
            refused = self.refusals.get(key)
            if refused is not None and now - refused.at_s < self.source.subscribing.refused_again_s:
                session.ledger.hold(key, symbol, refused.code)
            else:
                session.ledger.want(key, symbol)
        self.flush(session, 0)
        return session

    def switch(self, session: Session) -> None:
        """Have another session say how far every symbol is, from now on."""
        self._current = session
        for key in self.wanted:
            self._show(key, session.ledger.state(key), session.ledger.code(key))
        self.flush(session, 0)

    def closed(self, session: Session) -> None:
        """Forget a session whose socket has ended."""
        if session in self._sessions:
            self._sessions.remove(session)
        if session is self._current:
            self._current = None
            if (other := next((each for each in self._sessions if each.begun), None)) is not None:
                self.switch(other)
                return
            for key in self.wanted:
                if session.ledger.state(key) is not SubscriptionState.REFUSED:
                    self._show(key, SubscriptionState.WANTED)
            self.block.confirmed = self.block.unconfirmed = 0
        self._wake()

    @property
    def session(self) -> Session | None:
        """The current session, if there is a socket."""
        return self._current

    # ---- what is wanted ----

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The symbols that are wanted, as they are spelled, each with its key in the symbol table."""
        if self._keys is None:
            prefix = self.source.prefix
            self._keys = {symbol: (prefix + key).encode() for key, symbol in self.wanted.items()}
        return self._keys

    def state(self, key: str) -> SubscriptionState:
        """Return how far a symbol is."""
        if key not in self.wanted:
            return SubscriptionState.UNSUBSCRIBED if key in self.unwanted else SubscriptionState.NONE
        return SubscriptionState.WANTED if self._current is None else self._current.ledger.state(key)

    def knows(self, symbol: str) -> bool:
        """Return whether a symbol is wanted here, or was."""
        key = self._known(symbol)
        return key in self.wanted or key in self.unwanted

    def why_refused(self, key: str) -> str:
        """Say why the vendor refused a symbol, in its words and ours."""
        refused = self.refusals.get(key)
        if refused is None:
            return "the vendor refused it"
        code = f" {refused.code}" if refused.code else ""
        meaning = self.vendor.explain(refused.code or None)
        return f"the vendor's error{code}: {refused.message}{f': {meaning}' if meaning else ''}"

    def why_in_vain(self, key: str) -> str:
        """Say why a symbol was asked for in vain."""
        code = 0 if self._current is None else self._current.ledger.code(key)
        said = f"put it off with error {code}" if code else "did not answer"
        return f"the vendor {said}, however often it was asked"

    def subscribe(self, symbols: Sequence[str]) -> list[Reply]:
        """Want more symbols. They are asked for as soon as the vendor's rules allow.

        Parameters
        ----------
        symbols : sequence of str
            As the vendor spells them, without the source's prefix.

        Returns
        -------
        list of Reply
            One a symbol, in order. CHANGED: it is asked for (again, if it was refused or in vain before). ALREADY: it
            was wanted before. REFUSED: it cannot be asked for, and why.
        """
        replies = []
        for symbol in symbols:
            key, fault = self._checked(symbol)
            if fault is None and key in self.wanted and self.state(key) not in _GIVEN_UP:
                replies.append(Reply(symbol, key, Outcome.ALREADY))
                continue
            if fault is None and key not in self.wanted:
                fault = self._no_room()
            if fault is None and self._board is not None:
                try:
                    self._board.enter(key)
                except SymbolTableFull as error:
                    fault = str(error)
            if fault is not None:
                replies.append(Reply(symbol, key, Outcome.REFUSED, fault))
                continue
            self.on_wanted((self.source.prefix + key).encode())
            self.wanted[key] = self.wanted.get(key, symbol)
            self.unwanted.pop(key, None)
            self.refusals.pop(key, None)
            if self._board is not None:
                self._board.unmute(key)
            for session in self._sessions:
                session.ledger.want(key, symbol)
            self._show(key, self.state(key))
            replies.append(Reply(symbol, key, Outcome.CHANGED))
        self._after_change()
        return replies

    def unsubscribe(self, symbols: Sequence[str]) -> list[Reply]:
        """Want symbols no longer. What still comes of them is dropped and counted from now on.

        Returns
        -------
        list of Reply
            One a symbol, in order: CHANGED, or ALREADY if it was not wanted anyway.
        """
        replies = []
        for symbol in symbols:
            key = self._known(symbol)
            # Of a whole market, what nobody listed comes, too.
            comes = self.source.open and key not in self.unwanted and self._board is not None and self._board.has(key)
            if key not in self.wanted and not comes:
                replies.append(Reply(symbol, key, Outcome.ALREADY))
                continue
            self.unwanted[key] = self.wanted.pop(key, symbol)
            self.withdrawn += 1
            self.refusals.pop(key, None)
            if self._board is not None:
                self._board.mute(key)
            for session in self._sessions:
                session.ledger.drop(key)
            self._show(key, SubscriptionState.UNSUBSCRIBED)
            replies.append(Reply(symbol, key, Outcome.CHANGED))
        self._after_change()
        return replies

    def resubscribe(self, symbols: Iterable[str]) -> None:
        """Ask once more for symbols that should tick and do not: alone where requests add, else with the whole list.

        Parameters
        ----------
        symbols : iterable of str
            Keys or spellings; what is not wanted, or refused, is left out.
        """
        known = dict.fromkeys(self._known(symbol) for symbol in symbols)
        keys = [key for key in known if key in self.wanted and self.state(key) not in _NOT_AGAIN]
        if keys and self._current is not None:
            self._current.ledger.again(keys)
            self._current.wake()

    async def settled(self, keys: Collection[str], timeout_s: float) -> bool:
        """Wait until it is known what became of symbols; return whether it is.

        It is not after `timeout_s`, or if there is no socket.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while keys := [key for key in keys if not self.is_settled(key)]:
                    if self._current is None or not self._current.begun:
                        return False
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def is_settled(self, key: str) -> bool:
        """Return whether it is known what became of the wish for a symbol."""
        session = self._current
        if key not in self.wanted:
            # Where there is no socket, there is nothing to cancel.
            return session is None or not session.ledger.leaves(key)
        state = self.state(key)
        if state is SubscriptionState.ASKED:
            return not self.manner.acknowledges
        return state in _SETTLED

    # ---- called by sessions ----

    def on_state(self, session: Session, key: str, state: SubscriptionState, code: int) -> None:
        """Say how far a symbol is, if the session is the one that says so."""
        if session is self._current:
            self._show(key, state, code)

    def note_refusal(self, key: str, code: int, message: str) -> None:
        """Remember that the vendor refused a symbol: it is not asked for again by itself for a while."""
        self.refusals[key] = Refused(code, message, self._clock())

    def flush(self, session: Session, retries: int) -> None:
        """Bring the counters up to date, and wake whoever waits."""
        if retries:
            self.block.add("retries", retries)
        if session is self._current:
            counts = session.ledger.counts
            self.block.confirmed = counts[SubscriptionState.CONFIRMED]
            self.block.refused = counts[SubscriptionState.REFUSED]
            self.block.unconfirmed = counts[SubscriptionState.UNCONFIRMED]
        self._wake()

    # ---- small change ----

    def _known(self, symbol: str) -> str:
        """Return the key of a symbol, however it is spelled."""
        return symbol if symbol in self.wanted else self.vendor.symbol_key(symbol)

    def _checked(self, symbol: str) -> tuple[str, str | None]:
        """Return the key of a symbol, and why it cannot be one."""
        if fault := symbol_fault(symbol):
            return symbol, f"{symbol!r} {fault}"
        if symbol in self.wanted:
            return symbol, None
        if self.source.universe.faulty != "ask" and (fault := self.vendor.symbol_fault(symbol)):
            return symbol, fault
        key = self.vendor.symbol_key(symbol)
        if fault := symbol_fault(key, self.source.prefix):
            return key, f"{symbol!r} arrives as {key!r}, which {fault}"
        if self.manner.fixed and key not in self.wanted:
            return key, "what this vendor sends is part of the address; put it into the configuration, and restart"
        return key, None

    def _no_room(self) -> str | None:
        limit = self.manner.limit
        if limit is None or len(self.wanted) < limit:
            return None
        full = f"the connection has {len(self.wanted):,} symbols, and takes {limit:,}"
        return f"{full}; raise source.connections, and restart the feed"

    def _after_change(self) -> None:
        self._keys = None
        self.block.symbols = len(self.wanted)
        if self._desired is not None:
            configured = dict.fromkeys(self.vendor.symbol_key(symbol) for symbol in self.source.symbols)
            self._desired.save(
                added=[symbol for key, symbol in self.wanted.items() if key not in configured],
                removed=list(self.unwanted.values()),
            )
        for session in self._sessions:
            session.wake()
        if self._current is not None:
            self.flush(self._current, 0)

    def _show(self, key: str, state: SubscriptionState, code: int = 0) -> None:
        if self._board is not None:
            self._board.show(key, state, code)

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


def _nobody(_: bytes) -> None:
    """Tell nobody."""


_GIVEN_UP = frozenset({SubscriptionState.REFUSED, SubscriptionState.UNCONFIRMED})
_NOT_AGAIN = frozenset({SubscriptionState.REFUSED, SubscriptionState.WANTED, SubscriptionState.ASKED})
_SETTLED = frozenset({SubscriptionState.CONFIRMED, SubscriptionState.REFUSED, SubscriptionState.UNCONFIRMED})

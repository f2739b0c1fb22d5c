"""What one socket is wanted to have, was asked for, and has: the books of a session, without a socket or a clock.

Everything is asked for in *chunks* of symbols. A chunk that was not answered is asked for again, later each time; one
that was refused without a word about which of its symbols is at fault is asked for again in halves, until the fault
has a name; one symbol that was refused is refused. Where a request replaces those before it, it carries what was
granted and one chunk more, and nothing else is under way meanwhile. Nor is it where answers do not say which request
they are about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, NamedTuple

from openbell.config.subscribing import Subscribing
from openbell.monitor.subscriptions import SubscriptionState
from openbell.vendors.base import Ack, Refusal, Vendor
from openbell.vendors.semantics import Request

SPLITS_MAX: Final = 256
"""Refused chunks of a socket that are asked for in halves: a vendor that refuses everything is not asked for ever."""
_LATE_MAX: Final = 1024

_STANDING: Final = frozenset({SubscriptionState.CONFIRMED, SubscriptionState.UNCONFIRMED})


class Answer(Enum):
    """What became of an answer."""

    GRANTED = "granted"
    REFUSED = "refused"
    AGAIN = "asked again later"
    HALVES = "asked again in halves"
    REST = "the others are asked again"
    IN_VAIN = "given up for now"
    LATE = "too late to matter"
    NOBODY = "belongs to no request"


class Verdict(NamedTuple):
    """What an answer meant, and for whom."""

    answer: Answer
    symbols: tuple[str, ...] = ()


class _Purpose(Enum):
    ASK = "ask"
    MARKET = "market"
    CANCEL = "cancel"


@dataclass(slots=True)
class _Entry:
    """One symbol that is wanted."""

    spelling: str
    state: SubscriptionState = SubscriptionState.WANTED
    code: int = 0


@dataclass(slots=True)
class _Chunk:
    """Symbols that are asked for together."""

    keys: tuple[str, ...]
    attempt: int = 0
    due_s: float = 0.0
    purpose: _Purpose = _Purpose.ASK
    # How they are spelled, of those that are cancelled: nobody else remembers.
    spelled: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """A chunk under way: one request or more, all of which must be granted."""

    chunk: _Chunk
    left: int
    # Where requests replace one another: all keys that these requests name.
    listed: tuple[str, ...] = ()
    over: bool = False


@dataclass(slots=True)
class _Open:
    """A request that was sent."""

    request: Request
    run: _Run
    asked_s: float
    granted: set[str] = field(default_factory=set)


class Ledger:
    """The books of one session.

    Parameters
    ----------
    vendor : Vendor
        Makes the requests.
    asked : Subscribing
        Time-outs and retries.
    on_state : callable
        Called with a key, its state and the vendor's code, whenever one changes.

    Attributes
    ----------
    retries : int
        Requests that were asked again.

    Notes
    -----
    Symbols go by their keys, as they arrive; requests are made of their spelling, as configured. Times are seconds of
    the caller's monotonic clock.
    """

    def __init__(
        self, vendor: Vendor, asked: Subscribing, on_state: Callable[[str, SubscriptionState, int], None]
    ) -> None:
        self._vendor = vendor
        self._manner = vendor.manner
        self._asked = asked
        self._on_state = on_state
        self._entries: dict[str, _Entry] = {}
        self._counts = dict.fromkeys(SubscriptionState, 0)
        self._fresh: dict[str, None] = {}
        self._cancelled: dict[str, _Entry] = {}
        self._leaving: set[str] = set()
        self._chunks: list[_Chunk] = []
        self._dirty = False
        self._open: list[_Open] = []
        self._late: deque[_Open] = deque(maxlen=_LATE_MAX)
        self._unsent: dict[int, _Run] = {}
        self._covered: dict[str, None] = {}
        self._again: set[str] = set()
        self._market = SubscriptionState.NONE
        self._standing = False
        self._splits_left = SPLITS_MAX
        self.retries = 0
        if vendor.source.open:
            self._market = SubscriptionState.WANTED
            self._chunks.append(_Chunk((), purpose=_Purpose.MARKET))

    # ---- what is wanted ----

    def want(self, key: str, spelling: str) -> None:
        """Want a symbol from now on; one that was refused, or in vain, is asked for once more."""
        entry = self._entries.get(key)
        if entry is None:
            self._leaving.discard(key)
            if (entry := self._cancelled.pop(key, None)) is not None:
                # Its cancellation was not sent yet: it has what is wanted.
                self._enter(key, entry)
                return
            self._enter(key, _Entry(spelling))
        elif entry.state in (SubscriptionState.CONFIRMED, SubscriptionState.ASKED, SubscriptionState.WANTED):
            return
        else:
            self._set(key, SubscriptionState.WANTED)
        self._fresh[key] = None

    def hold(self, key: str, spelling: str, code: int) -> None:
        """Want a symbol, and do not ask for it: it was refused only lately."""
        self._enter(key, _Entry(spelling, SubscriptionState.REFUSED, code))

    def drop(self, key: str) -> None:
        """Want a symbol no longer."""
        entry = self._entries.pop(key, None)
        self._fresh.pop(key, None)
        self._covered.pop(key, None)
        if entry is not None:
            self._counts[entry.state] -= 1
        if entry is None or entry.state not in (*_STANDING, SubscriptionState.ASKED):
            return
        if not self._manner.adds:
            self._dirty = True
            self._leaving.add(key)
        elif self._manner.cancels == "symbols":
            self._cancelled[key] = entry
            self._leaving.add(key)

    def again(self, keys: Iterable[str]) -> None:
        """Ask once more for symbols, whatever was said about them."""
        for key in keys:
            if key in self._entries:
                self._set(key, SubscriptionState.WANTED)
                self._fresh[key] = None
                self._again.add(key)

    # ---- what can be seen ----

    @property
    def counts(self) -> Mapping[SubscriptionState, int]:
        """How many of the wanted symbols are in each state."""
        return self._counts

    def state(self, key: str) -> SubscriptionState:
        """Return how far a symbol is: NONE if it is not wanted."""
        entry = self._entries.get(key)
        return SubscriptionState.NONE if entry is None else entry.state

    def code(self, key: str) -> int:
        """Return the vendor's error code, where it refused a symbol; else 0."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.code

    def leaves(self, key: str) -> bool:
        """Return whether a symbol that is not wanted any more is not yet known to be cancelled."""
        return key in self._leaving

    @property
    def all_sent(self) -> bool:
        """Whether everything that is wanted was asked for, or cannot be had."""
        wanted = any(chunk.attempt == 0 for chunk in self._chunks)
        return not (self._fresh or wanted or self._unsent or self._dirty or self._cancelled)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be asked or answered."""
        return self.all_sent and not self._chunks and not any(not each.run.over for each in self._open)

    @property
    def granted(self) -> bool:
        """Whether everything is settled, and the vendor granted something of it, or answers nothing."""
        if not self.settled:
            return False
        if not self._manner.acknowledges or not (self._entries or self._vendor.source.open):
            return True
        return self._market is SubscriptionState.CONFIRMED or self._counts[SubscriptionState.CONFIRMED] > 0

    @property
    def in_vain(self) -> bool:
        """Whether nothing was granted, and that may be different on another connection: no answer came, or too soon."""
        if not self.settled or self.granted:
            return False
        return self._market is SubscriptionState.UNCONFIRMED or self._counts[SubscriptionState.UNCONFIRMED] > 0

    @property
    def complete(self) -> bool:
        """Whether everything that is wanted is granted, or asked for where nobody answers."""
        good = SubscriptionState.CONFIRMED if self._manner.acknowledges else SubscriptionState.ASKED
        whole = self._market in (SubscriptionState.NONE, SubscriptionState.CONFIRMED, good)
        # A symbol that comes with the whole market, or by the address, is granted though nobody answers.
        good_ones = {good, SubscriptionState.CONFIRMED}
        return self.settled and whole and sum(self._counts[state] for state in good_ones) == len(self._entries)

    # ---- asking ----

    def due(self) -> float | None:
        """Return from when on there is something to send; None: nothing, until something happens."""
        if self._unsent or self._must_wait():
            return None
        if self._fresh or self._cancelled or self._dirty:
            return 0.0
        return min((chunk.due_s for chunk in self._chunks), default=None)

    def _must_wait(self) -> bool:
        """Return whether an answer has to come first.

        A list that replaces another goes when it is known what became of that; and where answers have no number, one
        that got lost would move all behind it to the wrong request.
        """
        return any(not each.run.over and (not self._manner.adds or each.request.number is None) for each in self._open)

    def take(self, now: float) -> list[Request]:
        """Return the requests to be sent next, in order, each followed by a call of `sent`; empty: there are none."""
        return self._take_adding(now) if self._manner.adds else self._take_replacing(now)

    def _take_adding(self, now: float) -> list[Request]:
        if chunk := self._due_chunk(now, _Purpose.MARKET):
            return self._run(chunk, self._vendor.subscribe(()))
        if self._cancelled:
            keys = self._batch(self._cancelled)
            spelled = tuple(self._cancelled.pop(key).spelling for key in keys)
            chunk = _Chunk(keys, purpose=_Purpose.CANCEL, spelled=spelled)
            return self._run(chunk, self._vendor.unsubscribe(spelled))
        if self._fresh:
            keys = self._batch(self._fresh)
            for key in keys:
                del self._fresh[key]
            chunk = _Chunk(keys)
        elif (found := self._due_chunk(now)) is None:
            return []
        else:
            chunk = found
        if chunk.purpose is _Purpose.CANCEL:
            # What is wanted again by now must not be taken away.
            left = {key: name for key, name in zip(chunk.keys, chunk.spelled, strict=True) if key not in self._entries}
            chunk = replace(chunk, keys=tuple(left), spelled=tuple(left.values()))
            return self._run(chunk, self._vendor.unsubscribe(chunk.spelled) if left else [])
        chunk.keys = tuple(key for key in chunk.keys if key in self._entries)
        return self._run(chunk, self._vendor.subscribe(self._spelled(chunk.keys)) if chunk.keys else [])

    def _take_replacing(self, now: float) -> list[Request]:
        if chunk := self._due_chunk(now, _Purpose.MARKET):
            return self._run(chunk, self._vendor.subscribe(()))
        if self._fresh:
            chunk = _Chunk(tuple(self._fresh))
            self._fresh.clear()
        elif self._dirty:
            chunk = _Chunk(())
        elif (found := self._due_chunk(now)) is None:
            return []
        else:
            chunk = found
        self._dirty = False
        chunk.purpose = _Purpose.ASK
        chunk.keys = tuple(key for key in chunk.keys if key in self._entries)
        more = set(chunk.keys)
        listed = tuple(key for key, entry in self._entries.items() if entry.state in _STANDING or key in more)
        if listed:
            return self._run(chunk, self._vendor.subscribe(self._spelled(listed)), listed)
        if self._standing and self._manner.cancels == "all":
            chunk.purpose = _Purpose.CANCEL
            return self._run(chunk, self._vendor.unsubscribe_all())
        # Nothing can be sent that says so: an empty list would be no list at all. What comes yet is dropped.
        self._leaving.clear()
        return []

    def _run(self, chunk: _Chunk, requests: list[Request], listed: tuple[str, ...] = ()) -> list[Request]:
        """Put requests under way."""
        run = _Run(chunk, len(requests), listed)
        if chunk.attempt or not self._again.isdisjoint(chunk.keys):
            self.retries += len(requests)
            self._again.difference_update(chunk.keys)
        named = {self._vendor.symbol_key(symbol) for request in requests for symbol in request.symbols}
        if chunk.purpose is _Purpose.ASK:
            for key in chunk.keys:
                if key in named:
                    self._set(key, SubscriptionState.ASKED)
                else:
                    self._cover(key)
        if not requests:
            if chunk.purpose is _Purpose.MARKET:
                # Nothing is to be asked for: the whole market comes by itself.
                self._grant(run)
            elif chunk.purpose is _Purpose.CANCEL:
                self._leaving.difference_update(chunk.keys)
            return []
        if chunk.purpose is _Purpose.MARKET:
            self._market = SubscriptionState.ASKED
        for request in requests:
            self._unsent[id(request)] = run
        return requests

    def _cover(self, key: str) -> None:
        """Deal with a symbol that no request names: it comes with the whole market, or by the address."""
        if self._entries[key].state is SubscriptionState.REFUSED:
            # What the address asks for may be refused before the connection has got to its requests.
            return
        if self._market in (SubscriptionState.WANTED, SubscriptionState.ASKED):
            self._covered[key] = None
            self._set(key, SubscriptionState.ASKED)
        else:
            self._set(key, SubscriptionState.CONFIRMED)

    def sent(self, request: Request, now: float) -> None:
        """Note that a request of `take` was sent."""
        run = self._unsent.pop(id(request))
        self._standing = True
        if self._manner.acknowledges:
            self._open.append(_Open(request, run, now))
            return
        run.left -= 1
        if not run.left and run.chunk.purpose is _Purpose.CANCEL:
            self._leaving.difference_update(run.chunk.keys or tuple(self._leaving))
        elif not run.left and run.listed:
            self._leaving.intersection_update(run.listed)

    # ---- answers ----

    def acked(self, ack: Ack, now: float) -> Verdict:
        """Take in that the vendor granted something."""
        found = self._find(ack.request, ack.symbols)
        if found is None:
            late = self._find_late(ack.request)
            if late is None:
                return Verdict(Answer.NOBODY)
            self._late.remove(late)
            # It answers after all. Where its chunk waits to be asked again, that is spared.
            late.run.left -= 1
            if late.run.left or late.run.chunk.purpose is not _Purpose.ASK:
                return Verdict(Answer.LATE, late.request.symbols)
            self._recall(late.run.chunk.keys)
            for key in late.run.chunk.keys:
                if self.state(key) not in (SubscriptionState.NONE, SubscriptionState.CONFIRMED):
                    self._set(key, SubscriptionState.CONFIRMED)
            return Verdict(Answer.LATE, late.request.symbols)
        if ack.symbols is not None and found.request.symbols:
            named = {self._key(symbol) for symbol in ack.symbols}
            found.granted |= named
            if missing := {self._vendor.symbol_key(symbol) for symbol in found.request.symbols} - found.granted:
                if found.run.left == 1 and found.run.chunk.purpose is _Purpose.ASK:
                    for key in found.granted - missing:
                        if key in self._entries:
                            self._set(key, SubscriptionState.CONFIRMED)
                return Verdict(Answer.GRANTED, ack.symbols)
        self._open.remove(found)
        found.run.left -= 1
        if not found.run.left and not found.run.over:
            self._grant(found.run)
        return Verdict(Answer.GRANTED, found.request.symbols)

    def _grant(self, run: _Run) -> None:
        run.over = True
        match run.chunk.purpose:
            case _Purpose.MARKET:
                self._market = SubscriptionState.CONFIRMED
                self._settle_covered(SubscriptionState.CONFIRMED)
            case _Purpose.CANCEL:
                self._leaving.difference_update(run.chunk.keys or tuple(self._leaving))
                self._standing = self._manner.adds
            case _Purpose.ASK:
                for key in run.chunk.keys:
                    if key in self._entries:
                        self._set(key, SubscriptionState.CONFIRMED)
                if not self._manner.adds:
                    # What had been left out of this list is gone; what was dropped meanwhile is in it yet.
                    self._leaving.intersection_update(run.listed)

    def refused(self, refusal: Refusal, now: float) -> Verdict:
        """Take in that the vendor refused something."""
        found = self._find(refusal.request, refusal.symbols)
        if found is None:
            named = {self._key(symbol) for symbol in refusal.symbols or ()} & set(self._entries)
            if not self._manner.acknowledges and named:
                # No request waits for an answer, but an error that names its symbols needs none.
                for key in named:
                    self._set(key, SubscriptionState.REFUSED, refusal.code or 0)
                return Verdict(Answer.REFUSED, self._spelled(named))
            return Verdict(Answer.LATE if self._find_late(refusal.request) else Answer.NOBODY)
        self._open.remove(found)
        run = found.run
        if run.over:
            return Verdict(Answer.LATE)
        run.over = True
        chunk, code = run.chunk, refusal.code or 0
        if refusal.passing:
            if chunk.attempt < self._asked.retries:
                self._later(chunk, now)
                return Verdict(Answer.AGAIN, found.request.symbols)
            # What may be granted later is not refused: the next connection asks for it again, however soon.
            self._give_up(run, SubscriptionState.UNCONFIRMED, code)
            return Verdict(Answer.IN_VAIN, found.request.symbols)
        if chunk.purpose is not _Purpose.ASK:
            self._give_up(run, SubscriptionState.REFUSED, code)
            return Verdict(Answer.REFUSED, found.request.symbols)
        keys = tuple(key for key in chunk.keys if key in self._entries)
        at_fault = {self._key(symbol) for symbol in refusal.symbols or ()} & set(run.listed or keys)
        if at_fault:
            for key in at_fault & set(self._entries):
                self._set(key, SubscriptionState.REFUSED, code)
            rest = tuple(key for key in keys if key not in at_fault)
            self._chunks.append(_Chunk(rest, due_s=now))
            return Verdict(Answer.REST if rest else Answer.REFUSED, self._spelled(at_fault))
        if len(keys) > 1 and not refusal.final and self._splits_left:
            self._splits_left -= 1
            middle = len(keys) // 2
            self._chunks += [_Chunk(part, due_s=now) for part in (keys[:middle], keys[middle:])]
            return Verdict(Answer.HALVES, self._spelled(keys))
        self._give_up(run, SubscriptionState.REFUSED, code)
        if not self._manner.adds and not keys:
            # A list of what was granted before is refused: that is no symbol's fault, and may pass.
            return self._list_refused(run, now, code)
        return Verdict(Answer.REFUSED, self._spelled(keys))

    def _list_refused(self, run: _Run, now: float, code: int) -> Verdict:
        if run.chunk.attempt < self._asked.retries:
            self._later(run.chunk, now)
            return Verdict(Answer.AGAIN, self._spelled(run.listed))
        for key in run.listed:
            if key in self._entries:
                self._set(key, SubscriptionState.REFUSED, code)
        return Verdict(Answer.REFUSED, self._spelled(run.listed))

    def expire(self, now: float) -> list[Verdict]:
        """Deal with requests whose answer is overdue: each is asked again later, or given up."""
        found = []
        overdue = [each for each in self._open if each.asked_s + self._asked.ack_s <= now]
        for each in overdue:
            self._open.remove(each)
            if each.request.number is not None:
                self._late.append(each)
            run = each.run
            if run.over:
                continue
            run.over = True
            if run.chunk.attempt < self._asked.retries:
                self._later(run.chunk, now)
                found.append(Verdict(Answer.AGAIN, each.request.symbols))
            else:
                self._give_up(run, SubscriptionState.UNCONFIRMED, 0)
                found.append(Verdict(Answer.NOBODY, each.request.symbols))
        return found

    def next_expiry(self) -> float | None:
        """Return when an answer is overdue next."""
        return min((each.asked_s + self._asked.ack_s for each in self._open), default=None)

    def _later(self, chunk: _Chunk, now: float) -> None:
        pause = min(self._asked.retry_longest_s, self._asked.retry_s * 2.0 ** min(chunk.attempt, 32))
        self._chunks.append(replace(chunk, attempt=chunk.attempt + 1, due_s=now + pause))

    def _give_up(self, run: _Run, state: SubscriptionState, code: int) -> None:
        match run.chunk.purpose:
            case _Purpose.MARKET:
                self._market = state
                self._settle_covered(state, code)
            case _Purpose.CANCEL:
                self._leaving.difference_update(run.chunk.keys or tuple(self._leaving))
            case _Purpose.ASK:
                for key in run.chunk.keys:
                    if key in self._entries:
                        self._set(key, state, code)
                if not self._manner.adds and state is SubscriptionState.REFUSED and run.chunk.keys:
                    # Whether the list before this one still holds is not known: it is asked for, to be sure.
                    standing = any(entry.state in _STANDING for entry in self._entries.values())
                    self._dirty = self._dirty or (standing and not self._chunks)

    # ---- small change ----

    def _batch(self, keys: Iterable[str]) -> tuple[str, ...]:
        found = tuple(keys)
        return found[: self._manner.batch] if self._manner.batch else found

    def _due_chunk(self, now: float, purpose: _Purpose | None = None) -> _Chunk | None:
        for chunk in self._chunks:
            if chunk.due_s <= now and purpose in (None, chunk.purpose):
                self._chunks.remove(chunk)
                return chunk
        return None

    def _recall(self, keys: tuple[str, ...]) -> None:
        self._chunks = [chunk for chunk in self._chunks if chunk.keys != keys or not chunk.attempt]

    def _find(self, number: int | None, symbols: Sequence[str] | None) -> _Open | None:
        if number is not None:
            return next((each for each in self._open if each.request.number == number), None)
        if symbols:
            named = {self._key(symbol) for symbol in symbols}
            for each in self._open:
                if not named.isdisjoint(map(self._vendor.symbol_key, each.request.symbols)):
                    return each
            return None
        # Answers come in order, and an error that names nothing is about what was asked first.
        return self._open[0] if self._open else None

    def _find_late(self, number: int | None) -> _Open | None:
        return next((each for each in self._late if number is not None and each.request.number == number), None)

    def _key(self, symbol: str) -> str:
        """Return the key of a symbol that the vendor names, which may write it as it arrives or as it was asked for."""
        return symbol if symbol in self._entries else self._vendor.symbol_key(symbol)

    def _spelled(self, keys: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._entries[key].spelling for key in keys if key in self._entries)

    def _settle_covered(self, state: SubscriptionState, code: int = 0) -> None:
        for key in self._covered:
            self._set(key, state, code)
        self._covered.clear()

    def _enter(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._counts[entry.state] += 1
        self._on_state(key, entry.state, entry.code)

    def _set(self, key: str, state: SubscriptionState, code: int = 0) -> None:
        entry = self._entries[key]
        if (entry.state, entry.code) != (state, code):
            self._counts[entry.state] -= 1
            self._counts[state] += 1
            entry.state, entry.code = state, code
            self._on_state(key, state, code)

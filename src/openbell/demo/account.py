"""The account of a market with faults: what was sent, what was received, and whether the feed told what is missing.

The simulator's journal says, message by message, what every connection was sent. The feed's history says of every life
of its connections how many messages it received: that many of the first ones, for TCP keeps their order. From both
follows what a correct handler holds, what it counts, and what it lacks; and all that it lacks must lie in gaps that it
told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from openbell.demo.numbers import Hole, Numbers
from openbell.monitor.history import EndReason
from openbell.reasons import Reason
from openbell.simulator.faults.journal import CONTROL, WITHHELD, Entries, Sent, reason_of, refused
from openbell.simulator.faults.replay import Replay

_TOO_LARGE = refused(Reason.TOO_LARGE)


class Lived(Protocol):
    """What the account needs of a life; see `openbell.monitor.history.Life`. Times are CLOCK_MONOTONIC in ns."""

    @property
    def began_ns(self) -> int: ...

    @property
    def ended_ns(self) -> int | None: ...

    @property
    def messages(self) -> int: ...

    @property
    def local_port(self) -> int: ...

    @property
    def why(self) -> EndReason: ...


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval of which a feed told that something may be missing, ns since the epoch."""

    first_ns: int
    last_ns: int


@dataclass(slots=True)
class Settled:
    """The account of one connection, over all its lives.

    Attributes
    ----------
    sent, received : int
        Messages.
    withheld : int
        Events that were due while the vendor was mute.
    missing : int
        Events that it was sent, or that were withheld, and did not receive.
    untold : int
        Those of them that lie in no gap that was told.
    lives, gaps : int
    holes, numbers : int
        How often a vendor's numbers told the feed that something is missing, and how many they were.
    """

    label: str
    sent: int = 0
    received: int = 0
    withheld: int = 0
    missing: int = 0
    untold: int = 0
    lives: int = 0
    gaps: int = 0
    holes: int = 0
    numbers: int = 0


@dataclass(slots=True)
class Account:
    """The account of a feed.

    Attributes
    ----------
    connections : list of Settled
    received : list of ndarray of int64
        Entries of the journal in the order of arrival, those that came twice over two connections once.
    events : int
        Events among what was received, whatever became of them.
    reasons : Counter of Reason
        What must have been counted, exactly.
    problems : list of str
        What cannot be: more received than sent, a life that nobody served, a loss that nobody told.
    """

    connections: list[Settled] = field(default_factory=list)
    received: list[Entries] = field(default_factory=list)
    events: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def settle(
    journal: Sequence[Sent],
    lives: Sequence[tuple[str, Sequence[Lived]]],
    gaps: Sequence[Sequence[Gap]],
    clock_offset_ns: int,
    replay: Replay,
    on_the_way_ns: int,
    holes: Sequence[Sequence[Hole]],
) -> Account:
    """Bring what was sent and what was received together.

    Parameters
    ----------
    journal : sequence of Sent
    lives : sequence of (str, sequence of Lived)
        Of each connection, its name and its lives in order.
    gaps : sequence of sequence of Gap
        Of each connection, what it told.
    clock_offset_ns : int
        Epoch minus CLOCK_MONOTONIC.
    replay : Replay
        The market.
    on_the_way_ns : int
        How long a message may take from being sent to being read. What was on its way when its predecessor was read
        may be older than that moment, from which a gap counts.
    holes : sequence of sequence of Hole
        Of each connection, what the vendor's numbers told it.
    """
    account = Account()
    served: set[int] = set()
    for (label, its_lives), its_gaps, its_holes in zip(lives, gaps, holes, strict=True):
        settled = Settled(label, lives=len(its_lives), gaps=len(its_gaps), holes=len(its_holes))
        settled.numbers = sum(hole.count for hole in its_holes)
        numbers = Numbers(replay, its_holes)
        untold: list[Entries] = []
        before: Entries | None = None
        before_ended_ns: int | None = 0
        for life in its_lives:
            at = _served(journal, life, clock_offset_ns, served)
            if at is None:
                account.problems.append(f"{label}: nobody served the connection from port {life.local_port}")
                continue
            served.add(at)
            ended_ns = None if life.ended_ns is None else life.ended_ns + clock_offset_ns
            received = _received(journal[at], life, ended_ns, settled, its_gaps, untold, on_the_way_ns, account)
            overlapping = before is not None and (before_ended_ns is None or life.began_ns < before_ended_ns)
            if before is not None and overlapping:
                received = _once(before, received, replay, account)
            events = received[received != CONTROL]
            account.events += len(events)
            account.reasons.update(
                Reason(why) for why in map(reason_of, events[events < 0].tolist()) if why is not None
            )
            account.received.append(events[events >= 0])
            numbers.take(events[events >= 0])
            before, before_ended_ns = events[events >= 0], life.ended_ns
        settled.untold = sum(int((~numbers.told(each)).sum()) for each in untold)
        if settled.untold:
            account.problems.append(f"{label}: {settled.untold} events are missing, and no gap was told of them")
        account.problems += [f"{label}: {difference}" for difference in numbers.differences()]
        account.connections.append(settled)
    return account


def _served(journal: Sequence[Sent], life: Lived, clock_offset_ns: int, served: set[int]) -> int | None:
    """Return which of the simulator's connections a life was: by its port, which may have been used before."""
    began_ns = life.began_ns + clock_offset_ns
    candidates = [at for at, sent in enumerate(journal) if sent.port == life.local_port and at not in served]
    return min(candidates, key=lambda at: abs(journal[at].opened_ns - began_ns), default=None)


def _received(
    sent: Sent,
    life: Lived,
    ended_ns: int | None,
    settled: Settled,
    gaps: Sequence[Gap],
    untold: list[Entries],
    on_the_way_ns: int,
    account: Account,
) -> Entries:
    """Return what was received of what was sent, and note what was not, in `untold` what lies in no gap."""
    withheld = (sent.entries >= 0) & (sent.entries & WITHHELD != 0)
    if ended_ns is not None:
        # A vendor that is half open does not know that its client is gone, and that another connection has taken over.
        withheld &= sent.times_ns <= ended_ns
    (given,) = np.nonzero((sent.entries < 0) | (sent.entries & WITHHELD == 0))
    count = life.messages
    if life.why is EndReason.TOO_LARGE and count < len(given) and sent.entries[given[count]] == _TOO_LARGE:
        # Its head was enough to refuse it: what is not read to its end is no message yet, and counted all the same.
        count += 1
    if count > len(given):
        account.problems.append(
            f"{settled.label}: {count} messages received from port {sent.port}, and {len(given)} were sent"
        )
        count = len(given)
    received = np.zeros(len(sent.entries), dtype=np.bool_)
    received[given[:count]] = True
    missing = withheld.copy()
    missing[given[count:]] = sent.entries[given[count:]] >= 0
    settled.sent += len(given)
    settled.received += count
    settled.withheld += int(withheld.sum())
    settled.missing += int(missing.sum())
    told = np.zeros(len(sent.entries), dtype=np.bool_)
    for gap in gaps:
        told |= (sent.times_ns >= gap.first_ns - on_the_way_ns) & (sent.times_ns <= gap.last_ns)
    untold.append(sent.entries[missing & ~told])
    return sent.entries[received]


def _once(before: Entries, received: Entries, replay: Replay, account: Account) -> Entries:
    """Return what was received but for what the connection before it had brought already, which is counted."""
    is_event = received >= 0
    events = received[is_event]
    both = np.concatenate([before, events])
    # Kinds are numbered apart: a lane is a kind.
    key = replay.symbol(both) * 16 + ((both >> 40) & 0xF)
    number = replay.sequence(both)
    last: dict[int, int] = {}
    for which, at in zip(key[: len(before)].tolist(), number[: len(before)].tolist(), strict=True):
        last[which] = max(last.get(which, at), at)
    twice = np.array(
        [
            which in last and at <= last[which]
            for which, at in zip(key[len(before) :].tolist(), number[len(before) :].tolist(), strict=True)
        ],
        dtype=np.bool_,
    )
    account.reasons[Reason.IGNORED_TWICE] += int(twice.sum())
    account.events += int(twice.sum())
    keep = ~is_event
    keep[is_event] = ~twice
    return received[keep]

"""When a market opens, pauses and closes, as the moments at which that changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from openbell.config import Change
from openbell.record import MarketStatus

_MINUTE_NS: Final = 60 * 10**9


class Session(Struct, frozen=True, array_like=True):
    """One trading session; times are ns since the epoch.

    Attributes
    ----------
    date : int
        What it is called: ``yyyymmdd``.
    open_ns, close_ns : int
        First and last moment.
    break_ns, resume_ns : int or None
        Beginning and end of its lunch break; None: it has none.
    """

    date: int
    open_ns: int
    close_ns: int
    break_ns: int | None = None
    resume_ns: int | None = None


def changes(sessions: Iterable[Session], roll_minutes_before_open: int) -> tuple[Change, ...]:
    """Return the moments at which `sessions`, in order, change something.

    Parameters
    ----------
    sessions : iterable of Session
    roll_minutes_before_open : int
        A session begins (``PRE_OPEN``) so long before its open, but not before the one before it has closed.

    Returns
    -------
    tuple of Change
        In order, no two at one moment: where a close and an open fall together, as in a market that never closes, only
        the open is there.
    """
    at: dict[int, Change] = {}
    closed_ns = 0
    for session in sessions:
        roll_ns = max(session.open_ns - roll_minutes_before_open * _MINUTE_NS, closed_ns)
        moments = [(roll_ns, MarketStatus.PRE_OPEN), (session.open_ns, MarketStatus.OPEN)]
        if session.break_ns is not None and session.resume_ns is not None:
            moments += [(session.break_ns, MarketStatus.BREAK), (session.resume_ns, MarketStatus.OPEN)]
        moments.append((session.close_ns, MarketStatus.CLOSED))
        for moment, status in moments:
            at[moment] = Change(moment, session.date, int(status))
        closed_ns = session.close_ns
    return tuple(at.values())


def from_now_on(schedule: Sequence[Change], now_ns: int) -> tuple[Change, ...]:
    """Return the last change that is not after `now_ns`, which is what holds now, and all that come later."""
    passed = sum(change.at_ns <= now_ns for change in schedule)
    return tuple(schedule[max(0, passed - 1) :])

"""The subscriptions segment: for every row, whether its symbol is asked for, granted or refused, and where.

It has four words a row of the snapshot, holes between the workers' blocks included, so that a reader may take columns
of it as of the snapshot:

====  ====================================================================
word  contents
====  ====================================================================
0     state, the number of the connection << 8, flags << 16; stored last
1     when that changed (CLOCK_MONOTONIC in ns, 0: never)
2     the vendor's error code (signed), where it refused; else 0
3     free
====  ====================================================================

Each row is written by the receiver that runs its connection, and by nobody else. The words outlive a receiver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from openbell.core import words

ROW_BYTES: Final = 32
SILENT: Final = 1
"""Flag: granted, and yet nothing comes for it where something should."""

CONNECTION_AT: Final = 8
"""Bit of a row's first word at which the number of its connection begins, behind the state."""
STATE_AND_CONNECTION: Final = 0xFFFF
"""The bits of a row's first word that are state and connection."""

_STATE, _CONNECTION, _FLAGS = 0xFF, CONNECTION_AT, 16


class SubscriptionState(IntEnum):
    """How far the subscription of a symbol is."""

    NONE = 0
    WANTED = 1
    ASKED = 2
    CONFIRMED = 3
    REFUSED = 4
    UNCONFIRMED = 5
    UNSUBSCRIBED = 6

    @property
    def description(self) -> str:
        """A few words for people, without a full stop."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Final = {
    SubscriptionState.NONE: "not asked for",
    SubscriptionState.WANTED: "to be asked for as soon as that can be",
    SubscriptionState.ASKED: "asked for, and not yet answered",
    SubscriptionState.CONFIRMED: "granted",
    SubscriptionState.REFUSED: "refused by the vendor",
    SubscriptionState.UNCONFIRMED: "asked for in vain: no answer came, or to ask later",
    SubscriptionState.UNSUBSCRIBED: "not wanted any more",
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """One row as it was when it was read.

    Attributes
    ----------
    row : int
    state : SubscriptionState
    connection : int
        Number of the connection through all sources; meaningless if the state is NONE.
    silent : bool
        Whether nothing comes for it where something should.
    changed_ns : int
        When the state changed, CLOCK_MONOTONIC in ns.
    code : int
        The vendor's error code, where it refused; else 0.
    """

    row: int
    state: SubscriptionState
    connection: int
    silent: bool
    changed_ns: int
    code: int


def size(rows: int) -> int:
    """Return the bytes of the segment's body for so many rows."""
    return rows * ROW_BYTES


class Subscriptions:
    """The subscriptions of a feed.

    Parameters
    ----------
    body : memoryview
        Body of the subscriptions segment, borrowed for the life of this object; read-only is enough to read. A fresh
        one, all zeros, says that nothing is asked for.
    """

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self.rows = len(body) // ROW_BYTES

    def read(self, row: int) -> Subscription:
        """Return what row `row` says.

        Raises
        ------
        IndexError
            There is no such row.
        """
        at = self._at(row)
        word = words.load(self._body, at)
        return Subscription(
            row=row,
            state=SubscriptionState(word & _STATE),
            connection=word >> _CONNECTION & 0xFF,
            silent=bool(word >> _FLAGS & SILENT),
            changed_ns=words.load(self._body, at + 8),
            code=words.load_signed(self._body, at + 16),
        )

    def write(
        self, row: int, state: SubscriptionState, connection: int, *, code: int = 0, at_ns: int | None = None
    ) -> None:
        """Say how far the subscription of a row is; what was flagged is not any more."""
        at = self._at(row)
        words.store(self._body, at + 16, code)
        words.store(self._body, at + 8, words.monotonic_ns() if at_ns is None else at_ns)
        words.store(self._body, at, state | connection << _CONNECTION)

    def flag_silent(self, row: int, silent: bool) -> bool:
        """Flag a row as silent, or not; return whether that is news. Called by the receiver that writes the row."""
        at = self._at(row)
        word = words.load(self._body, at)
        flagged = word | SILENT << _FLAGS if silent else word & ~(SILENT << _FLAGS)
        if flagged == word:
            return False
        words.store(self._body, at, flagged)
        return True

    def items(self) -> Iterator[Subscription]:
        """Yield what all rows say whose state is not NONE."""
        for row in range(self.rows):
            if words.load(self._body, row * ROW_BYTES):
                found = self.read(row)
                if found.state is not SubscriptionState.NONE:
                    yield found

    def _at(self, row: int) -> int:
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        return row * ROW_BYTES

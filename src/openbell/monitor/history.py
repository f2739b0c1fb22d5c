"""The history segment: the last lives of every connection, in words that anybody may read.

A *life* is one socket: from the moment it was open until its end. Each connection has a part of its own, written by the
receiver that runs it and by nobody else: a line of 16 words with the number of its lives so far, then a ring of
`LIVES` lines, one a life. A line is:

====  =================================================================================
word  contents
====  =================================================================================
0     number of the life, from 1, stored last: 0 while the line is being written
1     when the socket was open (times are CLOCK_MONOTONIC in ns, 0: not, or not yet)
2     when everything asked for was granted, or data came
3     when it ended
4     when the connection was live again in a later life
5     messages that came, those about the connection included
6     records that were published
7     port at our end, by which the other side can be asked about it
8     why it ended (`EndReason`)
9     code of the CLOSE frame of the other side; 0: there was none
10    attempts to connect that failed before it
11    1 if its end was told as a gap
====  =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from openbell.core import words
from openbell.monitor.control import Block, Word

LIVES: Final = 128
"""Lives of a connection that are kept."""

_WORDS: Final = 16
_LINE: Final = _WORDS * 8
_PART: Final = _LINE * (1 + LIVES)


class EndReason(IntEnum):
    """Why a life of a connection ended."""

    OPEN = 0
    CLOSED = 1
    CUT = 2
    NO_PONG = 3
    SILENT = 4
    PROTOCOL = 5
    TOO_LARGE = 6
    STOPPED = 7
    REPLACED = 8
    RECEIVER_GONE = 9
    FAULT = 10

    @property
    def description(self) -> str:
        """A few words for people, without a full stop."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Final[dict[EndReason, str]] = {
    EndReason.OPEN: "open",
    EndReason.CLOSED: "closed by the other side",
    EndReason.CUT: "cut without a goodbye",
    EndReason.NO_PONG: "no answer to pings",
    EndReason.SILENT: "alive, but no data any more",
    EndReason.PROTOCOL: "the other side broke the protocol",
    EndReason.TOO_LARGE: "a message was too large",
    EndReason.STOPPED: "we were asked to stop",
    EndReason.REPLACED: "replaced without a break",
    EndReason.RECEIVER_GONE: "its receiver ended",
    EndReason.FAULT: "a fault in a vendor's module or here",
}


class Line(Block):
    """The words of one life."""

    number = Word(0)
    began_ns = Word(1)
    live_ns = Word(2)
    ended_ns = Word(3)
    next_live_ns = Word(4)
    messages = Word(5)
    records = Word(6)
    local_port = Word(7)
    why = Word(8)
    close_code = Word(9)
    attempts = Word(10)
    told = Word(11)


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a connection, as it was when it was read. Times are CLOCK_MONOTONIC in ns, None: not (yet)."""

    number: int
    began_ns: int
    live_ns: int | None
    ended_ns: int | None
    next_live_ns: int | None
    messages: int
    records: int
    local_port: int
    why: EndReason
    close_code: int | None
    attempts: int
    told: bool

    @property
    def gap_ns(self) -> int | None:
        """How long the gap after it lasted, in ns; None: there was none, or it still lasts."""
        if not self.told or self.ended_ns is None or self.next_live_ns is None:
            return None
        return self.next_live_ns - self.ended_ns


def size(connections: int) -> int:
    """Return the bytes of the segment's body for so many connections."""
    return connections * _PART


def format(body: memoryview, connections: int) -> None:
    """Make an empty history in a zeroed body. Nothing is to be filled in: all zeros are no life at all.

    Raises
    ------
    ValueError
        The body is too small.
    """
    if len(body) < size(connections):
        raise ValueError(f"a history of {connections} connections takes {size(connections)} bytes, not {len(body)}")


class History:
    """The lives of one connection.

    Parameters
    ----------
    body : memoryview
        Body of the history segment, borrowed; read-only is enough to read.
    connection : int
        Its number through all sources.
    """

    def __init__(self, body: memoryview, connection: int) -> None:
        if not 0 <= connection < len(body) // _PART:
            raise IndexError(f"connection {connection} of {len(body) // _PART}")
        self._part = body[connection * _PART : (connection + 1) * _PART]

    @property
    def count(self) -> int:
        """How many lives it had, the present one included."""
        return words.load(self._part, 0)

    def begin(self, *, local_port: int = 0, attempts: int = 0) -> Line:
        """Begin a life, in the place of the oldest one, and return its words."""
        number = self.count + 1
        line = self._line(number)
        line.number = 0
        for index in range(1, _WORDS):
            words.store(line.memory, index * 8, 0)
        line.began_ns = words.monotonic_ns()
        line.local_port = local_port
        line.attempts = attempts
        line.number = number
        words.store(self._part, 0, number)
        return line

    def last(self) -> Line | None:
        """Return the words of the present life, or of the last one."""
        return self._line(self.count) if self.count else None

    def recover(self) -> bool:
        """End a life that a receiver left open when it ended; return whether it was one that had been live."""
        line = self.last()
        if line is None or line.ended_ns:
            return False
        line.ended_ns = words.monotonic_ns()
        line.why = EndReason.RECEIVER_GONE
        line.told = 1 if line.live_ns else 0
        return bool(line.live_ns)

    def lives(self) -> Iterator[Life]:
        """Yield the lives that are kept, oldest first. One that is written over meanwhile is left out."""
        count = self.count
        for number in range(max(1, count - LIVES + 1), count + 1):
            line = self._line(number)
            if line.number != number:
                continue
            found = line.read()
            if line.number == number:
                yield _life(found)

    def _line(self, number: int) -> Line:
        at = _LINE * (1 + (number - 1) % LIVES)
        return Line(self._part[at : at + _LINE])


def _life(found: dict[str, int]) -> Life:
    return Life(
        number=found["number"],
        began_ns=found["began_ns"],
        live_ns=found["live_ns"] or None,
        ended_ns=found["ended_ns"] or None,
        next_live_ns=found["next_live_ns"] or None,
        messages=found["messages"],
        records=found["records"],
        local_port=found["local_port"],
        why=EndReason(found["why"]),
        close_code=found["close_code"] or None,
        attempts=found["attempts"],
        told=bool(found["told"]),
    )

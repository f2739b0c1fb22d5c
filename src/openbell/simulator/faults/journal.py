"""The journal: what each connection was sent, in order, message by message.

A file of records, each a header of three numbers (connection u32, entries u32, time i64: ns since the epoch) and so
many entries of eight bytes, little-endian. It grows on disk and not in memory, however long a market lasts. An entry
of 0 or more is an event of the market; below 0 it says what else was sent.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from openbell.errors import OpenBellError
from openbell.reasons import Reason

Entries = npt.NDArray[np.int64]

INDEX_BITS: Final = 40
"""The lowest bits of an entry: the event's number within its lane, from 0."""
LANE_AT: Final = INDEX_BITS
"""Where its lane stands: four bits."""
LANE_MASK: Final = 0xF
LEVELS_AT: Final = LANE_AT + 4
"""Where it stands how many levels of a book were sent (1 of what has none): twelve bits."""
BACKWARD: Final = 1 << 56
"""The message told a time `BACKWARD_NS` before that of the event."""
WITHHELD: Final = 1 << 57
"""The event was due to the connection, and nothing was sent."""
LEFT_OUT: Final = 1 << 58
"""It was withheld alone: others of its symbol were sent behind it."""
BACKWARD_NS: Final = 60 * 10**9
NUMBERED_LANES: Final = {"binance": (0, 1)}
"""Lanes of a dialect whose events are numbered without a break, symbol by symbol: trades, and aggregates of trades."""

CONTROL: Final = -1
"""An answer, an error, an announcement: a message that is not about the market."""
_REFUSED: Final = -2
_OPENED, _CLOSED = 0xFFFFFFFF, 0xFFFFFFFE
_HEADER = struct.Struct("<IIq")
_ENTRY = struct.Struct("<q")


def refused(reason: Reason) -> int:
    """Return the entry of a message that a correct handler counts under `reason`, once, and does not apply."""
    return _REFUSED - int(reason)


def reason_of(entry: int) -> Reason | None:
    """Return why a message is not applied; None for events and for what is no market data."""
    return Reason(_REFUSED - entry) if entry <= _REFUSED else None


class JournalError(OpenBellError):
    """Say that a journal cannot be written or read."""


class JournalWriter:
    """Writes a journal as things happen.

    Parameters
    ----------
    path : Path or None
        The file, which must not exist; None: nothing is kept.

    Raises
    ------
    JournalError
        It cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] | None = None
        self._connections = 0
        if path is not None:
            try:
                made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise JournalError(f"{path}: the journal cannot be written: {error.strerror}") from error
            self._file = os.fdopen(made, "wb", buffering=256 * 1024)

    def open(self, port: int) -> int:
        """Note a new connection from a client's port; return its number."""
        number = self._connections
        self._connections += 1
        self._write(number, _OPENED, _ENTRY.pack(port))
        return number

    def note(self, connection: int, entries: Entries) -> None:
        """Note what was sent, or withheld, just now."""
        self._write(connection, len(entries), entries.astype("<i8", copy=False).tobytes())

    def over(self, connection: int) -> None:
        """Note that a connection is over."""
        self._write(connection, _CLOSED, b"")

    def flush(self) -> None:
        """Write what is not yet in the file.

        Raises
        ------
        JournalError
            It cannot be written.
        """
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise JournalError(f"the journal cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write what is not yet in the file and close it; nothing can be noted any more.

        Raises
        ------
        JournalError
            It cannot be written.
        """
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, connection: int, count: int, content: bytes) -> None:
        if self._file is not None:
            self._file.write(_HEADER.pack(connection, count, time.time_ns()) + content)


@dataclass(slots=True)
class Sent:
    """What one connection was sent.

    Attributes
    ----------
    port : int
        The client's.
    opened_ns, closed_ns : int
        When it began and ended, ns since the epoch; 0: it has not ended.
    entries : ndarray of int64
        Message by message, in order.
    times_ns : ndarray of int64
        When each was sent, or withheld.
    """

    port: int
    opened_ns: int
    closed_ns: int = 0
    entries: Entries = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    times_ns: Entries = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def read_journal(path: Path) -> list[Sent]:
    """Read a journal; connections in the order in which they were taken.

    Raises
    ------
    JournalError
        It cannot be read, or is cut off in the middle.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be read: {error.strerror}") from error
    found: list[Sent] = []
    parts: list[list[tuple[Entries, int]]] = []
    at = 0
    while at < len(content):
        try:
            number, count, moment_ns = _HEADER.unpack_from(content, at)
            at += _HEADER.size
            if count == _OPENED:
                found.append(Sent(_ENTRY.unpack_from(content, at)[0], moment_ns))
                parts.append([])
                at += _ENTRY.size
            elif count == _CLOSED:
                found[number].closed_ns = moment_ns
            else:
                parts[number].append((np.frombuffer(content, "<i8", count, at).astype(np.int64), moment_ns))
                at += count * _ENTRY.size
        except (struct.error, ValueError, IndexError):
            raise JournalError(f"{path}: the journal is cut off or broken at byte {at}") from None
    for sent, runs in zip(found, parts, strict=True):
        if runs:
            sent.entries = np.concatenate([entries for entries, _ in runs])
            sent.times_ns = np.repeat([moment for _, moment in runs], [len(entries) for entries, _ in runs])
    return found

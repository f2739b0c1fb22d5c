"""Who may ask when: requests of one account keep apart, on one connection and across all that use its token.

A vendor counts by token, whichever receiver, feed or program a request comes from. So there is a small file for each
account in the runtime directory, which all of this user's processes share: what was sent lately, and what is planned.
Its name is a hash: it tells nobody the token.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from openbell.config import Source
from openbell.memory import runtime
from openbell.secret import Secret

log = logging.getLogger("openbell.receiver")

CONNECT_SLACK_S: Final = 0.5
"""How long connecting may take before a first request comes too late for the time that is kept free for it."""
_PAST_S: Final = 120.0
_FUTURE_S: Final = 600.0
_BUSY_S: Final = 2.0
_BYTES_MAX: Final = 1 << 20
# A timer may be so much early.
_TOLERANCE_S: Final = 1e-6

_sockets = itertools.count(1)


def new_name() -> str:
    """Return a name for a socket, which no other of this machine has."""
    return f"{os.getpid()}.{next(_sockets)}"


class Taken(NamedTuple):
    """One moment that is taken: something was sent then, or is to be."""

    at_s: float
    name: str
    planned: bool


class _Wish(NamedTuple):
    """What a socket wants to send: at all `offsets` from some moment; all but the first `sure` of them may not come."""

    name: str
    not_before_s: float
    offsets: list[float]
    sure: int


def earliest(others: Sequence[float], not_before_s: float, offsets: Sequence[float], spacing_s: float) -> float:
    """Return when something may begin that sends at all `offsets` from then, far enough from all moments of others."""
    at = not_before_s
    moved = True
    while moved:
        moved = False
        for other in sorted(others):
            for offset in offsets:
                if abs(at + offset - other) < spacing_s - _TOLERANCE_S:
                    at = other + spacing_s - offset
                    moved = True
    return at


class Turns:
    """Hands out the times at which the connections of one account may connect and ask.

    Parameters
    ----------
    path : Path or None
        The account's file; None: nobody else uses the account, and nothing is shared.
    spacing_s : float
        Least time between requests of two connections, in seconds; 0: they need not keep apart.
    clock : callable
        Monotonic seconds, the same for all processes; for tests.
    """

    def __init__(
        self, path: Path | None = None, spacing_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._spacing_s = spacing_s
        self._clock = clock
        self._taken: list[Taken] = []
        self._busy_since: float | None = None

    @property
    def path(self) -> Path | None:
        """The account's file."""
        return self._path

    @classmethod
    def of(cls, source: Source, token: Secret | None, spacing_s: float) -> Turns:
        """Return the turns of the account that `source` uses."""
        if spacing_s <= 0:
            return cls()
        key = hashlib.blake2b(_boot().encode()[:64], digest_size=8)
        key.update(f"{source.vendor}\0{token.reveal() if token is not None else ''}".encode())
        return cls(runtime.root() / f"pace-{key.hexdigest()}", spacing_s)

    def connect(self, name: str, requests: int, pause_s: float) -> float | None:
        """Take a turn to connect, with time kept free for the first requests.

        Parameters
        ----------
        name : str
            The socket's, from `new_name`.
        requests : int
            How many requests will follow at once.
        pause_s : float
            Time between them.

        Returns
        -------
        float or None
            When to connect, by the clock; None: somebody else is just taking one, try again in a moment.
        """
        planned = [CONNECT_SLACK_S + number * pause_s for number in range(requests)]
        return self._take(_Wish(name, self._clock(), [0.0, *planned], 1))

    def ask(self, name: str, requests: int, pause_s: float, not_before_s: float) -> float | None:
        """Take a turn to send so many requests, `pause_s` apart; return when, as `connect` does."""
        offsets = [number * pause_s for number in range(requests)]
        return self._take(_Wish(name, max(not_before_s, self._clock()), offsets, requests))

    def _take(self, wish: _Wish) -> float | None:
        if self._spacing_s <= 0:
            return wish.not_before_s
        if self._path is None:
            self._taken, at = self._place(self._taken, wish)
            return at
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return self._alone(f"cannot be opened: {error.strerror}", wish)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._busy_since = None
            taken, at = self._place(_decoded(os.pread(fd, _BYTES_MAX, 0)), wish)
            text = msgspec.json.encode(taken)
            os.ftruncate(fd, 0)
            os.pwrite(fd, text, 0)
        except BlockingIOError:
            # Held for less than a millisecond, but for a holder that was stopped in the middle.
            now = self._clock()
            self._busy_since = now if self._busy_since is None else self._busy_since
            if now - self._busy_since < _BUSY_S:
                return None
            return self._alone("is locked by a process that does not run", wish)
        except OSError as error:
            return self._alone(f"cannot be used: {error.strerror}", wish)
        finally:
            os.close(fd)
        return at

    def _place(self, taken: list[Taken], wish: _Wish) -> tuple[list[Taken], float]:
        """Return what is taken then, and the moment it begins. What the same socket had planned is free again."""
        now = self._clock()
        kept = [
            each
            for each in taken
            # A moment far ahead is nobody's any more.
            if now - _PAST_S < each.at_s < now + _FUTURE_S and not (each.planned and each.name == wish.name)
        ]
        others = [each.at_s for each in kept if each.name != wish.name]
        at = earliest(others, wish.not_before_s, wish.offsets, self._spacing_s)
        made = [Taken(at + offset, wish.name, number >= wish.sure) for number, offset in enumerate(wish.offsets)]
        return [*kept, *made], at

    def _alone(self, why: str, wish: _Wish) -> float:
        """Go on without the file: the connections of this process keep apart at least."""
        log.warning("%s %s; requests of other processes with the same token are not known", self._path, why)
        self._path = None
        self._taken, at = self._place(self._taken, wish)
        return at


def _decoded(text: bytes) -> list[Taken]:
    if not text:
        return []
    try:
        return msgspec.json.decode(text, type=list[Taken])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Half of a line, from a process that was killed while it wrote: what it says is lost, no more.
        return []


def _boot() -> str:
    """Return what names this run of the machine: the clock begins anew with it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""

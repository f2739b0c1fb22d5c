"""What was subscribed and unsubscribed since the configuration was read: a small file a connection.

It lies beside the shared memory and goes with it. A receiver that is started again takes it up; a feed that is started
again begins with its configuration.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

log = logging.getLogger("openbell.receiver")


class Changes(Struct, frozen=True):
    """Symbols, as they were spelled, in order.

    Attributes
    ----------
    added : tuple of str
        Wanted, and not in the configuration.
    removed : tuple of str
        Not wanted any more.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Desired:
    """The file of one connection.

    Parameters
    ----------
    path : Path
        Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Changes:
        """Return what was changed; nothing if there is no file, or none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Changes)
        except FileNotFoundError:
            return Changes()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("%s cannot be read (%s); the connection begins with its configuration", self._path, error)
            return Changes()

    def save(self, added: Sequence[str], removed: Sequence[str]) -> None:
        """Keep what was changed: the whole of it or, if this process dies now, what was there before."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.encode(Changes(tuple(added), tuple(removed))))
            fresh.rename(self._path)
        except OSError as error:
            log.error("%s cannot be written (%s); a restarted receiver will not know of it", self._path, error.strerror)

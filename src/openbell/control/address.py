"""Addresses of control sockets, which may lie deeper than an address can say.

A socket's address has 107 bytes, and the name of a feed alone may have 64. So it is said from the directory on, through
the link that the kernel keeps for every open file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openbell.errors import FeedError

_OPEN_FILES: Final = Path("/proc/self/fd")


def bind(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, which nobody but its owner can reach.

    Raises
    ------
    FeedError
        It cannot be made.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Whoever may make it holds the receiver's role: one that is there was left by a dead one.
        path.unlink(missing_ok=True)
        _with_address(path, made.bind)
        path.chmod(0o600)
        made.listen(16)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise FeedError(f"cannot make the control socket {path}: {error.strerror or error}") from error
    except BaseException:
        made.close()
        raise
    return made


def connect(path: Path, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to the one that listens at `path`, with that time-out.

    Raises
    ------
    OSError
        Nobody listens there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout_s)
        _with_address(path, made.connect)
    except BaseException:
        made.close()
        raise
    return made


def _with_address(path: Path, use: Callable[[str], object]) -> None:
    if not _OPEN_FILES.is_dir():
        use(str(path))
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        use(str(_OPEN_FILES / str(fd) / path.name))
    finally:
        os.close(fd)

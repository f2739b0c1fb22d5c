"""Who may run: one file lock per role, held for the life of its process and dropped by the kernel at its death.

A lock file names its holder, for messages only; whether the role is taken is asked of the kernel, never of the text.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from openbell.errors import FeedAlreadyRunning, FeedError
from openbell.memory.names import SUPERVISOR_LOCK

_PATIENCE_S = 0.25
"""How long any taker tries. `is_held` holds a lock for an instant, which must not make a start fail."""


def start_ticks(pid: int) -> int:
    """Return when process `pid` began, in the kernel's ticks since boot: with the pid, a name no other process has.

    Returns
    -------
    int
        0 where the system does not tell (no ``/proc``), or no such process lives.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The second field is the command in parentheses, which may hold blanks and parentheses of its own.
    return int(status[status.rindex(b")") + 2 :].split()[19])


class RoleLock:
    """One role of one feed, held by at most one process.

    Parameters
    ----------
    path : Path
        The lock file; made with mode 0600 if it is not there.
    create : bool
        False: it is not made. Where it is missing, `acquire` raises FileNotFoundError.

    Notes
    -----
    A child made by ``fork`` shares the lock, and keeps it alive; start processes with ``subprocess`` or ``spawn``.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._flags = os.O_RDWR | (os.O_CREAT if create else 0)
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the role."""
        return self._fd is not None

    def acquire(self, patience_s: float = _PATIENCE_S) -> None:
        """Take the role, or raise within `patience_s` seconds.

        Raises
        ------
        FeedAlreadyRunning
            A live process holds it; the message names its pid.
        FeedError
            The lock file is a symbolic link or cannot be opened.
        """
        deadline = time.monotonic() + patience_s
        while True:
            fd = _open(self.path, self._flags)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file(fd, self.path):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()} {start_ticks(os.getpid())}\n".encode(), 0)
                    self._fd = fd
                    return
                # The holder before us removed the file while we waited for it: what we hold is nobody's.
                os.close(fd)
                continue
            except BlockingIOError:
                holder = _holder(fd)
                os.close(fd)
            except BaseException:
                os.close(fd)
                raise
            if time.monotonic() >= deadline:
                raise FeedAlreadyRunning(_taken(self.path, holder))
            time.sleep(0.01)

    def release(self, *, remove: bool = False) -> None:
        """Give the role up; with `remove`, take the file away first."""
        if self._fd is None:
            return
        if remove:
            # While it is still held, so that nobody else's fresh file is taken away.
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None

    def __enter__(self) -> RoleLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Say whether a live process holds the role of the lock file at `path`."""
    try:
        fd = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(path: Path) -> int:
    """Return the pid written in the lock file at `path`, 0 if there is none. For messages."""
    try:
        fd = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return _holder(fd)
    finally:
        os.close(fd)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            raise FeedError(f"{path} is a symbolic link; a lock must be a file of its own. Remove the link") from error
        raise FeedError(f"cannot open the lock {path}: {error.strerror}") from error


def _is_file(fd: int, path: Path) -> bool:
    ours = os.fstat(fd)
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _holder(fd: int) -> int:
    first = os.pread(fd, 64, 0).split()[:1]
    return int(first[0]) if first and first[0].isdigit() else 0


def _taken(path: Path, pid: int) -> str:
    feed = path.parent.name
    who = f"pid {pid}" if pid else "a live process"
    if path.name == SUPERVISOR_LOCK:
        return f"feed {feed!r} is already running ({who}); stop it first, or give this feed another name"
    return (
        f"{path.name.removesuffix('.lock')} of feed {feed!r} is still running ({who}), left over from an earlier run; "
        f"stop that process first"
    )

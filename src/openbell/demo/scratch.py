"""The files of a demonstration that are no shared memory, and those that killed demonstrations left behind."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from openbell.errors import FeedError
from openbell.memory.locks import RoleLock, holder, is_held
from openbell.memory.runtime import check_private

PREFIX = "openbell-demo-"
_LOCK = "lock"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a private directory for one demonstration, among the system's temporary files; it goes with the block.

    What killed demonstrations of this user left there goes first.
    """
    _clear_up()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        lock = RoleLock(Path(name, _LOCK))
        lock.acquire()
        try:
            yield Path(name)
        finally:
            lock.release(remove=True)


def _clear_up() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = directory / _LOCK
        # Nobody takes such a lock twice: one that names its holder, and is free, is that of a dead one. Without a
        # name it is about to be taken.
        with contextlib.suppress(FeedError, FileNotFoundError):
            check_private(directory)
            if holder(lock) and not is_held(lock):
                shutil.rmtree(directory, ignore_errors=True)

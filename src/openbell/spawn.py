"""The supervisor's end of the line to one of its processes: start it, hear its last words, know when it is gone.

The other end, and why there is a line at all, is in `openbell.lifeline`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from openbell import errors
from openbell.errors import FeedError, OpenBellError


class Process:
    """The supervisor's end: one running process of the feed.

    Parameters
    ----------
    module : str
        What ``python -m`` runs.
    arguments : sequence of str
        Its arguments; never a secret, everybody may read them in ``ps``.
    output : file, int or None
        Where its stdout and stderr go; None: where ours go.

    Raises
    ------
    FeedError
        The system starts no process: too many processes or open files, or no memory.
    """

    def __init__(self, module: str, arguments: Sequence[str], output: int | IO[bytes] | None = None) -> None:
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._popen = _start(module, arguments, ours, theirs, output)
        except OSError as error:
            raise FeedError(
                f"cannot start {module}: {error.strerror}; look at the limits of processes, open files and memory"
            ) from error
        ours.setblocking(False)
        self._line = ours
        self._words = b""

    @property
    def pid(self) -> int:
        """The process's pid."""
        return self._popen.pid

    def fileno(self) -> int:
        """Return a descriptor that is readable once the process has something to say, or is gone."""
        return self._line.fileno()

    def ended(self) -> int | None:
        """Return the exit status if the process is gone (negative: the signal that killed it), else None."""
        self._listen()
        return self._popen.poll()

    def send(self, number: int) -> None:
        """Send it a signal, unless it is gone."""
        self._popen.send_signal(number)

    def kill(self) -> int:
        """Kill it if it lives, wait for its end, close the line; return the exit status."""
        self._popen.kill()
        status = self._popen.wait()
        self.close()
        return status

    def refusal(self) -> OpenBellError | None:
        """Return what a process that is gone said about why it cannot work, None if it said nothing."""
        self._listen()
        name, _, message = self._words.decode("utf-8", "replace").partition(": ")
        if not message:
            return None
        kind = getattr(errors, name, FeedError)
        return kind(message) if isinstance(kind, type) and issubclass(kind, OpenBellError) else FeedError(message)

    def close(self) -> None:
        """Close our end."""
        self._line.close()

    def _listen(self) -> None:
        while self._line.fileno() >= 0:
            try:
                more = self._line.recv(65536)
            except (BlockingIOError, ConnectionResetError):
                return
            if not more:
                return
            self._words += more


def _start(
    module: str, arguments: Sequence[str], ours: socket.socket, theirs: socket.socket, output: int | IO[bytes] | None
) -> subprocess.Popen[bytes]:
    try:
        # Its own process group: Ctrl-C in a terminal reaches the supervisor alone, which stops all in order.
        # -P: no file of the directory that the user happens to be in may pass for a module.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=theirs.fileno(),
            stdout=output,
            stderr=output,
            process_group=0,
        )
    except BaseException:
        ours.close()
        raise


def arguments(directory: Path, generation: int, index: int, *rest: str) -> list[str]:
    """Return the command line that `Lifeline` reads."""
    parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
    return [str(directory), str(generation), str(index), str(parent), *rest]

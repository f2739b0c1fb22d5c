"""A process's end of its line to the supervisor: a socket pair, open for as long as both live.

The kernel closes an end with its owner, however that dies. So the supervisor learns of a dead process at once, a
process learns that it lost its supervisor, and neither can miss it. The only words that ever travel on it are those
of a process that cannot do its work, and says why before it leaves. The other end is in `openbell.spawn`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from openbell.errors import OpenBellError

EXIT_REFUSED = 2
"""Exit status of a process that said why it cannot do its work: starting it again would not help."""
EXIT_ORPHANED = 3
"""Exit status of a process whose supervisor is gone."""
_FD = 0
_PR_SET_PDEATHSIG = 1


class Lifeline:
    """A process's end of the line, and its part in the order of things: what it was told, and when it must stop.

    Parameters
    ----------
    arguments : sequence of str
        The command line: feed directory, generation, index, the supervisor's pid (0: it was started from a thread,
        whose end the kernel would take for the supervisor's), and what else the role takes.

    Attributes
    ----------
    directory : Path
        The feed's directory.
    generation, index : int
        Which generation, and which process of its role.
    rest : tuple of str
        The other arguments.
    stopping : bool
        Whether the supervisor has asked it to stop.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.directory = Path(arguments[0])
        self.generation = int(arguments[1])
        self.index = int(arguments[2])
        self.rest = tuple(arguments[4:])
        self.stopping = False
        self._poll = select.poll()
        self._poll.register(_FD, select.POLLIN | select.POLLHUP)
        signal.signal(signal.SIGTERM, self._on_stop)
        # The supervisor decides; a stray Ctrl-C or a closed terminal is its business.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        die_with(int(arguments[3]))

    def fileno(self) -> int:
        """Return a descriptor that is readable once the supervisor is gone."""
        return _FD

    @property
    def orphaned(self) -> bool:
        """Whether the supervisor is gone."""
        return bool(self._poll.poll(0))

    def refuse(self, error: OpenBellError) -> int:
        """Tell the supervisor why this process cannot work; return the exit status to leave with."""
        try:
            os.write(_FD, f"{type(error).__name__}: {error}".encode())
        except BrokenPipeError:
            return EXIT_ORPHANED
        return EXIT_REFUSED

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies: even if it is stopped, or stuck, and cannot look."""
    if not parent or sys.platform != "linux":
        return
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before the request was in place.
        sys.exit(EXIT_ORPHANED)

"""Being asked to stop: SIGINT, SIGTERM and SIGHUP as something to look at, instead of something that interrupts.

An exception in the middle of making or removing shared memory would leave half of it behind, so a signal only leaves
a note here. The handlers are installed explicitly: a shell starts its background jobs with SIGINT ignored.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def wait_readable(descriptors: Iterable[int], timeout_s: float) -> None:
    """Sleep until one of the descriptors (those >= 0) is readable or closed, or for `timeout_s` seconds."""
    # Not select.select: a process with more than 1,024 files open may supervise a feed, too.
    poll = select.poll()
    for descriptor in descriptors:
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN)
    # Rounded up: a timeout below a millisecond must not become a busy loop.
    poll.poll(math.ceil(timeout_s * 1000))


class StopSignals:
    """While entered, stop signals are counted and do nothing else.

    Attributes
    ----------
    count : int
        How many came. The second one means: be quick about it.
    last : int
        The number of the last one, 0 if none came.

    Notes
    -----
    Enter it in the main thread; elsewhere Python lets nobody install handlers, and entering changes nothing. A SIGHUP
    that is ignored stays ignored: that is what ``nohup`` is for. May be entered while another one is.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last = 0
        self._before: dict[int, Any] = {}
        self._reader, self._writer = -1, -1

    @property
    def requested(self) -> bool:
        """Whether a stop signal came."""
        return self.count > 0

    def fileno(self) -> int:
        """Return a descriptor that is readable once a signal came; -1 while not entered."""
        return self._reader

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a signal comes or `timeout_s` is over; return whether one has come."""
        if not self.requested:
            wait_readable([self._reader], timeout_s)
        return self.requested

    def __enter__(self) -> StopSignals:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        if threading.current_thread() is threading.main_thread():
            for number in _ASKED:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._note)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()
        os.close(self._reader)
        os.close(self._writer)
        self._reader = self._writer = -1

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.last = number
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            # Thousands of notes are unread: whoever waits is awake.
            return

"""Whether a feed still runs, asked by those who have it mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbell.core import words
from openbell.errors import FeedError
from openbell.memory.locks import is_held
from openbell.memory.names import SUPERVISOR_LOCK
from openbell.monitor.status import SILENT_NS

if TYPE_CHECKING:
    from openbell.memory.generation import Generation

_LOOK_AGAIN_NS = 100_000_000


class Pulse:
    """The life of one generation of a feed, cheap enough to be felt at every access.

    Parameters
    ----------
    generation : Generation
        Its control segment is mapped, and stays so for the life of this object.

    Notes
    -----
    A supervisor that stops in order marks its segments DEAD. One that is killed marks nothing: its heart only stops
    beating, and that alone may also mean that it is stopped or starved. Then the kernel is asked whether its lock is
    held. Both are looked at every 0.1 s at most.
    """

    def __init__(self, generation: Generation) -> None:
        self._segment = generation.segments["control"]
        self._supervisor = generation.open_control().supervisor
        # Absolute: the reader may change its working directory, which must not end the feed.
        self._lock = generation.directory.absolute() / SUPERVISOR_LOCK
        self._look_at_ns = 0
        self._gone = False

    @property
    def beats(self) -> bool:
        """Whether the feed runs. Once it does not, it never will again: a new run is another generation."""
        if self._gone or not self._segment.live:
            return False
        now = words.monotonic_ns()
        if now >= self._look_at_ns:
            self._look_at_ns = now + _LOOK_AGAIN_NS
            self._gone = now - self._supervisor.heartbeat_ns > SILENT_NS and not self._held()
        return not self._gone

    def _held(self) -> bool:
        try:
            return is_held(self._lock)
        except FeedError:
            # It cannot be opened (this process is out of descriptors, say): that tells nothing of the feed.
            return True

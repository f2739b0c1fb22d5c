"""Telling what may be missing: where a connection was interrupted, to whom, and until when."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from openbell.monitor.history import History, Line
from openbell.receiver.life import ConnectionBlock, Life
from openbell.receiver.listeners import Listener
from openbell.record import GapReason

log = logging.getLogger("openbell.receiver")

COUNT_UNKNOWN: Final = -1


class Gaps:
    """The interruptions of one connection, through all its lives.

    Parameters
    ----------
    block : ConnectionBlock
        Its ``gaps`` are counted there.
    where : str
        What the connection is called.
    concerned : callable
        Returns the symbols that an interruption concerns; None: all that the feed has.
    """

    def __init__(
        self, block: ConnectionBlock, where: str, concerned: Callable[[], Iterable[bytes]] | None = None
    ) -> None:
        self._block = block
        self._where = where
        self._concerned = concerned
        self._lasting: Line | None = None

    def recover(self, history: History) -> None:
        """Take up what a receiver before this one left: the gap itself is told over all connections at once."""
        if history.recover():
            self._lasting = history.last()
            self._block.add("gaps")

    def tell(self, life: Life) -> None:
        """Tell once that something may be missing from the end of `life` on, until the connection is live again.

        A life that never was live belongs to the gap before it.
        """
        if life.listener is None or life.line is None or not (life.was_live or life.listener.records_published):
            return
        # From the last data on: who answers pings may have been mute before. When it is over nobody knows yet; the
        # history will.
        self._publish(life.listener, life.data_until_ns or life.line.began_ns)
        life.listener.interrupted()
        life.line.told = 1
        self._lasting = life.line

    def tell_hole(self, life: Life) -> None:
        """Tell that something may be missing in the middle of `life`, which was mute for a while."""
        hole_ns, life.hole_ns = life.hole_ns, 0
        if hole_ns and life.listener is not None:
            self._publish(life.listener, hole_ns, time.monotonic_ns())

    def end(self, life: Life) -> bool:
        """Note that the connection is live again in `life`; return whether that ends a gap."""
        gap, self._lasting = self._lasting, None
        if gap is None or life.line is None or gap.next_live_ns:
            return False
        # A successor may have been live before its predecessor ended.
        gap.next_live_ns = max(life.line.live_ns, gap.ended_ns)
        log.info("%s: the gap lasted %.1f s", self._where, (gap.next_live_ns - gap.ended_ns) / 1e9)
        return True

    def _publish(self, listener: Listener, first_ns: int, last_ns: int = 0) -> None:
        """Publish a gap between two moments of CLOCK_MONOTONIC; 0: it is not over."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        concerned = self._concerned() if self._concerned is not None else None
        listener.publish_gap(
            GapReason.DISCONNECT, COUNT_UNKNOWN, concerned, first_ns + offset_ns, last_ns + offset_ns if last_ns else 0
        )
        self._block.add("gaps")

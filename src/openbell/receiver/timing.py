"""The intervals of a connection."""

from __future__ import annotations

from dataclasses import dataclass

from openbell.receiver.dial import CONNECT_S, HANDSHAKE_S


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of a connection, in seconds.

    Attributes
    ----------
    backoff_first_s, backoff_longest_s : float
        Pauses between attempts to connect; the vendor's ``min_reconnect_s`` holds as well.
    stable_s : float
        A connection that lasted this long starts the pauses anew.
    handshake_s, connect_s : float
        Most time for the upgrade, and for connecting altogether.
    idle_s, idle_reply_s : float
        Nothing came for `idle_s`: a ping is sent. Nothing for `idle_reply_s` after it: the connection is dead. The
        time while we hold reading back does not count, nor that in which this process did not run.
    drain_s : float
        Pause between two attempts to empty the side queue.
    stop_s : float
        Most time for emptying the side queue when asked to stop. Long enough for the supervisor to notice that a
        worker is stuck and to put another in its place; shorter than it waits for a receiver.
    close_s : float
        Most time for sending the last bytes then. TLS would wait for an answer that nobody reads any more.
    """

    backoff_first_s: float = 1.0
    backoff_longest_s: float = 30.0
    stable_s: float = 60.0
    handshake_s: float = HANDSHAKE_S
    connect_s: float = CONNECT_S
    idle_s: float = 15.0
    idle_reply_s: float = 10.0
    drain_s: float = 0.001
    stop_s: float = 4.0
    close_s: float = 0.25

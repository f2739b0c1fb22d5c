"""The intervals of a connection that nobody configures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of a connection, in seconds; those that may be configured are in `openbell.config.Liveness`.

    Attributes
    ----------
    drain_s : float
        Pause between two attempts to empty the side queue.
    stop_s : float
        Most time for emptying the side queue when asked to stop. Long enough for the supervisor to notice that a
        worker is stuck and to put another in its place; shorter than it waits for a receiver.
    close_s : float
        Most time for sending the last bytes then. TLS would wait for an answer that nobody reads any more.
    goodbye_s : float
        Most time for the other side's answer to a CLOSE frame of ours, where we stay and come back.
    """

    drain_s: float = 0.001
    stop_s: float = 4.0
    close_s: float = 0.25
    goodbye_s: float = 1.0

"""A market's opening through the whole pipeline: simulator, socket, receiver, ring, worker, snapshot, all real.

The market is open-loop: every event has a moment at which it is to be sent, and that moment stands in the message. What
is late is late for the latency, too: a generator that falls behind, a socket buffer that fills, a worker that
sleeps. Latencies are those of all events, taken by the worker when the event is in the snapshot.
"""

from benchmarks.burst.options import BurstOptions
from benchmarks.burst.run import run

__all__ = ["BurstOptions", "run"]

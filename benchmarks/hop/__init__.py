"""From a ring to a consumer in another process: records a second, latency, and what readers cost the writer.

Against what people hand records from process to process with: `multiprocessing.Queue` and `Pipe`, faster-fifo, and a
ZeroMQ ipc socket. All take turns, and are compared within a turn. Nothing of a feed runs but its memory: the writer is
this process, the readers are processes of their own that attach as any user does.
"""

from __future__ import annotations


def run(as_json: bool, quick: bool) -> int:
    """Run the benchmark; 0 if every target is met, or if it was a quick run that came to its end."""
    # Late: reader processes import this package, and should start with nothing else.
    from benchmarks.hop.run import main

    return main(as_json, quick)

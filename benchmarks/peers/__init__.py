"""OpenBell against what people build with the usual libraries: same frames, same generator, the same snapshot asked.

Every stack is a client of one generator process, takes the same encoded frames as fast as it can, and must end up with
the last price, the sum of the volumes and the number of ticks of every symbol: that is compared with what the generator
has sent after each slice, and one difference ends the run. The stacks take turns; slices of one turn are compared with
each other, because the machine's speed changes from turn to turn.
"""

from __future__ import annotations


def run(as_json: bool, quick: bool) -> int:
    """Run the benchmark; 0 if every target is met, or if it was a quick run that came to its end."""
    # Late: the processes of the stacks import this package, and should start with nothing else.
    from benchmarks.peers.run import main

    return main(as_json, quick)

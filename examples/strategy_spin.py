"""The lowest latency that Python has: a process of its own, pinned to a processor, that spins on the rings.

    python examples/strategy_spin.py cn 600519.SH --cpu 3

It keeps one processor busy all the time, so give it one that nothing else wants (isolcpus, or a cpuset), in the same
socket as the feed's receiver. It prints once a second how long after its socket read each trade was here.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time

import numpy as np

import openbell


def main() -> None:
    """Follow until Ctrl-C, or for a while."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("feed")
    parser.add_argument("symbols", nargs="*", help="all by default")
    parser.add_argument("--cpu", type=int, help="pin this process to a processor")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        if arguments.cpu not in os.sched_getaffinity(0):
            parser.error(f"--cpu: this process may run on {sorted(os.sched_getaffinity(0))}, not on {arguments.cpu}")
        os.sched_setaffinity(0, {arguments.cpu})
    with (
        openbell.attach(arguments.feed) as market,
        # In the order of the rings: merging would cost some ns, and matters only where symbols are compared.
        market.ticks(arguments.symbols or None, kinds=["trade"], wait="spin", order="shard") as ticks,
    ):
        # What is there now stays; a collection in the middle of a burst would cost milliseconds.
        gc.collect()
        gc.freeze()
        gc.disable()
        follow(ticks, time.monotonic() + arguments.seconds)


def follow(ticks: openbell.Ticks, end: float) -> None:
    """React to each trade."""
    late_ns: list[int] = []
    report = time.monotonic() + 1.0
    while (now := time.monotonic()) < end:
        tick = ticks.take(timeout=min(report, end) - now if report > now else 0)
        if tick is not None and tick.price is not None:
            # Your decision goes here; then what it took to get here:
            late_ns.append(time.time_ns() - tick.receive_ns)
        if time.monotonic() >= report and late_ns:
            p50, p99, worst = np.percentile(late_ns, (50, 99, 100)) / 1000
            print(f"{len(late_ns):>8,} trades  p50 {p50:,.1f} us  p99 {p99:,.1f} us  max {worst:,.1f} us", flush=True)
            late_ns.clear()
            report += 1.0


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            main()
    except openbell.OpenBellError as error:
        sys.exit(f"strategy_spin: {error}")

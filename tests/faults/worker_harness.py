"""A worker process of a crash test: apply its rings' records until told to stop and nothing is left."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from faults.shared import RECEIVERS, SHARDS, Shared, ring_name
from openbell.core import apply, words


def main(directory: str, worker: int, slow: bool) -> None:
    shared = Shared(Path(directory))
    if not words.crash_hooks_compiled():
        raise RuntimeError("this needs the build with crash points")
    control = memoryview(shared.maps["control"])
    applier = apply.Applier(
        shared.maps["snapshot"],
        worker,
        [shared.maps[ring_name(worker, receiver)] for receiver in range(RECEIVERS)],
        shared.bell(worker),
        [shared.bell(SHARDS)] * RECEIVERS,
        control[1024 * (worker + 1) : 1024 * (worker + 1) + 512],
        shared.maps[f"histogram{worker}"],
        control[8:16],
        "adaptive",
        shared.table(),
    )
    applier.recover()
    while not shared.stopping or applier.backlog():
        if slow:
            # Rings are full most of the time: that is what the test is about.
            applier.run(1_000_000, 1)
            time.sleep(0.008)
        else:
            applier.run(20_000_000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2].removesuffix("slow")), sys.argv[2].endswith("slow"))

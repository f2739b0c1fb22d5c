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
        bars=shared.maps["bars"],
    )
    applier.recover()
    before, looks = 0, 0
    while not shared.stopping or applier.backlog():
        if not slow:
            applier.run(20_000_000)
            continue
        # Nothing is applied while anything comes: until its receiver, however slow, meets a full ring.
        backlog = applier.backlog()
        looks = looks + 1 if backlog == before else 0
        if looks >= 4:
            applier.run(1_000_000, 1)
            looks = 0
        before = backlog
        time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2].removesuffix("slow")), sys.argv[2].endswith("slow"))

"""A worker process of a crash test: apply one ring's records until told to stop and nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path

from faults.shared import SHARDS, Shared
from openbell.core import apply, words


def main(directory: str, worker: int) -> None:
    shared = Shared(Path(directory))
    if not words.crash_hooks_compiled():
        raise RuntimeError("this needs the build with crash points")
    control = memoryview(shared.maps["control"])
    applier = apply.Applier(
        shared.maps["snapshot"],
        worker,
        [shared.maps[f"ring{worker}"]],
        shared.bell(worker),
        [shared.bell(SHARDS)],
        control[1024 * (worker + 1) : 1024 * (worker + 1) + 512],
        shared.maps[f"histogram{worker}"],
        control[8:16],
        "adaptive",
    )
    applier.recover()
    while not shared.stopping or applier.backlog():
        applier.run(20_000_000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

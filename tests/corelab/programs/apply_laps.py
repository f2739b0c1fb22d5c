"""A worker that applies a fixed lap of records over and over, as fast as it can: ``apply_laps SNAPSHOT``.

Prints ``{"ready": pid}`` once every row has been through two laps, and goes on until it is killed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from corelab.laps import LAP, ROWS, lap_records
from corelab.memory import attached, memory
from corelab.rig import AT_HEAD, AT_RECORDS
from openbell.core import histogram, ring, snapshot, words
from openbell.core.apply import Applier

MS = 1_000_000


def main() -> None:
    rows = attached(Path(sys.argv[1]))
    snapshot.format(rows, ROWS, 1)
    lap = memory(ring.size(LAP))
    ring.format(lap, LAP, 0)
    for number, record in enumerate(lap_records()):
        lap[AT_RECORDS + number * 64 : AT_RECORDS + number * 64 + 64] = record.pack()
    applier = Applier(
        rows, 0, [lap], memory(64), [memory(64)], memory(64), memory(histogram.size()), memory(64), "spin"
    )
    # The head runs ahead of the worker by more than the ring holds: it goes round over the same records.
    words.store(lap, AT_HEAD, 2 * LAP)
    while applier.backlog():
        applier.run(MS)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    words.store(lap, AT_HEAD, 1 << 55)
    while True:
        applier.run(50 * MS)


if __name__ == "__main__":
    main()

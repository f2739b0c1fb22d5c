"""Read the rows that `apply_laps` writes, and look for torn ones: ``read_laps SNAPSHOT HOW READS``.

HOW: ``all`` copies blocks of rows, ``rows`` copies rows one by one, ``live`` copies the columns without looking at
versions, which tears rows. Prints ``{"ready": pid}``, waits for a line, and prints what it found.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from corelab.laps import INDEX, NAMES, ROWS, Expected
from corelab.memory import attached
from openbell.core.snapshot import SnapshotReader

AT_ONCE = 64


def main() -> None:
    path, how, reads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    buffer = attached(path, writable=False)
    reader = SnapshotReader(buffer)
    live = [np.frombuffer(buffer, np.uint64, reader.rows, reader.column_offset(name)) for name in NAMES]
    expected = Expected()
    rows = np.arange(ROWS, dtype=np.intp)
    whole = np.empty((AT_ONCE, len(NAMES), reader.rows if how == "all" else ROWS), np.uint64)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    seen = {"reads": 0, "torn": 0, "odd": 0, "backwards": 0, "longest_copy_ms": 0.0}
    latest = np.zeros((1, ROWS), np.int64)
    while seen["reads"] < reads:
        for copy in whole:
            before = time.monotonic_ns()
            if how == "all":
                reader.copy_all(copy)
            elif how == "rows":
                reader.copy_rows(rows, copy)
            else:
                for index, column in enumerate(live):
                    copy[index] = column[:ROWS]
            seen["longest_copy_ms"] = max(seen["longest_copy_ms"], (time.monotonic_ns() - before) / 1e6)
        copies = whole[:, :, :ROWS]
        versions = copies[:, INDEX["version"], :].view(np.int64)
        seen["reads"] += AT_ONCE * ROWS
        seen["torn"] += expected.wrong(copies)
        seen["odd"] += int((versions & 1).sum())
        seen["backwards"] += int((np.diff(np.concatenate((latest, versions)), axis=0) < 0).sum())
        latest = versions[-1:].copy()
    seen["undone"] = reader.undone
    seen["records"] = int(latest.sum()) // 2
    seen["seconds"] = time.monotonic() - began
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()

"""Follow a ring of numbered records with a tap: ``follow_ring FILE CAPACITY START MAX_RECORDS PAUSE_US PROCESS_COUNT``.

Prints ``{"ready": pid}``, reads until PROCESS_COUNT records are accounted for, and prints what it saw.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from corelab.memory import attached_before_fence
from corelab.numbered import misplaced, torn
from corelab.records import GAP, HAS_A, HAS_B, HAS_C, HAS_D, ROW_NONE, Record, unpack
from openbell.core import ring
from openbell.core.ring import Tap
from openbell.record import GapReason


def resident_kib() -> int:
    """Return how much memory this process holds; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def main() -> None:
    path, capacity, start = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    most, pause_us, count = map(int, sys.argv[4:7])
    tap = Tap(attached_before_fence(path, ring.size(capacity)), int(start) if start.isdecimal() else start)  # type: ignore[arg-type]
    print(json.dumps({"ready": os.getpid(), "position": tap.position}), flush=True)
    seen = {"delivered": 0, "skipped": 0, "torn": 0, "misplaced": 0, "bad_gaps": 0, "laps": 0, "reads": 0}
    warm = 0
    while tap.position < count:
        at = tap.position
        data, skipped = tap.read(most)
        if skipped:
            expected = Record(
                ROW_NONE, GAP, 0, HAS_A | HAS_B | HAS_C | HAS_D, 0, 0, 0, GapReason.LAP, skipped, at, at + skipped - 1
            )
            seen["bad_gaps"] += unpack(data[:64]) != [expected]
            seen["laps"] += 1
            data = data[64:]
        if data:
            seen["torn"] += torn(data)
            seen["misplaced"] += misplaced(data, at + skipped)
        seen["delivered"] += len(data) // 64
        seen["skipped"] += skipped
        seen["reads"] += 1
        if not warm and tap.position > count // 4:
            warm = resident_kib()
        if pause_us:
            time.sleep(pause_us / 1e6)
    seen["growth_kib"] = resident_kib() - warm if warm else 0
    seen["skipped_total"] = tap.skipped_total
    seen["position"] = tap.position
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()

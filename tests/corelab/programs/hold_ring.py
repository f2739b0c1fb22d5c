"""Follow a ring of numbered records as a tethered reader: ``hold_ring FILE CONSUMERS CAPACITY SLOT HOW COUNT``.

HOW ``keeps`` reads all as it comes; ``comes`` leaves and joins again, now at the head, now as far back as it can;
``stalls`` reads nothing for a second once it is behind, then joins again where it was cut. Prints ``{"ready": pid}``,
reads until COUNT records are accounted for, and prints what it saw.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from corelab.memory import attached, attached_before_fence
from corelab.numbered import misplaced, torn
from openbell.core import ring
from openbell.core.tether import Tether
from openbell.errors import ReaderCut


def main() -> None:
    body = attached_before_fence(Path(sys.argv[1]), ring.size(int(sys.argv[3])))
    slot, how, count = int(sys.argv[4]), sys.argv[5], int(sys.argv[6])
    tether = Tether(attached(Path(sys.argv[2])), slot, 0, body)
    position = tether.join()
    seen = {"read": 0, "missed": position, "torn": 0, "misplaced": 0, "cuts": 0, "joins": 1}
    print(json.dumps({"ready": os.getpid()}), flush=True)
    reads = 0
    while position < count:
        reads += 1
        if how == "comes" and reads % 50 == 0:
            tether.leave()
            joined = tether.join("oldest" if reads % 100 else "now")
            seen["joins"] += 1
            # What it was given already is not counted twice.
            seen["read"] -= max(0, position - joined)
            seen["missed"] += max(0, joined - position)
            position = joined
        if how == "stalls" and position > count // 4:
            time.sleep(1.0)
            how = "keeps"
        try:
            data = tether.read()
        except ReaderCut:
            joined = tether.join("oldest")
            seen["cuts"] += 1
            seen["joins"] += 1
            seen["missed"] += joined - position
            position = joined
            continue
        seen["torn"] += torn(data)
        seen["misplaced"] += misplaced(data, position)
        seen["read"] += len(data) // 64
        position += len(data) // 64
        if not data:
            time.sleep(0)
    seen["position"] = position
    tether.leave()
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()

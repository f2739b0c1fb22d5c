"""Write numbered records into a ring: ``write_ring FILE CAPACITY COUNT BURST PAUSE_US GATE [CONSUMERS HOLD_MS]``.

GATE ``own`` frees every slot as soon as it is published, so that nothing holds the writer back; ``worker`` leaves that
to another process. CONSUMERS is the file of a consumers segment, whose readers may hold the writer for HOLD_MS. Prints
``{"ready": pid}``, waits for a line, writes, and prints what it did.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from corelab.memory import attached, attached_before_fence, memory
from corelab.numbered import numbered
from corelab.rig import AT_APPLIED
from openbell.core import ring, tether, words
from openbell.core.ring import RingWriter

BLOCK = 8192


def main() -> None:
    path, capacity, count, burst, pause_us, gate = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
    body = attached_before_fence(Path(path), ring.size(capacity))
    tethers = readers_bell = None
    hold_ns = 0
    if len(sys.argv) > 7:
        consumers = memoryview(attached(Path(sys.argv[7])))
        tethers = consumers[tether.TETHERS_AT :]
        readers_bell = consumers[tether.PUBLISHED_BELL_AT : tether.PUBLISHED_BELL_AT + tether.BELL_BYTES]
        hold_ns = int(sys.argv[8]) * 1_000_000
    # The other process has no bell for us: look again soon.
    writer = RingWriter(
        body, memory(64), memory(64), 20_000, tethers=tethers, readers_bell=readers_bell, max_hold_ns=hold_ns
    )
    writer.recover()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    waits = position = 0
    block = b""
    # A burst may not be longer than the ring has room for, where nobody else frees any.
    step = min(burst, capacity // 2) if gate == "own" else burst
    while position < count:
        for _ in range(min(step, count - position)):
            at = position % BLOCK
            if at == 0:
                block = numbered(position, BLOCK)
            while not writer.append(block[at * 64 : at * 64 + 64]):
                waits += 1
            position += 1
        writer.publish()
        if gate == "own":
            words.store(body, AT_APPLIED, position)
        if pause_us:
            time.sleep(pause_us / 1e6)
    print(json.dumps({"written": position, "waits": waits, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()

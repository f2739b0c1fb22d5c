"""One process of a crash test of tethered readers: ``DIRECTORY write COUNT`` or ``DIRECTORY read``.

The directory holds a ring and a consumers segment. ``write`` takes the ring over and writes numbered records up to
position COUNT; ``read`` joins in slot 3, reads a little, leaves and joins again until it is ended.
"""

from __future__ import annotations

import mmap
import struct
import sys
from pathlib import Path

from corelab.memory import memory

from openbell.core import ring, tether, words
from openbell.core.ring import RingWriter
from openbell.core.tether import Tether
from openbell.errors import ReaderCut
from openbell.record import RECORD_SIZE, Kind

CAPACITY = 64
HOLD_NS = 2_000_000
SLOT = 3
_RECORD = struct.Struct("<IBBH7q")
_PADDING = b"\xff" * 4 + bytes(60)


def numbered(position: int) -> bytes:
    """Return the record of a position: every word of it tells which one that is."""
    return _RECORD.pack(position, Kind.TRADE, position % 3, 0, *(position * factor + 1 for factor in range(1, 8)))


class Shared:
    """The mapped files of one test, in `directory`; made empty when `create` is true."""

    def __init__(self, directory: Path, create: bool = False) -> None:
        self.ring = self._map(directory / "ring", ring.size(CAPACITY), create)
        self.consumers = self._map(directory / "consumers", tether.size(1), create)
        if create:
            ring.format(self.ring, CAPACITY, 0)
            tether.format(self.consumers, 1, 1)

    @staticmethod
    def _map(path: Path, size: int, create: bool) -> mmap.mmap:
        if create:
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), size)

    def writer(self) -> RingWriter:
        """Return the ring's producer; it has taken the ring over."""
        whole = memoryview(self.consumers)
        made = RingWriter(
            self.ring,
            memory(64),
            memory(64),
            20_000,
            tethers=whole[tether.TETHERS_AT :],
            readers_bell=whole[tether.PUBLISHED_BELL_AT : tether.PUBLISHED_BELL_AT + tether.BELL_BYTES],
            max_hold_ns=HOLD_NS,
        )
        made.recover()
        return made

    def tether(self, slot: int) -> Tether:
        """Return the hold of the reader in a slot."""
        return Tether(self.consumers, slot, 0, self.ring)

    def wrong(self, data: bytes, first: int) -> list[int]:
        """Return the positions of what is neither the record of its position nor padding."""
        found = []
        for at in range(0, len(data), RECORD_SIZE):
            record, position = data[at : at + RECORD_SIZE], first + at // RECORD_SIZE
            if record not in (numbered(position), _PADDING):
                found.append(position)
        return found


def write(shared: Shared, count: int) -> None:
    writer = shared.writer()
    while writer.position_next < count:
        while not writer.append(numbered(writer.position_next)):
            pass
        if writer.position_next % 5 == 0:
            writer.publish()
    writer.publish()


def read(shared: Shared) -> None:
    reader = shared.tether(SLOT)
    rounds = 0
    while True:
        at = reader.join("oldest" if rounds % 2 else "now")
        try:
            for _ in range(3):
                data = reader.read(7)
                if shared.wrong(data, at):
                    raise RuntimeError(f"torn or foreign records from position {at}")
                at = reader.position
        except ReaderCut:
            pass
        reader.leave()
        rounds += 1


if __name__ == "__main__":
    if not words.crash_hooks_compiled():
        raise RuntimeError("this needs the build with crash points")
    files = Shared(Path(sys.argv[1]))
    what, _, number = sys.argv[2].partition(" ")
    if what == "write":
        write(files, int(number))
    else:
        read(files)

"""The shared memory of a crash test: plain mapped files, laid out as the core lays out a feed's segments."""

from __future__ import annotations

import mmap
from pathlib import Path

from openbell.core import bars, histogram, ring, snapshot, symbols, words

SHARDS = 2
SYMBOLS = [f"{600000 + i}.SH" for i in range(40)]
# Room for symbols that a test inserts.
TABLE = 200
CAPACITY = 128
LEVELS = 3
BARS = 4
RECEIVERS = 2
BELL = 128


def sizes() -> dict[str, int]:
    """Return the size in bytes of each file."""
    rows = symbols.physical_rows(TABLE, SHARDS)
    found = {
        "symbols": symbols.size(TABLE, SHARDS),
        "snapshot": snapshot.size(rows, SHARDS, LEVELS),
        "bars": bars.size(rows, BARS),
        "bells": BELL * (SHARDS + 1),
        "control": 4096,
    }
    for shard in range(SHARDS):
        for receiver in range(RECEIVERS):
            found[ring_name(shard, receiver)] = ring.size(CAPACITY)
        found[f"histogram{shard}"] = histogram.size()
    return found


def ring_name(shard: int, receiver: int = 0) -> str:
    """Return the name of the ring from a receiver to a shard's worker."""
    return f"ring{shard}" if receiver == 0 else f"ring{shard}of{receiver}"


class Shared:
    """The mapped files of one test, in `directory`; made empty when `create` is true."""

    def __init__(self, directory: Path, create: bool = False) -> None:
        self.directory = directory
        self.maps: dict[str, mmap.mmap] = {}
        for name, size in sizes().items():
            path = directory / name
            if create:
                path.write_bytes(bytes(size))
            with path.open("r+b") as file:
                self.maps[name] = mmap.mmap(file.fileno(), size)
        if create:
            rows = symbols.physical_rows(TABLE, SHARDS)
            symbols.format(self.maps["symbols"], TABLE, SHARDS)
            snapshot.format(self.maps["snapshot"], rows, SHARDS, LEVELS)
            bars.format(self.maps["bars"], rows, BARS)
            for shard in range(SHARDS):
                for receiver in range(RECEIVERS):
                    ring.format(self.maps[ring_name(shard, receiver)], CAPACITY, receiver)
            table = self.table()
            for symbol in SYMBOLS:
                table.insert(symbol.encode())

    def table(self) -> symbols.SymbolTable:
        return symbols.SymbolTable(self.maps["symbols"], str(self.directory / "lock"))

    def bell(self, index: int) -> memoryview:
        return memoryview(self.maps["bells"])[BELL * index : BELL * (index + 1)]

    def writer(self, shard: int, receiver: int = 0) -> ring.RingWriter:
        return ring.RingWriter(self.maps[ring_name(shard, receiver)], self.bell(shard), self.bell(SHARDS))

    def stop(self) -> None:
        """Tell harness processes to finish."""
        words.store(self.maps["control"], 0, 1)

    def resume(self) -> None:
        """Take that back, for processes that are started from now on."""
        words.store(self.maps["control"], 0, 0)

    @property
    def stopping(self) -> bool:
        return words.load(self.maps["control"], 0) == 1

"""How large a feed is: the six numbers that its configuration fixes, and the bytes that follow from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from openbell.config import Feed
from openbell.core import bars, ring, snapshot, symbols, tether
from openbell.errors import ConfigError
from openbell.memory.names import CONSUMERS, ring_name
from openbell.memory.segment import HEADER_BYTES, Kind
from openbell.memory.space import MEBIBYTE, free_bytes, mebibytes
from openbell.monitor import control, history, subscriptions


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides how much shared memory a feed takes.

    Parameters
    ----------
    receivers, workers : int
        Processes of each role; there is one ring for each pair.
    symbols_capacity : int
        Symbols the feed can ever hold.
    ring_capacity : int
        Records a ring holds, a power of two; 64 bytes each.
    book_levels : int
        Levels of the order book a side, four columns each.
    connections : int
        Connections of all sources, each with a history of its lives.
    bars : int
        One-minute bars kept a symbol, 64 bytes each; 0: none, and no segment for them.

    Raises
    ------
    ConfigError
        A number is out of range.
    """

    receivers: int = 1
    workers: int = 1
    symbols_capacity: int = 16_384
    ring_capacity: int = 65_536
    book_levels: int = 0
    connections: int = 1
    bars: int = 20

    def __post_init__(self) -> None:
        for name, value, most in (
            ("receivers", self.receivers, control.RECEIVERS_MAX),
            ("workers", self.workers, control.WORKERS_MAX),
            ("connections", self.connections, control.CONNECTIONS_MAX),
        ):
            if not 1 <= value <= most:
                raise ConfigError(f"{name} must be from 1 to {most}, not {value}")
        try:
            ring.size(self.ring_capacity)
            symbols.size(self.symbols_capacity, self.workers)
            snapshot.columns(self.book_levels)
            if self.bars:
                bars.size(self.rows, self.bars)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    @classmethod
    def of(cls, feed: Feed, connections: int) -> Shape:
        """Return the shape of a feed as it is configured."""
        return cls(
            feed.receivers,
            feed.workers,
            feed.symbols_capacity,
            feed.ring_capacity,
            feed.book_levels,
            connections,
            feed.bars,
        )

    @property
    def rows(self) -> int:
        """Rows of the snapshot that symbols can have, holes between the workers' blocks included."""
        return symbols.physical_rows(self.symbols_capacity, self.workers)

    def bodies(self) -> dict[str, tuple[Kind, int]]:
        """Return ``{segment name: (kind, bytes of its body)}`` of all segments of the feed."""
        found = {
            "control": (Kind.CONTROL, control.size(self.workers)),
            "symbols": (Kind.SYMBOLS, symbols.size(self.symbols_capacity, self.workers)),
            "snapshot": (Kind.SNAPSHOT, snapshot.size(self.rows, self.workers, self.book_levels)),
            "subscriptions": (Kind.SUBSCRIPTIONS, subscriptions.size(self.rows)),
            "history": (Kind.HISTORY, history.size(self.connections)),
            CONSUMERS: (Kind.CONSUMERS, tether.size(self.receivers * self.workers)),
        }
        if self.bars:
            found["bars"] = (Kind.BARS, bars.size(self.rows, self.bars))
        for receiver in range(self.receivers):
            for worker in range(self.workers):
                found[ring_name(receiver, worker)] = (Kind.RING, ring.size(self.ring_capacity))
        return found

    @property
    def total_bytes(self) -> int:
        """Bytes of shared memory that the whole feed takes, whole pages, headers included."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(-(-(HEADER_BYTES + body) // page) * page for _, body in self.bodies().values())

    def describe(self) -> str:
        """Say in one line where the bytes go."""
        bodies = self.bodies()
        rings = self.receivers * self.workers
        one = bodies[ring_name(0, 0)][1]
        rest = sum(body for kind, body in bodies.values() if kind not in (Kind.RING, Kind.SNAPSHOT, Kind.BARS))
        kept = f"{self.bars} bars of each = {mebibytes(bodies['bars'][1])}, " if self.bars else ""
        return (
            f"{rings} ring{'s' * (rings > 1)} of {self.ring_capacity:,} records x 64 B = {mebibytes(rings * one)}, "
            f"snapshot of {self.symbols_capacity:,} symbols = {mebibytes(bodies['snapshot'][1])}, {kept}"
            f"symbols, control and the rest = {mebibytes(rest)}"
        )

    def no_space(self, directory: Path, reason: str) -> str:
        """Say that the feed does not fit in `directory`: bytes needed, bytes free, and the ways out."""
        free = free_bytes(directory)
        need = self.total_bytes
        docker = -(-need * 2 // (64 * MEBIBYTE)) * 64
        return (
            f"the feed needs {mebibytes(need)} of shared memory in {directory}, where {mebibytes(free)} is free "
            f"({reason}): {self.describe()}. Lower ring_capacity (now {self.ring_capacity}), symbols_capacity (now "
            f"{self.symbols_capacity}), bars (now {self.bars}) or workers (now {self.workers}), or give it more: "
            f"docker run --shm-size={docker}m, an emptyDir of medium Memory in Kubernetes, or OPENBELL_RUNTIME_DIR on "
            "a larger tmpfs"
        )

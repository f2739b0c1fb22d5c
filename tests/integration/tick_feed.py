"""A feed whose every record is known: the test writes it, and tethered readers hold it as they would a receiver."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.memory.consumers import Consumers
from openbell.memory.names import CONSUMERS, ring_name
from openbell.record import Flag, Kind
from openbell.supervisor import Supervisor

_TRADE = struct.Struct("<IBBHqqqdddd")


class Tape:
    """Writes numbered trades of some symbols into the rings of a feed that has no receiver.

    Attributes
    ----------
    sent : dict of str to list of int
        The numbers of each symbol's trades, in order.
    rise : float
        Added to all prices, each of which is otherwise that of its symbol.
    """

    def __init__(self, supervisor: Supervisor, symbols: int = 40, max_hold_ms: int = 100) -> None:
        generation = supervisor.generation
        control = generation.open_control()
        consumers = Consumers(generation.body(CONSUMERS))
        table = SymbolTable(generation.body("symbols"), generation.symbols_lock)
        self.symbols = [f"{600_000 + index}.SH" for index in range(symbols)]
        self._places = [(table.insert(name.encode()), table.shard_of(name.encode())) for name in self.symbols]
        self._rings = [
            RingWriter(
                generation.body(ring_name(0, worker)),
                control.worker_bell(worker),
                control.receiver_bell(0),
                tethers=consumers.tethers(0, worker),
                readers_bell=consumers.published_bell,
                max_hold_ns=max_hold_ms * 1_000_000,
            )
            for worker in range(supervisor.shape.workers)
        ]
        for ring in self._rings:
            ring.recover()
        self._random = random.Random(7)
        self.sent: dict[str, list[int]] = {name: [] for name in self.symbols}
        self.count = 0
        self.rise = 0.0
        self._received_ns = 0

    def write(self, count: int, symbol: str | None = None) -> None:
        """Publish trades, a few at a time; wait for room as long as it takes."""
        for number in range(count):
            if number % 16 == 0:
                # As a receiver: one time for all that one read brings, and all of it shown before the next one.
                self._received_ns = max(self._received_ns, time.time_ns())
            index = self._random.randrange(len(self.symbols)) if symbol is None else self.symbols.index(symbol)
            row, shard = self._places[index]
            self.count += 1
            record = _TRADE.pack(
                *(row, Kind.TRADE, 1, Flag.HAS_A | Flag.HAS_B, 1, self._received_ns, self.count),
                *(1.0 + index + self.rise, 1.0, 0.0, 0.0),
            )
            while not self._rings[shard].append(record):
                time.sleep(0)
            self.sent[self.symbols[index]].append(self.count)
            if number % 16 == 15:
                self.publish()
        self.publish()

    def publish(self) -> None:
        """Show what is written."""
        for ring in self._rings:
            ring.publish()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write without a pause, in a thread of its own, while the block lasts."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                self.write(64)
                time.sleep(0.001)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

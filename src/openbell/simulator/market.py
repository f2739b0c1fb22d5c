"""The made-up market: paces a trading day's blocks to whoever subscribed, and tells the oracle what was sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from openbell.simulator.floor import Client, Floor
from openbell.simulator.frames import TradeEncoder
from openbell.simulator.lateness import Lateness
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.oracle import Oracle, TradeOracle
from openbell.simulator.trading import Ints, TradeBlock, TradingDay
from openbell.simulator.universe import DEFAULT_SYMBOLS, a_shares

# The pace of the sender: due events leave together, about once this long. A write and its wake-up of the reader cost
# about as much as making a hundred events.
_TICK_S = 0.002


class Market(Protocol):
    """What the simulator can serve.

    Attributes
    ----------
    vendor : str
        Whose dialect it speaks.
    symbols, streams : list of str
        What it is about, and what a client subscribes to in order to get all of it.
    lateness : Lateness
        How late events left.
    sent : int
        Events sent to at least one client so far.
    """

    vendor: str
    symbols: list[str]
    streams: list[str]
    lateness: Lateness
    sent: int

    @property
    def oracle(self) -> Oracle:
        """Return what a correct handler must hold."""
        ...

    async def play(self, floor: Floor) -> None:
        """Serve until the end or until the floor says stop; the oracle is complete when this returns."""
        ...


@dataclass(slots=True)
class _Batch:
    """The trades of one block that one client asked for, as frames."""

    version: int
    chosen: npt.NDArray[np.intp]
    frames: memoryview
    offsets: Ints


class TradeMarket:
    """A trading day, open loop: intended times do not wait for anybody, a late event leaves as soon as it can.

    Parameters
    ----------
    options : SimulatorOptions
        `symbols`, `seed`, `rate`, `seconds`, `open_ms` are used.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        self.vendor = "alltick"
        self.symbols = a_shares(options.symbols or DEFAULT_SYMBOLS)
        self.streams = self.symbols
        self.oracle = TradeOracle(self.symbols)
        self.lateness = Lateness()
        self.sent = 0
        self._options = options
        self._index = {code: index for index, code in enumerate(self.symbols)}
        self._encoder = TradeEncoder(self.symbols)
        # Per client: what it asked for as a mask over the universe, and its frames of the current and the next block.
        self._masks: dict[Client, tuple[int, npt.NDArray[np.bool_]]] = {}
        self._batches: dict[tuple[Client, int], _Batch] = {}

    async def play(self, floor: Floor) -> None:
        """See `Market.play`."""
        options = self._options
        end_ns = round(options.seconds * 1e9) if options.seconds else None
        day = TradingDay(self.symbols, options.seed, options.rate, options.open_ms or time.time_ns() // 1_000_000)
        upcoming: TradeBlock | None = day.opening()
        start_ns = time.monotonic_ns()
        number = 0
        while not floor.stop.is_set():
            block = day.next_block() if upcoming is None else upcoming
            upcoming = None
            length = len(block) if end_ns is None else int(np.searchsorted(block.intended_ns, end_ns))
            sent = np.zeros(len(block), dtype=np.bool_)
            left_ns = np.zeros(len(block), dtype=np.int64)
            position = 0
            try:
                while position < length and not floor.stop.is_set():
                    elapsed_ns = time.monotonic_ns() - start_ns
                    due = int(np.searchsorted(block.intended_ns[:length], elapsed_ns, side="right"))
                    if due == position:
                        if upcoming is None:
                            # Made and encoded while there is time, so that its first event does not wait for it.
                            upcoming = day.next_block()
                            for client in floor.clients:
                                self._batch(client, number + 1, upcoming)
                            continue
                        ahead_s = (int(block.intended_ns[position]) - elapsed_ns) / 1e9
                        # Never long: a stop must be noticed, and a signal does not end a sleep.
                        await asyncio.sleep(min(max(ahead_s, _TICK_S), 0.05))
                    elif floor.room.is_set():
                        self._send(floor.clients, number, block, position, due, sent)
                        left_ns[position:due] = time.monotonic_ns() - start_ns
                        position = due
                        # Requests are read and buffers emptied also when we are behind: whole blocks are due then.
                        await asyncio.sleep(0 if due == length else _TICK_S)
                    else:
                        await floor.room.wait()
            finally:
                self.oracle.apply(block, sent)
                self.lateness.add((left_ns - block.intended_ns)[sent])
            self._forget(floor.clients, number)
            number += 1
            if length < len(block):
                return

    def _send(
        self,
        clients: Sequence[Client],
        number: int,
        block: TradeBlock,
        position: int,
        due: int,
        sent: npt.NDArray[np.bool_],
    ) -> None:
        for client in list(clients):
            batch = self._batch(client, number, block)
            low, high = np.searchsorted(batch.chosen, (position, due))
            if low < high and client.write(batch.frames[batch.offsets[low] : batch.offsets[high]]):
                sent[batch.chosen[low:high]] = True
        self.sent += int(np.count_nonzero(sent[position:due]))

    def _batch(self, client: Client, number: int, block: TradeBlock) -> _Batch:
        batch = self._batches.get((client, number))
        if batch is None or batch.version != client.version:
            chosen = np.flatnonzero(self._mask(client)[block.symbol])
            frames, offsets = self._encoder.encode(block, chosen)
            batch = self._batches[client, number] = _Batch(client.version, chosen, memoryview(frames), offsets)
        return batch

    def _mask(self, client: Client) -> npt.NDArray[np.bool_]:
        version, mask = self._masks.get(client, (-1, np.empty(0, dtype=np.bool_)))
        if version != client.version:
            mask = np.zeros(len(self.symbols), dtype=np.bool_)
            # A code that is not in the universe is ignored, as the vendor does.
            mask[[self._index[code] for code in client.keys if code in self._index]] = True
            self._masks[client] = (client.version, mask)
        return mask

    def _forget(self, clients: Sequence[Client], number: int) -> None:
        self._batches = {key: batch for key, batch in self._batches.items() if key[1] > number and key[0] in clients}
        self._masks = {client: mask for client, mask in self._masks.items() if client in clients}

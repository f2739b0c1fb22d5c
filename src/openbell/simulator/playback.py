"""Serves a capture as its venue would: what a client subscribed to, at the recorded pace or as fast as it is taken."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import numpy as np
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.capture import read_capture
from openbell.errors import CaptureError
from openbell.simulator import alltick, binance
from openbell.simulator.alltick import AllTickDialect
from openbell.simulator.binance import BinanceDialect
from openbell.simulator.events import Dialect, Kind, Message
from openbell.simulator.floor import Client, Floor
from openbell.simulator.frames import text_frame
from openbell.simulator.lateness import Lateness
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.oracle import MessageOracle
from openbell.simulator.pace import SECOND_NS

# Frames are gathered to about this much before they are written.
_BATCH_BYTES = 64 * 1024
# Requests are answered at least this often, also where nobody wants any of the messages.
_BATCH_LINES = 512


def _relabelled(dialect: Dialect, payload: bytes, number: int, symbols: list[str]) -> Message:
    """Read message `number`; deal it out to one of `symbols` if there are any."""
    message = dialect.parse(payload)
    return dialect.relabel(message, symbols[number % len(symbols)]) if symbols else message


class CaptureMarket:
    """A capture, checked from its first to its last line before anything is served.

    Parameters
    ----------
    path : Path
        The capture. Its dialect is that of its first message that has one (AllTick's ``cmd_id``; else Binance's).
    options : SimulatorOptions
        `symbols`, `speed`, `seconds` are used.

    Raises
    ------
    CaptureError
        The file cannot be read, a line is broken, or it holds no market data.
    """

    def __init__(self, path: Path, options: SimulatorOptions) -> None:
        self._path = path
        self._options = options
        self._dialect: Dialect = self._detect()
        self._generated = self._dialect.generated_symbols(options.symbols) if options.symbols else []
        self.vendor = self._dialect.vendor
        self.path = alltick.PATH if self.vendor == "alltick" else binance.PATH
        self.lateness = Lateness()
        self.oracle = MessageOracle()
        self.sent = self.offered_first_second = self.held_ns = self.start_ns = 0
        self.expected_first_second: int | None = None
        self._ready: list[tuple[Message, list[Client]]] = []
        self._outboxes: dict[Client, bytearray] = {}
        self._gathered = 0
        self._intended_ns: list[int] = []
        symbols: dict[str, None] = {}
        streams: dict[str, None] = {}
        for line in read_capture(path):
            message = _relabelled(self._dialect, line.message, line.line - 1, self._generated)
            if message.symbol is not None:
                symbols[message.symbol] = None
            if message.key is not None:
                streams[message.key] = None
        if not streams:
            raise CaptureError(f"{path}: no market data in it; nothing to serve")
        self.symbols, self.streams = list(symbols), list(streams)
        # What is numbered anew begins from the first number once more.
        self._dialect = type(self._dialect)()

    def _detect(self) -> Dialect:
        alltick = AllTickDialect()
        for line in read_capture(self._path):
            if alltick.parse(line.message).kind is not Kind.OTHER:
                return alltick
            if b'"cmd_id"' not in line.message:
                break
        return BinanceDialect()

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Market.admit`."""
        return (alltick.admit if self.vendor == "alltick" else binance.admit)(request, floor)

    def idle(self) -> bool:
        """See `Market.idle`; there is nothing to do ahead."""
        return False

    async def prepare(self, floor: Floor) -> None:
        """See `Market.prepare`."""
        self.start_ns = time.time_ns()

    async def play(self, floor: Floor) -> None:
        """See `Market.play`."""
        options = self._options
        paced = not math.isinf(options.speed)
        end_ns = math.inf if options.seconds is None else options.seconds * 1e9
        first_ns: int | None = None
        start_ns = time.monotonic_ns()
        due_ns = 0
        looked = 0
        try:
            for line in read_capture(self._path, check=False):
                if paced:
                    first_ns = line.receive_ns if first_ns is None else first_ns
                    # Clocks step: a line that seems to be older than the one before it leaves with that.
                    due_ns = max(due_ns, round((line.receive_ns - first_ns) / options.speed))
                    if due_ns >= end_ns:
                        return
                    if due_ns > time.monotonic_ns() - start_ns:
                        self._flush()
                        if not await _sleep_until(start_ns + due_ns, floor):
                            return
                        looked = 0
                if looked == 0 or self._gathered >= _BATCH_BYTES:
                    # Looked at once a batch: between two batches nothing can have changed, as nobody else ran.
                    self._flush()
                    await asyncio.sleep(0)
                    looked = _BATCH_LINES
                    if time.monotonic_ns() - start_ns >= end_ns or not await self._room(floor, paced):
                        return
                looked -= 1
                if self._offer(floor, line.message, line.line - 1) and paced:
                    self._intended_ns.append(start_ns + due_ns)
                    self.offered_first_second += due_ns < SECOND_NS
        finally:
            self._flush()

    async def _room(self, floor: Floor, paced: bool) -> bool:
        """Wait until nobody is behind; return False if the market is to end."""
        while not floor.stop.is_set() and not floor.room.is_set():
            began = time.monotonic_ns()
            await floor.room.wait()
            self.held_ns += time.monotonic_ns() - began
        # The recorded pace goes on while nobody listens. Without a pace there is no time that could pass.
        while not paced and not floor.stop.is_set() and not floor.audience:
            await asyncio.sleep(0.005)
        return not floor.stop.is_set()

    def _offer(self, floor: Floor, payload: bytes, number: int) -> bool:
        """Put a message into the outbox of everybody who wants it."""
        if not floor.clients:
            return False
        message = _relabelled(self._dialect, payload, number, self._generated)
        wanting = [client for client in floor.clients if message.key is None or message.key in client.keys]
        for client in wanting:
            outbox = self._outboxes.setdefault(client, bytearray())
            frame = text_frame(client.render(message))
            outbox += frame
            self._gathered += len(frame)
        if wanting:
            self._ready.append((message, wanting))
        return bool(wanting)

    def _flush(self) -> None:
        """Write the outboxes; only what a transport took counts as sent."""
        gone = {client for client, outbox in self._outboxes.items() if not client.write(outbox)}
        for message, wanting in self._ready:
            if not gone or any(client not in gone for client in wanting):
                self.oracle.apply(message)
                self.sent += 1
        self._outboxes.clear()
        self._ready.clear()
        self._gathered = 0
        if self._intended_ns:
            self.lateness.add(time.monotonic_ns() - np.array(self._intended_ns))
            self._intended_ns.clear()


async def _sleep_until(moment_ns: int, floor: Floor) -> bool:
    """Sleep, noticing a stop; return False on a stop."""
    while (ahead_ns := moment_ns - time.monotonic_ns()) > 0:
        if floor.stop.is_set():
            return False
        await asyncio.sleep(min(max(ahead_ns / 1e9, 0.0005), 0.05))
    return not floor.stop.is_set()

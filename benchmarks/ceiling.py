"""Receiver CPU per tick, socket to ring, against the least that a msgspec-based receiver can cost.

Variants, all in one process, each with a connection of its own to one generator process, in interleaved slices:

raw       the compiled listener takes the frame and looks at nothing;
ceiling   it decodes the frame into the same Structs and drops them;
pipeline  the product: every guard and field, symbol table, two shards, rings with fences, clock once a read;
dict      picows + msgspec + a plain dict, in Python: the best that a user could write without us.

A tick's cost is the process's CPU time (kernel included) over the ticks of the slice.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.generator import SYMBOLS, TICKS_A_FRAME
from openbell.config import Source
from openbell.core import ring, symbols, tether
from openbell.core.baseline import DecodeListener, RawListener
from openbell.core.listener import FrameListener
from openbell.memory.consumers import Consumers
from openbell.record import Kind
from openbell.vendors.alltick import AllTick
from openbell.vendors.plan import Field, Op, Route

RATIO_TARGET = {"batch": 1.35, "single": 1.25}
RECEIVE_BUFFER = 256 * 1024
SHARDS = 2
RING_CAPACITY = 65536


class Tick(msgspec.Struct, gc=False):
    """One element of the plain ``ticks`` array."""

    symbol: str
    price: float
    volume: float
    time: int


class Ticks(msgspec.Struct, gc=False):
    """A frame of the plain ``ticks`` array."""

    ticks: list[Tick]


BATCH_ROUTE = Route(
    name="ticks",
    kind=Kind.TRADE,
    frame=Ticks,
    event=Tick,
    path="ticks",
    many=True,
    fields=(
        Field("symbol", Op.SYMBOL),
        Field("price", Op.PRICE, "a"),
        Field("volume", Op.SIZE, "b"),
        Field("time", Op.TIME),
    ),
    marker=b'{"ticks":',
)


def plan_of(shape: str) -> tuple[Route, ...]:
    """Return the routes of a shape: AllTick's own for one tick a frame."""
    if shape == "batch":
        return (BATCH_ROUTE,)
    vendor = AllTick(Source(vendor="alltick", symbols=("600519.SH",), url="ws://127.0.0.1/"))
    return tuple(entry for entry in vendor.plan() if isinstance(entry, Route) and entry.name == "trade")


class DictListener(WSListener):
    """What a careful user writes: decode, guard the price, keep the last value and the sums of each symbol."""

    def __init__(self, shape: str, on_count: Callable[[int], None]) -> None:
        self.decode = msgspec.json.Decoder(plan_of(shape)[0].frame, strict=False).decode
        self.take = self.take_batch if shape == "batch" else self.take_single
        self.on_count = on_count
        self.frames = 0
        self.rows: dict[str, list[float]] = {}

    def take_batch(self, frame: Any) -> None:
        rows = self.rows
        for tick in frame.ticks:
            price = tick.price
            if 0.0 < price < 1e300:
                row = rows.get(tick.symbol)
                if row is None:
                    rows[tick.symbol] = [price, tick.volume, price * tick.volume, tick.time]
                else:
                    row[0] = price
                    row[1] += tick.volume
                    row[2] += price * tick.volume
                    row[3] = tick.time

    def take_single(self, frame: Any) -> None:
        tick = frame.data
        price = tick.price
        if 0.0 < price < 1e300:
            row = self.rows.get(tick.code)
            if row is None:
                self.rows[tick.code] = [price, tick.volume, tick.turnover, tick.tick_time]
            else:
                row[0] = price
                row[1] += tick.volume
                row[2] += tick.turnover
                row[3] = tick.tick_time

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1
        self.take(self.decode(frame.get_payload_as_bytes()))
        if frame.last_in_buffer:
            self.on_count(self.frames)


class Lane:
    """One variant on its own connection."""

    def __init__(self, name: str, shape: str, port: int) -> None:
        self.name, self.shape, self.port = name, shape, port
        self.costs: list[float] = []
        self.done = asyncio.Event()
        self.wanted = 0
        self.readers: list[ring.RingReader] = []
        self.buffers: list[bytearray] = []
        self.counters = bytearray(1024)

    async def connect(self) -> None:
        self.transport, self.listener = await ws_connect(self._make, f"ws://127.0.0.1:{self.port}/{self.shape}")
        sock = self.transport.underlying_transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def _make(self) -> WSListener:
        if self.name == "raw":
            return RawListener(self._count)
        if self.name == "ceiling":
            return DecodeListener(msgspec.json.Decoder(plan_of(self.shape)[0].frame, strict=False).decode, self._count)
        if self.name == "dict":
            return DictListener(self.shape, self._count)
        return self._pipeline()

    def _pipeline(self) -> FrameListener:
        table = bytearray(symbols.size(16384, SHARDS))
        symbols.format(table, 16384, SHARDS)
        known = symbols.SymbolTable(table, os.devnull)
        for symbol in SYMBOLS:
            known.insert(symbol.encode())
        bells = [bytearray(128) for _ in range(SHARDS + 1)]
        # As in a feed: the places of tethered readers, which nobody has taken, and the bell that readers share.
        body = bytearray(tether.size(SHARDS))
        tether.format(body, 1, SHARDS)
        consumers = Consumers(memoryview(body))
        writers = []
        for shard in range(SHARDS):
            buffer = bytearray(ring.size(RING_CAPACITY))
            ring.format(buffer, RING_CAPACITY, shard)
            writers.append(
                ring.RingWriter(
                    buffer,
                    bells[shard],
                    bells[-1],
                    tethers=consumers.tethers(0, shard),
                    readers_bell=consumers.published_bell,
                )
            )
            writers[-1].recover()
            self.readers.append(ring.RingReader(buffer))
            self.buffers.append(buffer)
        offset = (time.time_ns() - time.monotonic_ns()).to_bytes(8, "little", signed=True)
        self.offset = bytearray(offset)

        def refused() -> None:
            raise RuntimeError("the rings of the benchmark are full")

        return FrameListener(
            plan_of(self.shape),
            known,
            writers,
            self.counters,
            self.offset,
            fallback=lambda listener, payload, why: self.done.set(),
            on_connected=lambda transport: None,
            on_disconnected=lambda code, reason: None,
            on_pressure=refused,
        )

    def _count(self, frames: int) -> None:
        if frames >= self.wanted:
            self.done.set()

    @property
    def records(self) -> int:
        return int.from_bytes(self.counters[24:32], "little")

    async def slice(self, frames: int) -> None:
        """Receive `frames` frames and note what a tick cost."""
        ticks = frames * TICKS_A_FRAME[self.shape]
        self.done.clear()
        self.wanted += frames + 1
        before_records = self.records
        gc.collect()
        before = time.process_time_ns()
        self.transport.send(WSMsgType.TEXT, str(frames))
        await self.done.wait()
        self.costs.append((time.process_time_ns() - before) / ticks)
        if isinstance(self.listener, FrameListener):
            self.listener.publish()
            if self.records - before_records != ticks:
                raise RuntimeError(f"{self.records - before_records} of {ticks} ticks reached the rings")
            published = sum(len(reader.poll(RING_CAPACITY)) for reader in self.readers) // 64
            if published != ticks:
                raise RuntimeError(f"{published} of {ticks} ticks were published")


def paired(ours: list[float], theirs: list[float]) -> float:
    """Return the median over the turns of what ours cost over what theirs cost in the same turn."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


async def measure(shape: str, slices: int, ticks: int, port: int) -> dict[str, Any]:
    """Interleave the variants over one shape and return their costs in ns a tick."""
    lanes = [Lane(name, shape, port) for name in ("raw", "ceiling", "pipeline", "dict")]
    frames = ticks // TICKS_A_FRAME[shape]
    for lane in lanes:
        await lane.connect()
        await lane.slice(frames)  # Warm: caches, allocator, the dict's keys.
        lane.costs.clear()
    for i in range(slices):
        # Turn the order from slice to slice, so that none always follows the same neighbour.
        for lane in lanes[i % len(lanes) :] + lanes[: i % len(lanes)]:
            await lane.slice(frames)
        if sys.stderr.isatty():
            print(f"\r{shape}: slice {i + 1} of {slices}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    result: dict[str, Any] = {}
    for lane in lanes:
        result[f"{lane.name}_ns"] = round(statistics.median(lane.costs), 1)
        result[f"{lane.name}_minimum_ns"] = round(min(lane.costs), 1)
        lane.transport.disconnect()
    costs = {lane.name: lane.costs for lane in lanes}
    # Slices of one turn share the machine's mood, so they are compared with each other first: one lucky slice of one
    # variant decides a ratio of minima, and a machine that changes speed half-way a ratio of medians.
    result["ratio"] = paired(costs["pipeline"], costs["ceiling"])
    result["minimum_ratio"] = round(min(costs["pipeline"]) / min(costs["ceiling"]), 3)
    result["dict_over_pipeline"] = paired(costs["dict"], costs["pipeline"])
    result["slices"] = slices
    result["ticks_a_slice"] = frames * TICKS_A_FRAME[shape]
    return result


def run(as_json: bool, quick: bool) -> int:
    """Run the benchmark; 0 if both ratios are within their targets and a dict is beaten on both shapes."""
    out = sys.stderr if as_json else sys.stdout
    generator = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.generator"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert generator.stdout is not None
        port = int(generator.stdout.readline())
        if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
            os.sched_setaffinity(0, {cores[0]})
            os.sched_setaffinity(generator.pid, {cores[1]})
        slices, ticks = (8, 20_000) if quick else (44, 100_000)
        results = {shape: uvloop.run(measure(shape, slices, ticks, port)) for shape in ("batch", "single")}
    finally:
        generator.kill()
        generator.wait()
    print(
        f"receiver CPU, ns a tick, socket to ring: {platform.platform()}, CPython {platform.python_version()},",
        file=out,
    )
    print(
        f"{os.cpu_count()} cores, {slices} interleaved slices of {ticks:,} ticks, median (minimum); "
        "the ratio is the median of paired slices",
        file=out,
    )
    print(
        f"{'':8}{'raw':>16}{'ceiling':>16}{'pipeline':>16}{'plain dict':>16}{'pipeline/ceiling':>20}{'target':>8}",
        file=out,
    )
    for shape, result in results.items():
        cells = "".join(
            f"{result[f'{name}_ns']:>8.0f} ({result[f'{name}_minimum_ns']:>5.0f})"
            for name in ("raw", "ceiling", "pipeline", "dict")
        )
        print(
            f"{shape:8}{cells}{result['ratio']:>12.3f} ({result['minimum_ratio']:.3f}){RATIO_TARGET[shape]:>7}",
            file=out,
        )
    ok = all(
        result["ratio"] <= RATIO_TARGET[shape] and result["dict_over_pipeline"] > 1 for shape, result in results.items()
    )
    if as_json:
        print(json.dumps({**results, "ok": ok}))
    # A quick run is a smoke test: too short to judge by.
    return 0 if ok or quick else 1

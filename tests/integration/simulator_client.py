"""An independent client of the simulator (the `websockets` library), and the snapshot it would hold."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from openbell.simulator import EMPTY_ROW, Simulator, SimulatorOptions

PATIENCE_S = 20.0


class Run:
    """A simulator in this very event loop, and what it has reported."""

    def __init__(self, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()
        self.simulator = Simulator(SimulatorOptions(**options), self._report)
        self.task = asyncio.create_task(self.simulator.run())

    def _report(self, event: Mapping[str, object]) -> None:
        self.events.append(dict(event))
        self._arrived.set()

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events:
                    if event["event"] == name:
                        return event
                if self.task.done():
                    self.task.result()
                    raise AssertionError(f"the simulator ended without {name!r}: {self.events}")
                self._arrived.clear()
                waiting = asyncio.create_task(self._arrived.wait())
                await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    async def end(self) -> None:
        """Ask it to leave, and wait for it."""
        self.simulator.leave()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Run]:
    """Run a simulator; it is gone afterwards whatever happened."""
    run = Run(**{"start_quiet_s": 0.05} | options)
    try:
        await run.event("ready")
        yield run
    finally:
        if not run.task.done():
            await run.end()


class Process:
    """A simulator as a process of its own, driven by its lines and by signals."""

    def __init__(self, *arguments: object, ignore_sigint: bool = False, commands: str | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openbell.simulator", "--start-quiet", "0.05", *map(str, arguments)],
            stdin=subprocess.DEVNULL if commands is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignore_sigint else None,
        )
        self.pid = self._process.pid
        self._rest = b""
        if self._process.stdin is not None and commands is not None:
            with self._process.stdin as stdin:
                stdin.write(commands.encode())

    def event(self, name: str) -> dict[str, Any]:
        """Read lines up to the event asked for."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                found: dict[str, Any] = json.loads(line)
                if found["event"] == name:
                    return found
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise AssertionError(f"no {name!r} from the simulator")
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise AssertionError(f"the simulator ended without {name!r}: {self.stderr()}")
            self._rest += chunk

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return its exit status."""
        return self._process.wait(PATIENCE_S)

    def stderr(self) -> str:
        """Return what it said on stderr, once it is gone."""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextlib.asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """Connect."""
    if "quote-" in url and "token=" not in url:
        url += "?token=any"
    limits: dict[str, Any] = {"compression": None, "max_size": None, "ping_interval": None, "max_queue": None}
    async with asyncio.timeout(60), connect(url, **limits | options) as connection:
        yield connection


UPGRADE = (
    b"GET /quote-stock-b-ws-api?token=any HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""A handshake for a bare socket."""


def masked_frame(message: bytes) -> bytes:
    """Return a client's text frame of more than 125 bytes; a mask of zeros is a mask, too."""
    return struct.pack(">BBH4x", 0x81, 0x80 | 126, len(message)) + message


def payloads(frames: bytes) -> list[bytes]:
    """Cut a run of unmasked frames of less than 64 KiB into their payloads."""
    found, position = [], 0
    while position < len(frames):
        size, head = frames[position + 1], 2
        if size == 126:
            size, head = int.from_bytes(frames[position + 2 : position + 4], "big"), 4
        found.append(frames[position + head : position + head + size])
        position += head + size
    return found


def request(cmd_id: int, data: object, seq_id: int = 7) -> str:
    """Return an AllTick request."""
    return json.dumps({"cmd_id": cmd_id, "seq_id": seq_id, "trace": f"trace-{seq_id}", "data": data})


def subscription(codes: Iterable[str], seq_id: int = 7) -> str:
    """Return AllTick's subscription of trades."""
    return request(22004, {"symbol_list": [{"code": code} for code in codes]}, seq_id)


async def ask(connection: ClientConnection, message: str) -> dict[str, Any]:
    """Send a request and return what comes next."""
    await connection.send(message)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_S))
    return answer


async def receive(connection: ClientConnection, until: Run) -> list[str]:
    """Receive everything up to the simulator's ``done``, market or not."""
    received: list[str] = []

    async def read() -> None:
        async for message in connection:
            assert isinstance(message, str)
            received.append(message)

    reading = asyncio.create_task(read())
    await until.event("done")
    await until.end()
    await asyncio.wait_for(reading, PATIENCE_S)
    return received


def trades(messages: Iterable[str]) -> list[dict[str, Any]]:
    """Return the data of AllTick's trade pushes."""
    decoded = [json.loads(message) for message in messages]
    return [message["data"] for message in decoded if message["cmd_id"] == 22998]


def snapshot_of_trades(received: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the snapshot that AllTick trades leave, in decimals, a trade at a time."""
    rows: dict[str, dict[str, Any]] = {}
    for data in received:
        add_trade(rows, data["code"], data["price"], data["volume"], data["turnover"], data["tick_time"], data["seq"])
    return finished(rows)


def snapshot_of_streams(messages: Iterable[str]) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Return the snapshot and the counts that combined Binance messages leave."""
    rows: dict[str, dict[str, Any]] = {}
    counts = dict.fromkeys(("sent", "trades", "quotes", "books", "tickers", "ignored", "other"), 0)
    for text in messages:
        message = json.loads(text)
        stream, data = message.get("stream", ""), message.get("data", message)
        counts["sent"] += 1
        if stream.endswith("@bookTicker"):
            counts["quotes"] += 1
            row = rows.setdefault(data["s"], {})
            row |= {"bid": data["b"], "bid_size": data["B"], "ask": data["a"], "ask_size": data["A"]}
            row |= {"quote_sequence": data["u"], "quote_exchange_ns": data.get("T", 0) * 1_000_000}
        elif stream.endswith("@trade"):
            if data.get("X", "MARKET") != "MARKET" or Decimal(data["p"]) <= 0:
                counts["ignored"] += 1
                continue
            counts["trades"] += 1
            add_trade(
                rows, data["s"], data["p"], data["q"], Decimal(data["p"]) * Decimal(data["q"]), data["T"], data["t"]
            )
        else:
            counts["ignored" if "@depth" in stream else "other"] += 1
    return finished(rows), counts


def add_trade(
    rows: dict[str, dict[str, Any]], symbol: str, price: str, size: str, turnover: Any, told: int, n: int
) -> None:
    """Apply a trade to rows of decimals; a time of 13 digits is in ms."""
    value, row = Decimal(price), rows.setdefault(symbol, {})
    row.setdefault("open", value)
    row |= {
        "last": value,
        "size": Decimal(size),
        "trade_exchange_ns": told if told > 10**17 else told * 1_000_000,
        "trade_sequence": n,
    }
    row["high"], row["low"] = max(row.get("high", value), value), min(row.get("low", value), value)
    row["volume"] = row.get("volume", Decimal(0)) + Decimal(size)
    row["turnover"] = row.get("turnover", Decimal(0)) + Decimal(turnover)
    row["trades"] = row.get("trades", 0) + 1


def finished(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows as the oracle's file has them: all columns, floats, null for what never came."""
    empty = {name: None if value != value else value for name, value in EMPTY_ROW.items()}
    return {
        symbol: empty | {name: value if isinstance(value, int) else float(value) for name, value in row.items()}
        for symbol, row in rows.items()
    }


def stated(path: Path) -> dict[str, Any]:
    """Read an oracle's file."""
    oracle: dict[str, Any] = json.loads(path.read_text())
    return oracle


def synthetic_capture(path: Path, messages: int = 2000, symbol: str = "TESTUSDT") -> list[str]:
    """Write a capture with everything the real ones have: trades, tickers, depth, a snapshot, clocks that step back."""
    lines: list[str] = []
    low = symbol.lower()
    for i in range(messages):
        price = f"{100 + (i * 7919) % 997 / 100:.8f}"
        if i % 100 == 50:
            lines.append(json.dumps({"lastUpdateId": i, "bids": [[price, "1.0"]], "asks": []}))
            continue
        if i % 4 == 0:
            data: dict[str, Any] = {
                "e": "trade",
                "E": 1_700_000_000_000 + i,
                "s": symbol,
                "t": 5000 + i // 4,
                "p": price,
            }
            data |= {"q": f"0.{i % 89 + 1:08d}", "T": 1_700_000_000_000 + i - 1, "m": i % 3 == 0, "M": True}
            if i % 40 == 0:
                data |= {"X": "INSURANCE_FUND"} if i % 80 else {"p": "0.00000000"}
            stream = f"{low}@trade"
        elif i % 4 == 3:
            data = {"e": "depthUpdate", "E": 1_700_000_000_000 + i, "s": symbol, "U": i, "u": i, "b": [], "a": []}
            stream = f"{low}@depth@100ms"
        else:
            data = {"u": 9000 + i, "s": symbol, "b": price, "B": "1.5", "a": f"{price[:-1]}1", "A": f"{i % 11}.25"}
            stream = f"{low}@bookTicker"
        # One in ten with spaces, as a relay might write it.
        separators = (", ", ": ") if i % 10 == 0 else (",", ":")
        lines.append(json.dumps({"stream": stream, "data": data}, separators=separators))
    stamps: Iterator[int] = (1_700_000_000_000_000_000 + i * 1000 - (i % 50 == 0) * 100_000 for i in itertools.count())
    content = "".join(f"{stamp} {line}\n" for stamp, line in zip(stamps, lines, strict=False)).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return lines

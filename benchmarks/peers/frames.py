"""The frames that every stack is given, the messages around them, and the snapshot that must come of them.

The frames are those of the ceiling benchmark: AllTick trade pushes (``single``), arrays of 100 ticks (``batch``). A
pool of them is sent over and over, in chunks, so that the result of any number of chunks is known.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from benchmarks.generator import SYMBOLS, TICKS_A_FRAME, batch, framed, single

SUBSCRIBED: Final = "subscribed"
END: Final = "end"
REPORT: Final = "report"
"""What the messages that are no ticks mean: you have subscribed; this slice is over; say what your snapshot holds."""

TRADE: Final = 22998
_ACTIONS: Final = {22005: SUBSCRIBED, 22001: END, 22007: REPORT}
_COMMANDS: Final = {action: command for command, action in _ACTIONS.items()}

Rows = dict[str, tuple[float, float, int]]
"""A snapshot: symbol to last price, sum of the volumes, number of ticks."""


def subscription(shape: str) -> str:
    """Return the message that a client sends once it is connected."""
    if shape == "single":
        codes = [{"code": symbol} for symbol in SYMBOLS]
        return json.dumps({"cmd_id": 22004, "seq_id": 1, "trace": "peers", "data": {"symbol_list": codes}})
    return json.dumps({"action": "subscribe", "symbols": SYMBOLS})


def control(shape: str, action: str) -> bytes:
    """Return the framed message that says `action`: one that the dialect has, and no tick."""
    if shape == "single":
        return _answer(_COMMANDS[action], 1)
    return framed(json.dumps({"action": action, "symbols": len(SYMBOLS)}).encode())


def answered(shape: str, request: str) -> bytes:
    """Return the framed answer to a request, a subscription or a heartbeat: with its number, where it has one."""
    if shape != "single":
        return control(shape, SUBSCRIBED)
    asked = json.loads(request)
    return _answer(asked["cmd_id"] + 1, asked["seq_id"])


def _answer(command: int, number: int) -> bytes:
    answer = {"ret": 200, "msg": "ok", "cmd_id": command, "seq_id": number, "trace": "peers", "data": {}}
    return framed(json.dumps(answer).encode())


def action_of(message: dict[str, Any]) -> str:
    """Return what a decoded message that is no tick says."""
    return str(message["action"] if "action" in message else _ACTIONS[message["cmd_id"]])


@dataclass(frozen=True)
class Pool:
    """The frames of one shape, in chunks: what is sent is always whole chunks, the first after the last.

    Attributes
    ----------
    chunks : list of list of bytes
        Payloads.
    """

    shape: str
    chunks: list[list[bytes]]

    @classmethod
    def of(cls, shape: str) -> Pool:
        """Make the pool of a shape: 20,000 ticks of 5,000 symbols, in 40 chunks (single) or 20 (batch)."""
        make, frames, count = {"single": (single, 500, 40), "batch": (batch, 10, 20)}[shape]
        rng = random.Random(7)
        return cls(shape, [[make(rng) for _ in range(frames)] for _ in range(count)])

    @property
    def ticks_a_chunk(self) -> int:
        """How many ticks a chunk has."""
        return len(self.chunks[0]) * TICKS_A_FRAME[self.shape]

    def framed(self) -> list[bytes]:
        """Return each chunk as the bytes that go into the socket."""
        return [b"".join(map(framed, chunk)) for chunk in self.chunks]

    @cached_property
    def ticks(self) -> list[list[tuple[str, float, float]]]:
        """Symbol, price and volume of each tick of each chunk, as the standard library reads them."""
        return [[tick for payload in chunk for tick in _ticks(payload)] for chunk in self.chunks]


def _ticks(payload: bytes) -> list[tuple[str, float, float]]:
    message = json.loads(payload)
    if "ticks" in message:
        return [(tick["symbol"], float(tick["price"]), float(tick["volume"])) for tick in message["ticks"]]
    tick = message["data"]
    return [(tick["code"], float(tick["price"]), float(tick["volume"]))]


@dataclass
class Oracle:
    """The snapshot that a stack must have after what was sent to it. All volumes are whole, so that sums are exact."""

    pool: Pool
    sent: int = 0
    rows: Rows = field(default_factory=dict)

    def advance(self, chunks: int) -> None:
        """Note that the next `chunks` chunks were sent."""
        size = len(self.pool.chunks)
        turns, rest = divmod(chunks, size)
        if turns:
            # Whole turns first: they end where they began, so the rest still comes after them.
            self._apply([(self.sent + i) % size for i in range(size)], turns)
        self._apply([(self.sent + i) % size for i in range(rest)], 1)
        self.sent += chunks

    def _apply(self, chunks: list[int], times: int) -> None:
        for chunk in chunks:
            for symbol, price, volume in self.pool.ticks[chunk]:
                _, volumes, count = self.rows.get(symbol, (0.0, 0.0, 0))
                self.rows[symbol] = (price, volumes + volume * times, count + times)

    def differences(self, found: Rows) -> list[str]:
        """Return in words what of `found` is not as it must be; nothing if it is equal."""
        return [
            f"{symbol}: {found.get(symbol)} instead of {self.rows.get(symbol)}"
            for symbol in sorted({*self.rows, *found})
            if found.get(symbol) != self.rows.get(symbol)
        ]

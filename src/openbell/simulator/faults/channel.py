"""What lies between the market and one client: everything passes here, is journalled, and may be spoiled on its way."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openbell.reasons import Reason
from openbell.simulator.faults import spoil, wire
from openbell.simulator.faults.journal import (
    BACKWARD,
    CONTROL,
    LANE_AT,
    LANE_MASK,
    LEFT_OUT,
    NUMBERED_LANES,
    WITHHELD,
    Entries,
    JournalWriter,
    refused,
)
from openbell.simulator.faults.kinds import HUGE_BYTES, KINDS, Where
from openbell.simulator.faults.script import Fault
from openbell.simulator.frames import text_frame
from openbell.simulator.grid import Ints

if TYPE_CHECKING:
    from openbell.simulator.floor import Client

_GOING_AWAY = 1001
_LATEST = 8  # messages that may overtake one that is reordered
_HUGE_AHEAD = 1024 * 1024


class Channel:
    """The way to one client.

    Parameters
    ----------
    client : Client
    dialect : str
    unit_ns : int
        What the market's messages count time in.
    streams : sequence of str
        What can be subscribed to, in the market's order.
    journal : JournalWriter
    random_ : Random

    Attributes
    ----------
    active : dict of str to Fault
        What goes wrong at present, by kind.
    """

    def __init__(
        self,
        client: Client,
        dialect: str,
        unit_ns: int,
        streams: Sequence[str],
        journal: JournalWriter,
        random_: random.Random,
    ) -> None:
        self.active: dict[str, Fault] = {}
        self._client, self._dialect, self._unit_ns, self._streams = client, dialect, unit_ns, streams
        self._speech = spoil.SPEECHES[dialect]
        self._numbered = NUMBERED_LANES.get(dialect, ())
        self._journal, self._random = journal, random_
        self._port = client.port
        self._number = journal.open(self._port)
        # Messages that wait to be overtaken, and by how many they still may be.
        self._late: list[tuple[int, bytes, int]] = []
        # What waits while something is sent byte by byte, and whether it is to be sent so.
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._huge = False
        self._dumb = False
        self._hesitates_s = 0.0

    @property
    def port(self) -> int:
        """The client's port."""
        return self._port

    # ---- from the market and the venue ----

    def send(self, frames: memoryview, offsets: Ints, entries: Entries) -> int:
        """Send events, each a frame of its own; return how many bytes went out."""
        client = self._client
        if not client.listening:
            return 0
        if self._silent:
            self._journal.note(self._number, entries | WITHHELD)
            return 0
        if not self._spoiling and not self._late:
            whole = frames[offsets[0] : offsets[-1]]
            self._write(bytes(whole) if self._queue else whole)
            self._journal.note(self._number, entries)
            return len(whole)
        size, plain = 0, bytearray()
        noted: list[int] = []
        for at, entry in enumerate(entries.tolist()):
            for message, what in self._one(bytes(frames[offsets[at] : offsets[at + 1]]), entry):
                size += len(message)
                noted.append(what)
                if self._part("bytes"):
                    self._write(bytes(plain))
                    plain.clear()
                    self._write(message, slowly=True)
                else:
                    plain += message
        self._write(bytes(plain))
        self._note(noted)
        return size

    def reply(self, message: bytes) -> None:
        """Send an answer of the venue."""
        if self._stuck or self._dumb:
            return
        if self._hesitates_s:
            self._spawn(self._say_later(message, self._hesitates_s))
            return
        self._write(text_frame(message))
        self._note([CONTROL])

    def request(self, payload: bytes) -> None:
        """Let the venue answer a request of the client, as well as it may."""
        client, active = self._client, self.active
        if not self._speech.is_subscription(payload):
            client.on_request(payload)
            return
        if (fault := active.get("error-ack")) is not None:
            self.reply(spoil.error(self._dialect, int(fault.value), payload))
            return
        self._dumb = "no-ack" in active
        self._hesitates_s = active["slow-ack"].value if "slow-ack" in active else 0.0
        try:
            client.on_request(payload)
        finally:
            self._dumb, self._hesitates_s = False, 0.0
        if (fault := active.get("truncate")) is not None:
            client.keep_first(fault.value, self._streams)
        if "flap" in active:
            self._spawn(self._end_soon())

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        if not (self._stuck or "never-pong" in self.active):
            self._write(wire.frame(payload, wire.PONG))

    def flush(self) -> None:
        """Send what waits to be overtaken, and what waits byte by byte: nothing comes after it."""
        late, self._late = self._late, []
        if self._silent:
            self._note([entry | WITHHELD for _, _, entry in late if entry >= 0])
        else:
            self._write(b"".join(message for _, message, _ in late))
            self._note([entry for _, _, entry in late])
        queue, self._queue = self._queue, deque()
        if self._client.listening:
            for piece, _ in queue:
                self._client.write(piece)

    def close(self) -> None:
        """Take note that the connection is over."""
        for task in self._tasks:
            task.cancel()
        self._journal.over(self._number)

    # ---- faults ----

    def begin(self, fault: Fault) -> None:
        """Let something go wrong from now on."""
        self.active[fault.kind.name] = fault
        name = fault.kind.name
        if name == "half-open":
            self._client.hold_reading()
        elif name == "reset":
            self._client.reset()
        elif name == "close":
            self._client.hang_up(int(fault.value))
        elif name == "error-close":
            self.reply(spoil.error(self._dialect, int(fault.value)))
            self._client.hang_up()
        elif name == "error":
            self.reply(spoil.error(self._dialect, int(fault.value)))
        elif name == "shutdown":
            self._spawn(self._shut_down(1.0 if math.isinf(fault.length_s) else fault.length_s))
        elif name == "huge-frame":
            self._huge_message(wire.huge_frame(HUGE_BYTES))
        elif name == "huge-fragments":
            self._huge_message(wire.huge_fragments(HUGE_BYTES))

    def end(self, fault: Fault) -> None:
        """Let it go right again."""
        if self.active.get(fault.kind.name) is not fault:
            return
        del self.active[fault.kind.name]
        if fault.kind.name == "half-open":
            self._client.hold_reading(False)
        elif fault.kind.name == "reorder":
            self.flush()

    # ---- inside ----

    @property
    def _silent(self) -> bool:
        """Whether no data goes out."""
        return self._stuck or "mute" in self.active

    @property
    def _stuck(self) -> bool:
        """Whether nothing goes out at all."""
        return self._huge or "half-open" in self.active

    @property
    def _spoiling(self) -> bool:
        return any(name in _SPOILING for name in self.active)

    def _part(self, name: str) -> bool:
        fault = self.active.get(name)
        return fault is not None and self._random.random() < fault.value

    def _one(self, message: bytes, entry: int) -> Iterator[tuple[bytes, int]]:
        """Yield what goes out for one event, in order, and the entries of it."""
        if self._part("hole") and entry >> LANE_AT & LANE_MASK in self._numbered:
            yield b"", entry | WITHHELD | LEFT_OUT
            return
        payload = None
        for name, spoiler in spoil.SPOILERS.items():
            if self._part(name):
                payload, reason = spoiler(wire.payload_of(message), self._speech, self._random)
                entry = entry if reason is None else refused(reason)
                break
        if payload is None and self._part("backward"):
            payload = spoil.backward(wire.payload_of(message), self._speech, self._unit_ns)
            entry |= BACKWARD if payload is not None else 0
        if self._part("fragments"):
            message = wire.fragmented(payload or wire.payload_of(message), self._random)
        elif payload is not None:
            message = wire.frame(payload)
        times = 1 + self._part("duplicate")
        if self._part("reorder"):
            self._late.append((self._random.randint(1, _LATEST), message, entry))
            times -= 1
        for _ in range(times):
            yield message, entry
            yield from self._overtaken()

    def _overtaken(self) -> Iterator[tuple[bytes, int]]:
        """Let one message have passed those that wait; yield those that have waited enough."""
        if not self._late:
            return
        waiting, self._late = self._late, []
        for left, message, entry in waiting:
            if left > 1:
                self._late.append((left - 1, message, entry))
            else:
                yield message, entry

    def _note(self, entries: list[int]) -> None:
        if entries:
            self._journal.note(self._number, np.array(entries, dtype=np.int64))

    def _write(self, data: bytes | memoryview, *, slowly: bool = False) -> None:
        """Write to the connection, behind what waits while something is sent byte by byte."""
        if not data:
            return
        if not slowly and not self._queue:
            self._client.write(data)
            return
        self._queue.append((bytes(data), slowly))
        if len(self._queue) == 1:
            self._spawn(self._byte_by_byte())

    async def _byte_by_byte(self) -> None:
        """Send what waits; what is to be sent slowly in segments of one byte (picows turns Nagle's algorithm off)."""
        client, queue = self._client, self._queue
        while queue and queue is self._queue and client.listening:
            data, slowly = queue[0]
            if not slowly:
                client.write(data)
                queue.popleft()
                continue
            # Below the transport: it would gather the bytes of a turn, and has its own in order first.
            while client.buffered() and client.listening:
                await asyncio.sleep(0.001)
            if not await self._slowly(data):
                return
            await asyncio.sleep(0)

    async def _slowly(self, data: bytes) -> bool:
        """Send the head of the queue byte by byte; return False if that came to nothing."""
        client, queue, sent = self._client, self._queue, 0
        while sent < len(data):
            if queue is not self._queue or not client.listening:
                return False
            try:
                sent += os.write(client.descriptor, data[sent : sent + 1])
            except BlockingIOError:
                # Whoever flushes meanwhile goes on where this stopped.
                queue[0] = (data[sent:], True)
                await asyncio.sleep(0.001)
            except OSError:
                # The client is gone; the transport will say so.
                return False
        queue.popleft()
        return True

    def _huge_message(self, chunks: Iterator[bytes]) -> None:
        self.flush()
        self._note([refused(Reason.TOO_LARGE)])
        self._huge = True
        self._spawn(self._pump(chunks))

    async def _pump(self, chunks: Iterator[bytes]) -> None:
        """Send a message of which nobody wants to see the end, as fast as the client takes it."""
        client = self._client
        for chunk in chunks:
            while client.buffered() > _HUGE_AHEAD and client.listening:
                await asyncio.sleep(0.001)
            if not client.listening:
                return
            client.write(chunk)
            await asyncio.sleep(0)
        self._huge = False

    async def _say_later(self, message: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._client.listening:
            self.reply(message)

    async def _end_soon(self) -> None:
        await asyncio.sleep(self._random.uniform(0.02, 0.2))
        if self._client.listening:
            if self._random.random() < 0.5:
                self._client.reset()
            else:
                self._client.hang_up(_GOING_AWAY)

    async def _shut_down(self, seconds: float) -> None:
        self.reply(spoil.shutdown(time.time_ns() // 1_000_000, getattr(self._client, "raw", False)))
        await asyncio.sleep(seconds)
        if self._client.listening:
            self._client.hang_up(_GOING_AWAY)

    def _spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_SPOILING = frozenset(name for name, kind in KINDS.items() if kind.where is Where.MESSAGES)

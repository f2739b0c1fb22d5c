"""Lets things go wrong on time: it keeps the schedule, the channels of all clients, and the door."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from openbell.errors import ConfigError
from openbell.simulator.door import Door
from openbell.simulator.faults.channel import Channel
from openbell.simulator.faults.journal import JournalWriter
from openbell.simulator.faults.kinds import Where
from openbell.simulator.faults.script import Fault, ordered, parse_fault
from openbell.simulator.floor import Client, Floor, Way

if TYPE_CHECKING:
    from openbell.simulator.options import SimulatorOptions

_LOOK_S = 0.005


class Conductor:
    """Everything about one market that goes wrong.

    Parameters
    ----------
    options : SimulatorOptions
        `schedule`, `journal`, `dialect`, `seed` and where to listen are used.
    unit_ns : int
        What the market's messages count time in.
    streams : sequence of str
        What can be subscribed to, in the market's order.
    floor : Floor
    report : callable
        Told of every fault that begins: its kind, its text, when, the clients' ports, how long.
    admit : callable
        Lets connections in that nothing is to happen to; see `picows.ws_create_server`.

    Raises
    ------
    ConfigError
        There is no such fault in this dialect.
    JournalError
        The journal cannot be written.
    """

    def __init__(
        self,
        options: SimulatorOptions,
        unit_ns: int,
        streams: Sequence[str],
        floor: Floor,
        report: Callable[..., None],
        admit: Callable[[WSUpgradeRequest], Any],
    ) -> None:
        self._faults = ordered(options.schedule)
        self._dialect, self._unit_ns, self._streams = options.dialect, unit_ns, streams
        self._floor, self._report, self._admit = floor, report, admit
        self._random = random.Random(options.seed)
        self._standing: dict[str, Fault] = {}
        # What begins before anybody could be there happens to all that come.
        self._early = True
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        for fault in self._faults:
            self._check(fault)
        self._door = Door(self._let_in, options.host, options.port)
        self._journal = JournalWriter(options.journal)
        floor.new_way = self._new_way

    async def listen(self) -> int:
        """Begin to listen, and to carry out the schedule; return the port.

        Raises
        ------
        OSError
            The port cannot be taken.
        """
        await self._door.open()
        self._spawn(self._run())
        return self._door.port

    def market_opens(self) -> None:
        """Start the clock of the schedule."""
        self._open.set()

    def _let_in(self, request: WSUpgradeRequest) -> Any:
        fault = self._standing.get("http-429")
        if fault is None:
            return self._admit(request)
        response = WSUpgradeResponse.create_error_response(
            HTTPStatus.TOO_MANY_REQUESTS, b"too many requests", {"Retry-After": f"{math.ceil(fault.value)}"}
        )
        return WSUpgradeResponseWithListener(response, None)

    async def _run(self) -> None:
        waiting = list(self._faults)
        while waiting and waiting[0].at_s == 0:
            await self._begin(waiting.pop(0))
        self._early = False
        await self._open.wait()
        opened = time.monotonic()
        for fault in waiting:
            await asyncio.sleep(max(0.0, opened + fault.at_s - time.monotonic()))
            # It must happen to somebody, or it would be no fault.
            while not self._victims(fault):
                await asyncio.sleep(_LOOK_S)
            await self._begin(fault)

    async def command(self, line: str) -> None:
        """Carry out one line: a fault, which begins now whatever its time is, or ``end KIND``.

        Raises
        ------
        ConfigError
            It is neither.
        """
        words = line.split()
        if words[:1] == ["end"] and len(words) == 2:
            await self.end_all(parse_fault(words[1]).kind.name)
        else:
            fault = parse_fault(line)
            self._check(fault)
            await self._begin(fault)

    async def end_all(self, kind: str) -> None:
        """End a kind of fault wherever it is."""
        if kind in self._standing:
            await self._end(self._standing[kind], ())
        for channel in self._channels():
            if kind in channel.active:
                channel.end(channel.active[kind])

    def stop(self) -> None:
        """Listen no more; nothing else goes wrong. Connections stay as they are."""
        for task in self._tasks:
            task.cancel()
        self._door.close()

    def write_journal(self) -> None:
        """Write what is journalled so far to its file.

        Raises
        ------
        JournalError
            It cannot be written.
        """
        self._journal.flush()

    def close(self) -> None:
        """Close the journal; nothing more can be noted."""
        self._journal.close()

    def _check(self, fault: Fault) -> None:
        if not fault.kind.fits(self._dialect):
            raise ConfigError(
                f"fault {fault.kind.name!r}: there is no such thing in the dialect {self._dialect!r}, only in "
                f"{', '.join(fault.kind.dialects)}"
            )

    def _new_way(self, client: Client) -> Way:
        channel = Channel(client, self._dialect, self._unit_ns, self._streams, self._journal, self._random)
        for fault in self._standing.values():
            channel.begin(fault)
        return channel

    def _channels(self) -> list[Channel]:
        return [client.way for client in self._floor.clients if isinstance(client.way, Channel)]

    def _victims(self, fault: Fault) -> list[Client]:
        """Return to whom it happens: subscribers that are there."""
        # Who is half open already is gone for its client, which came back as another one.
        gone = {id(channel) for channel in self._channels() if "half-open" in channel.active}
        there = [
            client for client in self._floor.clients if client.keys and client.listening and id(client.way) not in gone
        ]
        if fault.client is None or not there:
            return there
        return [there[fault.client % len(there)]]

    async def _begin(self, fault: Fault) -> None:
        victims = self._victims(fault)
        self._report(
            "fault",
            kind=fault.kind.name,
            fault=str(fault),
            at_ns=time.time_ns(),
            ports=[client.port for client in victims],
            seconds=None if math.isinf(fault.length_s) else fault.length_s,
        )
        channels = [client.way for client in victims if isinstance(client.way, Channel)]
        if fault.kind.where is Where.DOOR or self._early:
            self._standing[fault.kind.name] = fault
        if fault.kind.where is Where.DOOR:
            if fault.kind.name == "no-upgrade":
                self._door.shut()
            for client in victims:
                client.hang_up(1001)
        else:
            for channel in channels:
                channel.begin(fault)
        if not math.isinf(fault.length_s):
            self._spawn(self._end_later(fault, channels))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_later(self, fault: Fault, channels: Sequence[Channel]) -> None:
        await asyncio.sleep(fault.length_s)
        await self._end(fault, channels)

    async def _end(self, fault: Fault, channels: Sequence[Channel]) -> None:
        if self._standing.get(fault.kind.name) is fault:
            del self._standing[fault.kind.name]
            if fault.kind.name == "no-upgrade":
                await self._door.reopen()
            channels = self._channels()
        for channel in channels:
            channel.end(fault)

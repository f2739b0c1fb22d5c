"""The simulator's process: listens, starts the market when everybody is there, ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

import msgspec
import uvloop
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener, ws_create_server

from openbell.errors import ConfigError
from openbell.simulator.alltick import AllTickClient
from openbell.simulator.coins import CoinVenue
from openbell.simulator.faults.conductor import Conductor
from openbell.simulator.faults.market import FaultyMarket
from openbell.simulator.floor import OPENING_PATIENCE_BYTES, PATIENCE_BYTES, Client, Floor
from openbell.simulator.market import MadeMarket, Market
from openbell.simulator.options import SimulatorError, SimulatorOptions
from openbell.simulator.oracle import write_oracle, write_private
from openbell.simulator.playback import CaptureMarket
from openbell.simulator.relaying import RelayVenue
from openbell.simulator.relays import RELAYS
from openbell.simulator.stocks import StockVenue
from openbell.simulator.venue import Venue

Report = Callable[[Mapping[str, object]], None]
"""Takes what the simulator has to say, an event at a time."""

# Clients have the end of a market in their buffers yet, and share this machine's processors: the account can wait.
_REST_S = 0.1
_PROGRESS_S = 1.0
_WATCH_S = 0.25


def print_report(event: Mapping[str, object]) -> None:
    """Print an event as one line of JSON, at once."""
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


class Simulator:
    """One run: listen, wait for subscriptions, play, state the oracle, close.

    Parameters
    ----------
    options : SimulatorOptions
        What to serve. A capture is read once from end to end here.
    report : callable
        Takes the events ``ready``, ``started``, ``progress`` and ``done``; see docs/simulator.md for their fields. If
        nobody takes them any more (`BrokenPipeError`), the simulator stops.

    Raises
    ------
    CaptureError, ConfigError
        What is to be served cannot be.
    """

    def __init__(self, options: SimulatorOptions, report: Report = print_report) -> None:
        self._options = options
        self._report_to: Report | None = report
        self._market: Market
        if options.capture is not None:
            self._market = CaptureMarket(options.capture, options)
        else:
            self._market = (FaultyMarket if options.faulty else MadeMarket)(_venue(options), options)
        opening = options.capture is None and options.profile == "open"
        self._floor = Floor(OPENING_PATIENCE_BYTES if opening else PATIENCE_BYTES)
        self._conductor: Conductor | None = None
        if isinstance(self._market, FaultyMarket):
            self._conductor = Conductor(
                options, self._market.unit_ns, self._market.streams, self._floor, self._report, self._admit
            )
        self._leave = asyncio.Event()
        self._playing = False
        self._started_at = 0.0

    def end_market(self) -> None:
        """End the market now; connections stay as they are."""
        self._floor.end()

    def leave(self) -> None:
        """End the market, then close the connections and return from `run`."""
        self._leave.set()
        self.end_market()

    def signalled(self) -> None:
        """Leave; asked again, do not wait any longer for clients that take nothing."""
        self._floor.hurried = self._leave.is_set()
        self.leave()

    async def run(self) -> None:
        """Serve until the end.

        Raises
        ------
        SimulatorError
            The port cannot be taken, or a result file cannot be written.
        """
        options = self._options
        try:
            port, stop_listening = await self._listen()
        except OSError as error:
            raise SimulatorError(
                f"cannot listen on {options.host}:{options.port}: {error.strerror or error}; choose another port"
            ) from error
        watch = asyncio.create_task(self._watch())
        try:
            self._announce(port)
            await self._wait_for_subscriptions()
            await self._play()
            if options.linger:
                await self._leave.wait()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            stop_listening()
            await self._floor.close()
            if self._conductor is not None:
                self._conductor.close()

    async def command(self, line: str) -> None:
        """Let something go wrong now, or end it: ``malformed=0.5+2s``, ``end mute``.

        Raises
        ------
        ConfigError
            That is nothing that can be done.
        """
        if self._conductor is None:
            raise ConfigError("this market has no faults; start the simulator with faults, or with commands")
        await self._conductor.command(line)

    async def _listen(self) -> tuple[int, Callable[[], None]]:
        """Begin to listen; return the port, and what ends it."""
        if self._conductor is not None:
            return await self._conductor.listen(), self._conductor.stop
        host, port = self._options.host, self._options.port
        server = await ws_create_server(self._admit, host, port, logger_name="openbell.simulator")
        return server.sockets[0].getsockname()[1], server.close

    def _admit(self, request: WSUpgradeRequest) -> Client | WSUpgradeResponseWithListener | None:
        return self._market.admit(request, self._floor)

    def _announce(self, port: int) -> None:
        market, options = self._market, self._options
        host = f"[{options.host}]" if ":" in options.host else options.host
        lists: dict[str, object] = {"symbols": market.symbols, "streams": market.streams}
        if options.symbols_file is not None:
            write_private(options.symbols_file, msgspec.json.encode(lists))
            lists = {"symbols_file": str(options.symbols_file)}
        self._report("ready", url=f"ws://{host}:{port}{market.path}", vendor=market.vendor, **lists)

    async def _wait_for_subscriptions(self) -> None:
        """Wait until everything is subscribed, or until subscribers are done subscribing."""
        floor, loop, everything = self._floor, asyncio.get_running_loop(), set(self._market.streams)
        checked: float | None = None
        while not floor.stop.is_set():
            if floor.audience and floor.subscribed_at is not None:
                if checked != floor.subscribed_at and everything <= floor.subscriptions():
                    return
                checked = floor.subscribed_at
                if loop.time() - floor.subscribed_at >= self._options.start_quiet_s:
                    return
            # What can be made ahead is made while there is nothing else to do.
            await asyncio.sleep(0 if self._market.idle() else 0.002)

    async def _play(self) -> None:
        floor, market, options = self._floor, self._market, self._options
        floor.disconnects = 0
        cpu = time.process_time()
        started = time.monotonic()
        if not floor.stop.is_set():
            await market.prepare(floor)
            started = self._started_at = time.monotonic()
            self._report("started", start_ns=market.start_ns)
            if self._conductor is not None:
                self._conductor.market_opens()
            self._playing = True
            await market.play(floor)
            self._playing = False
        seconds = time.monotonic() - started
        flushed = await floor.drain(options.flush_timeout_s)
        if not floor.stop.is_set():
            await asyncio.sleep(_REST_S)
        oracle = market.oracle
        cpu = time.process_time() - cpu
        if options.oracle is not None:
            write_oracle(options.oracle, market.vendor, oracle)
        if self._conductor is not None:
            self._conductor.write_journal()
        self._report(
            "done",
            **dataclasses.asdict(oracle.counts),
            oracle=str(options.oracle) if options.oracle else None,
            seconds=round(seconds, 6),
            cpu_seconds=round(cpu, 6),
            offered_first_second=market.offered_first_second,
            expected_first_second=market.expected_first_second,
            late_ns=market.lateness.summary(),
            held_ns=market.held_ns,
            disconnects=floor.disconnects,
            flushed=flushed,
            stopped=floor.stop.is_set(),
        )

    async def _watch(self) -> None:
        """Report progress, drop connections without heartbeat, and leave when orphaned."""
        options, floor, loop = self._options, self._floor, asyncio.get_running_loop()
        heartbeats = options.heartbeat_timeout_s
        reported = loop.time()
        while True:
            await asyncio.sleep(_WATCH_S)
            now = loop.time()
            if options.parent is not None and os.getppid() != options.parent:
                self.leave()
            for client in list(floor.clients):
                client.watch(now)
            if heartbeats:
                for client in list(floor.clients):
                    if isinstance(client, AllTickClient) and now - client.last_heartbeat > heartbeats:
                        client.cut_off()
            if self._playing and now - reported >= _PROGRESS_S:
                reported = now
                seconds = round(time.monotonic() - self._started_at, 3)
                self._report("progress", sent=self._market.sent, seconds=seconds, clients=len(floor.clients))

    def _report(self, event: str, **fields: object) -> None:
        if self._report_to is None:
            return
        try:
            self._report_to({"event": event, **fields})
        except BrokenPipeError:
            # Whoever started us is gone. Silence the flush at exit too, and end as if asked to.
            self._report_to = None
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            self.leave()


def _venue(options: SimulatorOptions) -> Venue:
    """Return the market to be made up, in its dialect."""
    if options.dialect in RELAYS:
        return RelayVenue(options)
    return CoinVenue(options) if options.dialect == "binance" else StockVenue(options)


def serve(options: SimulatorOptions, report: Report = print_report) -> None:
    """Run a simulator in this process until its end.

    SIGTERM and SIGINT end the market, state the oracle, close the connections and return; the second one waits no
    longer for clients that do not take what was written. SIGUSR1 ends the market and
    states the oracle but leaves the connections open. The handlers are installed also where SIGINT was ignored, as it
    is in a background job of a shell.

    Raises
    ------
    CaptureError, ConfigError, SimulatorError
        See `Simulator`.
    """

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        simulator = Simulator(options, report)
    except KeyboardInterrupt:
        # Asked to end while a long capture was checked: nothing was served yet.
        return

    async def main() -> None:
        loop = asyncio.get_running_loop()
        # Held: the loop itself forgets a task that waits for lines.
        obeying = loop.create_task(_obey(simulator, report)) if options.commands else None
        loop.add_signal_handler(signal.SIGTERM, simulator.signalled)
        loop.add_signal_handler(signal.SIGINT, simulator.signalled)
        loop.add_signal_handler(signal.SIGUSR1, simulator.end_market)
        await simulator.run()
        if obeying is not None:
            obeying.cancel()

    uvloop.run(main())


async def _obey(simulator: Simulator, report: Report) -> None:
    """Carry out the lines of stdin."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            await simulator.command(line.decode("utf-8", "replace").strip())
        except ConfigError as error:
            report({"event": "refused", "message": str(error)})

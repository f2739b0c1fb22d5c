"""A receiver: it keeps its connections up, and their records flowing into the rings."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from openbell.assignment import Assigned, assign
from openbell.config import Config, Source
from openbell.control.server import Controlled, ControlServer
from openbell.core import ring
from openbell.core.gate import Cuts
from openbell.core.holes import Holes
from openbell.core.overlap import Overlap
from openbell.core.ring import RingWriter
from openbell.core.snapshot import SnapshotReader
from openbell.core.symbols import SymbolTable
from openbell.errors import OpenBellError
from openbell.lifeline import EXIT_ORPHANED, Lifeline
from openbell.memory.consumers import Consumers
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import CONSUMERS, control_socket, desired_name, receiver_lock, ring_name
from openbell.memory.segment import Kind
from openbell.monitor.control import Control, ProcessSlot, ProcessState, ReceiverCounters
from openbell.monitor.history import History
from openbell.monitor.subscriptions import Subscriptions
from openbell.receiver.board import Board
from openbell.receiver.clock import MarketClock
from openbell.receiver.concerned import concerned_symbols
from openbell.receiver.connection import Connection
from openbell.receiver.desired import Desired
from openbell.receiver.gaps import COUNT_UNKNOWN
from openbell.receiver.hours import Hours
from openbell.receiver.listeners import UNCONNECTED, Hooks, Listener, compiled_listeners
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.sampling import Granted, Sampler, Stamps
from openbell.receiver.subscriber import Subscriber
from openbell.receiver.turns import Turns
from openbell.record import GapReason
from openbell.vendors import Vendor, create
from openbell.vendors.plan import Route

HEARTBEAT_S = 0.1
HEARTBEAT_NS = 100_000_000
_DRAIN_S = 0.001


def main(argv: Sequence[str]) -> int:
    """Run a receiver until it is told to stop, or its supervisor is gone.

    Parameters
    ----------
    argv : sequence of str
        As `openbell.spawn.arguments`, then the log level, then ``run``.

    Returns
    -------
    int
        The exit status: 0 all that was read is published, or counted as lost; 2 it cannot work; 3 the supervisor is
        gone.
    """
    lifeline = Lifeline(argv)
    level, _ = lifeline.rest
    where = f"receiver-{lifeline.index}"
    logging.basicConfig(level=int(level), format=f"%(asctime)s %(levelname)s {where}: %(message)s", stream=sys.stderr)
    try:
        with RoleLock(lifeline.directory / receiver_lock(lifeline.index)):
            return _run(lifeline)
    except OpenBellError as error:
        return lifeline.refuse(error)


def _run(lifeline: Lifeline) -> int:
    generation = Generation(lifeline.directory, lifeline.generation)
    control = generation.open_control(writable=True)
    index = lifeline.index
    slot = control.receiver(index)
    slot.begin(os.getpid())
    bodies = [generation.open(ring_name(index, worker), Kind.RING, writable=True) for worker in range(control.workers)]
    began_before = slot.restarts > 0 or any(ring.positions(body)["head"] for body in bodies)
    config = Config.from_json(generation.config)
    consumers = Consumers(generation.open(CONSUMERS, Kind.CONSUMERS, writable=True))
    cuts = Cuts()
    rings = [
        RingWriter(
            body,
            control.worker_bell(worker),
            control.receiver_bell(index),
            tethers=consumers.tethers(index, worker),
            readers_bell=consumers.published_bell,
            max_hold_ns=config.feed.max_hold_ms * 1_000_000,
            cuts=cuts,
        )
        for worker, body in enumerate(bodies)
    ]
    for writer in rings:
        writer.recover()
    symbols = SymbolTable(generation.open("symbols", Kind.SYMBOLS, writable=True), generation.symbols_lock)
    counters = control.receiver_counters(index)
    make_listener = compiled_listeners(symbols, rings, counters.memory, control.clock_offset)
    histories = generation.open("history", Kind.HISTORY, writable=True)
    granted = generation.open("subscriptions", Kind.SUBSCRIPTIONS, writable=True)
    stamps = _stamps(generation, symbols)
    shared = _Shared(config, control, index, symbols, make_listener, histories, granted, stamps, generation.path)
    connections, concerned = _connections(shared)
    # A listener of its own: connections come and go, and with them their listeners.
    teller = make_listener(UNCONNECTED)
    if began_before:
        # What came between the death of our predecessor and now is lost, and cannot be counted. Where there are other
        # receivers, theirs is not concerned.
        lost = None if config.feed.receivers == 1 else chain.from_iterable(keys() for keys in concerned)
        teller.publish_gap(GapReason.RECEIVER_RESTART, COUNT_UNKNOWN, lost)

    def waiting() -> bool:
        return any(connection.waiting for connection in connections)

    clock = MarketClock(config.schedule, teller, lambda: symbols.count, waiting)
    numbers = {assigned.index: assigned.number for assigned in assign(config)}
    controlled = [Controlled(at, numbers[at], each) for at, each in shared.subscribers.items()]
    control_server = ControlServer(generation.path / control_socket(index), controlled)
    work = _Work(connections, clock, teller, rings, control_server)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(lifeline, slot, counters, work))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a receiver's connections have in common."""

    config: Config
    control: Control
    index: int
    symbols: SymbolTable
    make_listener: Callable[[Hooks], Listener]
    histories: memoryview
    subscriptions: memoryview
    stamps: Stamps
    path: Path
    subscribers: dict[int, Subscriber] = field(default_factory=dict)


def _stamps(generation: Generation, symbols: SymbolTable) -> Stamps:
    """Return what tells which symbols have had news: when the last of their market data was received."""
    body = generation.open("snapshot", Kind.SNAPSHOT)
    reader = SnapshotReader(body)
    at = reader.column_offset("receive_ns")
    return Stamps(body[at : at + reader.rows * 8].cast("q"), symbols.lookup)


def _connections(shared: _Shared) -> tuple[list[Connection], list[Callable[[], Collection[bytes]]]]:
    """Make the connections that this receiver runs; all their symbols have rows before they are used.

    The second list says, of each of them, whom an interruption concerns.
    """
    config, symbols = shared.config, shared.symbols
    counters = shared.control.receiver_counters(shared.index)
    turns: dict[Path | None, Turns] = {}
    connections, concerned = [], []
    prefixes = {source.prefix for source in config.sources}
    for assigned in assign(config):
        if assigned.receiver != shared.index:
            continue
        source = assigned.source
        vendor = create(source)
        block = shared.control.connection(assigned.index)
        block.label = assigned.label(vendor.name)
        subscriber = shared.subscribers[assigned.index] = _subscriber(shared, assigned, vendor, turns)
        holes = _holes(shared, vendor, assigned.index, subscriber)
        for key in subscriber.keys.values():
            symbols.insert(key)
        concerned.append(concerned_symbols(source, subscriber, prefixes, symbols))
        connections.append(
            Connection(
                source,
                vendor,
                shared.make_listener,
                block,
                counters,
                subscriber=subscriber,
                overflow=source.overflow or config.feed.overflow,
                book_levels=config.feed.book_levels,
                concerned=concerned[-1] if config.connections > 1 else None,
                history=History(shared.histories, assigned.index),
                hours=Hours(config.schedule),
                make_sampler=partial(_sampler, shared, assigned.index, source, vendor),
                make_overlap=lambda: Overlap(symbols.rows),
                holes=holes,
            )
        )
    return connections, concerned


def _holes(shared: _Shared, vendor: Vendor, connection: int, subscriber: Subscriber) -> Holes | None:
    """Return what follows the numbers of a connection, if its vendor numbers anything without a break."""
    streams = sum(isinstance(entry, Route) and entry.consecutive for entry in vendor.plan())
    if not streams:
        return None
    symbols = shared.symbols
    holes = Holes(symbols.rows, streams, shared.control.connection(connection).hole_counters)

    def forget(key: bytes) -> None:
        row = symbols.lookup(key)
        if row >= 0:
            holes.forget(row)

    subscriber.on_wanted = forget
    return holes


def _subscriber(shared: _Shared, assigned: Assigned, vendor: Vendor, turns: dict[Path | None, Turns]) -> Subscriber:
    """Return what knows the subscriptions of a connection; those of one account share their `turns`."""
    source = assigned.source
    mine = Turns.of(source, vendor.secret(), vendor.spacing_s)
    return Subscriber(
        source,
        vendor,
        shared.control.connection(assigned.index),
        RateLimitedLog(logging.getLogger("openbell.receiver")),
        turns=mine if mine.path is None else turns.setdefault(mine.path, mine),
        board=Board(shared.symbols, Subscriptions(shared.subscriptions), source.prefix, assigned.index),
        desired=Desired(shared.path / desired_name(assigned.index)),
    )


def _sampler(shared: _Shared, connection: int, source: Source, vendor: Vendor, subscriber: Subscriber) -> Sampler:
    """Return what looks after the single symbols of a connection."""
    asked = Granted(
        Subscriptions(shared.subscriptions),
        shared.subscriptions,
        connection,
        subscriber,
        shared.stamps,
        acknowledges=vendor.manner.acknowledges,
    )
    return Sampler(source, vendor, asked, shared.control.connection(connection), shared.stamps)


class _Work:
    """What a receiver does while it lives.

    Parameters
    ----------
    connections : list of Connection
    clock : MarketClock
    teller : Listener
        No connection's own; what waits in it goes into the rings before anything else.
    rings : list of RingWriter
        One a worker.
    control : ControlServer
        By which subscriptions are changed.
    """

    def __init__(
        self,
        connections: list[Connection],
        clock: MarketClock,
        teller: Listener,
        rings: list[RingWriter],
        control: ControlServer,
    ) -> None:
        self._control = control
        self._connections = connections
        self._clock = clock
        self._teller = teller
        self._rings = rings
        self._stopping = False

    async def run(self) -> None:
        """Work until :meth:`stop`."""
        while self._teller.drain() and not self._stopping:
            # A ring is full: its worker is behind, or dead and about to be started again.
            await asyncio.sleep(_DRAIN_S)
        async with asyncio.TaskGroup() as group:
            clock = group.create_task(self._clock.run())
            await self._control.start()
            try:
                await asyncio.gather(*(connection.run() for connection in self._connections))
            finally:
                await self._control.stop()
            clock.cancel()
        for writer in self._rings:
            writer.publish()

    async def stop(self) -> None:
        """End :meth:`run`. All connections at once: each has the whole time that a stop may take."""
        self._stopping = True
        await asyncio.gather(*(connection.stop() for connection in self._connections))


async def _serve(lifeline: Lifeline, slot: ProcessSlot, counters: ReceiverCounters, work: _Work) -> int:
    """Run the connections; return the exit status."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    orphaned = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    if lifeline.stopping:
        # Asked before the loop could hear it.
        asked.set()
    loop.add_reader(lifeline.fileno(), orphaned.set)
    heart = asyncio.create_task(_beat(slot, counters))
    slot.state = ProcessState.RUNNING
    working = asyncio.create_task(work.run())
    waits = [asyncio.create_task(asked.wait()), asyncio.create_task(orphaned.wait())]
    try:
        await asyncio.wait([working, *waits], return_when=asyncio.FIRST_COMPLETED)
        if orphaned.is_set():
            # Nobody applies what we would publish: there is nothing left to be orderly about.
            return EXIT_ORPHANED
        if not working.done():
            slot.state = ProcessState.STOPPING
            stopping = asyncio.create_task(work.stop())
            await asyncio.wait([stopping, working, waits[1]], return_when=asyncio.FIRST_COMPLETED)
            if orphaned.is_set():
                return EXIT_ORPHANED
            await stopping
        await working
        return 0
    finally:
        loop.remove_reader(lifeline.fileno())
        pending = [task for task in (heart, working, *waits) if not task.done()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _beat(slot: ProcessSlot, counters: ReceiverCounters) -> None:
    """Say that we are alive, and how late we were to say it: whatever waits for this loop waits as long."""
    while True:
        slot.beat()
        due_ns = time.monotonic_ns() + HEARTBEAT_NS
        await asyncio.sleep(HEARTBEAT_S)
        lag_ns = max(0, time.monotonic_ns() - due_ns)
        counters.loop_lag_ns = lag_ns
        counters.loop_lag_peak_ns = max(counters.loop_lag_peak_ns, lag_ns)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one."""
    try:
        from uvloop import Loop
    except ImportError:
        logging.getLogger("openbell.receiver").warning("uvloop is not installed; using asyncio's own event loop")
        return None
    return Loop

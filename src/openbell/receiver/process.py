"""A receiver: it keeps its connections up, and their records flowing into the rings."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import chain

from openbell.assignment import assign
from openbell.config import Config
from openbell.core import ring
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.errors import OpenBellError
from openbell.lifeline import EXIT_ORPHANED, Lifeline
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import receiver_lock, ring_name
from openbell.memory.segment import Kind
from openbell.monitor.control import Control, ProcessSlot, ProcessState
from openbell.receiver.clock import MarketClock
from openbell.receiver.concerned import concerned_symbols
from openbell.receiver.connection import COUNT_UNKNOWN, Connection
from openbell.receiver.listeners import UNCONNECTED, Hooks, Listener, compiled_listeners
from openbell.receiver.turns import Turns, account, starts
from openbell.record import GapReason
from openbell.vendors import create

HEARTBEAT_S = 0.1
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
    rings = [
        RingWriter(body, control.worker_bell(worker), control.receiver_bell(index))
        for worker, body in enumerate(bodies)
    ]
    for writer in rings:
        writer.recover()
    config = Config.from_json(generation.config)
    symbols = SymbolTable(generation.open("symbols", Kind.SYMBOLS, writable=True), generation.symbols_lock)
    counters = control.receiver_counters(index)
    make_listener = compiled_listeners(symbols, rings, counters.memory, control.clock_offset)
    connections, concerned = _connections(config, control, index, symbols, make_listener)
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
    work = _Work(connections, clock, teller, rings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(lifeline, slot, work))


def _connections(
    config: Config,
    control: Control,
    index: int,
    symbols: SymbolTable,
    make_listener: Callable[[Hooks], Listener],
) -> tuple[list[Connection], list[Callable[[], Collection[bytes]]]]:
    """Make the connections that this receiver runs; all their symbols have rows before they are used.

    The second list says, of each of them, whom an interruption concerns.
    """
    counters = control.receiver_counters(index)
    turns: dict[Hashable, Turns] = {}
    connections, concerned = [], []
    prefixes = {source.prefix for source in config.sources}
    everyone = assign(config)
    # Those of other receivers, too: connections of one account keep apart, wherever they run.
    vendors = [create(assigned.source) for assigned in everyone]
    start_s = starts((vendor.source, vendor.connection_spacing_s) for vendor in vendors)
    for assigned, vendor in zip(everyone, vendors, strict=True):
        if assigned.receiver != index:
            continue
        source = assigned.source
        for symbol in source.symbols:
            symbols.insert((source.prefix + vendor.symbol_key(symbol)).encode())
        block = control.connection(assigned.index)
        block.label = assigned.label(vendor.name)
        concerned.append(concerned_symbols(source, vendor, prefixes, symbols))
        connections.append(
            Connection(
                source,
                vendor,
                make_listener,
                block,
                counters,
                start_after_s=start_s[assigned.index],
                turns=turns.setdefault(account(source), Turns()),
                overflow=source.overflow or config.feed.overflow,
                book_levels=config.feed.book_levels,
                concerned=concerned[-1] if config.connections > 1 else None,
            )
        )
    return connections, concerned


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
    """

    def __init__(
        self, connections: list[Connection], clock: MarketClock, teller: Listener, rings: list[RingWriter]
    ) -> None:
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
            await asyncio.gather(*(connection.run() for connection in self._connections))
            clock.cancel()
        for writer in self._rings:
            writer.publish()

    async def stop(self) -> None:
        """End :meth:`run`. All connections at once: each has the whole time that a stop may take."""
        self._stopping = True
        await asyncio.gather(*(connection.stop() for connection in self._connections))


async def _serve(lifeline: Lifeline, slot: ProcessSlot, work: _Work) -> int:
    """Run the connections; return the exit status."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    orphaned = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    if lifeline.stopping:
        # Asked before the loop could hear it.
        asked.set()
    loop.add_reader(lifeline.fileno(), orphaned.set)
    heart = asyncio.create_task(_beat(slot))
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


async def _beat(slot: ProcessSlot) -> None:
    while True:
        slot.beat()
        await asyncio.sleep(HEARTBEAT_S)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one."""
    try:
        from uvloop import Loop
    except ImportError:
        logging.getLogger("openbell.receiver").warning("uvloop is not installed; using asyncio's own event loop")
        return None
    return Loop

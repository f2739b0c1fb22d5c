"""One demonstration with a vendor that misbehaves, from start to verdict."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from openbell.demo.account import settle
from openbell.demo.exchange import Event, Exchange, read_lists
from openbell.demo.feed import configure
from openbell.demo.observer import Observed, Observer, names_of
from openbell.demo.options import DemoError, DemoOptions
from openbell.demo.resources import Resources
from openbell.demo.run import CONNECT_S, STALL_S, Patience, View, await_ready, check_abort, wait
from openbell.demo.storm_result import Outcome, StormResult
from openbell.market import Market, Snapshot, attach
from openbell.monitor.status import Status
from openbell.signals import StopSignals
from openbell.simulator.faults.journal import read_journal
from openbell.simulator.faults.replay import Replay
from openbell.supervisor import Supervisor
from openbell.verdict import Counts, Oracle, compare

_LOOK_S = 0.02
_QUIET_S = 0.3
# Nothing that was sent is older than this when it is read, beyond what the event loops on both sides lagged.
_ON_THE_WAY_NS = 250_000_000


def run_storm(options: DemoOptions, view: View, signals: StopSignals, log_file: IO[bytes]) -> StormResult:
    """Run a simulator with faults and a feed; see `openbell.demo.run.run_demo` for parameters and errors.

    The snapshot is compared with what follows from the messages that the feed says it received, of those that the
    simulator says it sent; and everything that is missing must lie in gaps that the feed told.
    """
    with (
        tempfile.TemporaryDirectory(dir=Path(log_file.name).parent) as scratch,
        contextlib.closing(view),
    ):
        files = {name: Path(scratch, name) for name in ("oracle", "lists", "journal")}
        arguments = options.simulator_arguments(files["oracle"], files["lists"], files["journal"])
        with Exchange(arguments, log_file) as exchange:
            view.say(f"starting the simulator: faults {options.faults}, one every {options.fault_every:g} s")
            ready = await_ready(exchange, signals)
            lists = read_lists(files["lists"])
            config = configure(options, ready, lists)
            view.say(f"starting feed {options.name}: {len(lists.symbols):,} symbols, connections {config.connections}")
            seen = _watch(Supervisor(config, signals=signals, output=log_file), exchange, signals, view)
        # Now the journal is complete: a feed goes on talking when the market is over.
        view.say("making the market once more, to apply what was received")
        observer, replay = seen.observer, Replay(options.made_up())
        account = settle(
            read_journal(files["journal"]),
            [(label, observer.lives(number)) for number, label in enumerate(observer.labels)],
            [observer.gaps(number) for number in range(len(observer.labels))],
            observer.clock_offset_ns,
            replay,
            _ON_THE_WAY_NS + seen.lag_ns,
            [observer.holes(number) for number in range(len(observer.labels))],
        )
        rows, _ = replay.apply(account.received)
    stated = Oracle(Counts(0, 0, 0, 0, 0), {symbol: dict(row) for symbol, row in rows.items()})
    return StormResult(
        market=options.market,
        symbols=len(lists.symbols),
        seed=options.seed,
        status=seen.status,
        verdict=compare(stated, seen.snapshot, gaps=observer.gaps_of_rows()),
        account=account,
        outcomes=tuple(_outcomes(observer, seen.start.start_ns)),
        trends=seen.resources.trends(),
        seconds=seen.seconds,
        lapped=observer.lapped,
        interrupted=signals.requested,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is left of a feed that is gone."""

    status: Status
    snapshot: Snapshot
    observer: Observer
    resources: Resources
    start: Event
    seconds: float
    lag_ns: int


def _watch(supervisor: Supervisor, exchange: Exchange, signals: StopSignals, view: View) -> _Seen:
    """Run a feed until the market is over and all of it is applied."""
    config = supervisor.config
    try:
        supervisor.start()
        with attach(config.feed.name) as market:
            view.attach(market)
            observer, resources = Observer(supervisor.generation, config), Resources()
            try:
                started, start = _play(exchange, supervisor, signals, view, market, observer, resources)
                finished = _await_quiet(supervisor, signals, view, market, observer)
            finally:
                view.close()
            supervisor.drain()
            check_abort(signals)
            status = market.status()
            observer.look(status)
            seen = _Seen(status, market.snapshot(), observer, resources, start, finished - started, observer.lag_ns)
        supervisor.stop()
    except BaseException:
        supervisor.kill()
        raise
    return seen


def _play(
    exchange: Exchange,
    supervisor: Supervisor,
    signals: StopSignals,
    view: View,
    market: Market,
    observer: Observer,
    resources: Resources,
) -> tuple[float, Event]:
    """Watch the market until the simulator says that it is over; return when it began, and what was said then."""
    started, start = 0.0, Event("")
    told_to_end = False
    patience = Patience(CONNECT_S)
    while True:
        check_abort(signals)
        if signals.requested and not told_to_end:
            view.say("ending the market; once more Ctrl-C aborts")
            exchange.end_market()
            told_to_end = True
        wait(exchange, signals, _LOOK_S)
        supervisor.poll(0.0)
        view.look()
        status = market.status()
        observer.look(status)
        for event in exchange.events():
            if event.event == "started":
                started, start = time.monotonic(), event
            elif event.event == "fault":
                view.say(f"{(event.at_ns - start.start_ns) / 1e9:6.1f} s  {event.fault}")
                observer.fault(event)
            elif event.event == "done":
                return started or time.monotonic(), start
        if started:
            processes = {process.name: process.pid for process in status.processes}
            resources.look({"simulator": exchange.pid} | processes)
        elif patience.exhausted((status.events, tuple((each.state, each.acks) for each in status.connections))):
            raise DemoError(f"the feed did not subscribe to the simulator within {CONNECT_S:.0f} s")


def _await_quiet(supervisor: Supervisor, signals: StopSignals, view: View, market: Market, observer: Observer) -> float:
    """Wait until nothing comes any more, and what came is applied; return when that was."""
    patience, limit = Patience(_QUIET_S), Patience(STALL_S)
    while True:
        check_abort(signals)
        supervisor.poll(_LOOK_S)
        status = market.status()
        observer.look(status)
        view.look()
        quiet = patience.exhausted((status.events, status.applied))
        if (quiet and status.backlog == 0) or limit.exhausted(status.applied):
            return patience.since


def _outcomes(observer: Observer, start_ns: int) -> list[Outcome]:
    """Return what came of every fault; what a connection did is put down to the last fault before it."""
    outcomes = []
    for number, fault in enumerate(observer.faults):
        last = number == len(observer.faults) - 1
        end_ns = time.time_ns() if last else observer.faults[number + 1].said.at_ns
        ended = observer.ended(fault, end_ns)
        noticed_ns = min((life.ended_ns or 0 for _, life in ended), default=None)
        outcomes.append(
            Outcome(
                kind=fault.said.kind,
                fault=fault.said.fault,
                at_s=(fault.said.at_ns - start_ns) / 1e9,
                connections=tuple(observer.labels[number] for number in fault.connections),
                states=tuple(names_of(fault.states)),
                ended=tuple(life.why.name for _, life in ended),
                noticed_s=None
                if noticed_ns is None
                else (noticed_ns + observer.clock_offset_ns - fault.said.at_ns) / 1e9,
                recovered_s=_recovered_s(observer, fault, end_ns),
                gaps=fault.counted.get("gaps", 0),
                counted=fault.counted,
            )
        )
    return outcomes


def _recovered_s(observer: Observer, fault: Observed, end_ns: int) -> float | None:
    """Return how long after a fault its connections were live again, for good or until the next fault."""
    latest_ns = 0
    for number, _ in observer.ended(fault, end_ns):
        came_back = [
            life.live_ns + observer.clock_offset_ns
            for life in observer.lives(number)
            if life.live_ns is not None and life.live_ns + observer.clock_offset_ns > fault.said.at_ns
        ]
        last_end_ns = max(
            (life.ended_ns or 0) + observer.clock_offset_ns
            for which, life in observer.ended(fault, end_ns)
            if which == number
        )
        after = [live_ns for live_ns in came_back if live_ns > last_end_ns]
        replaced = [live_ns for live_ns in came_back if live_ns <= last_end_ns]
        if not after and not replaced:
            return None
        latest_ns = max(latest_ns, min(after, default=max(replaced, default=0)))
    return (latest_ns - fault.said.at_ns) / 1e9 if latest_ns else 0.0

"""One demonstration from start to verdict."""

from __future__ import annotations

import contextlib
import logging
import re
import select
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from openbell.demo.exchange import Event, Exchange, read_lists
from openbell.demo.feed import configure
from openbell.demo.options import DemoError, DemoOptions
from openbell.demo.result import Result
from openbell.market import Market, attach
from openbell.monitor.status import Status
from openbell.signals import StopSignals
from openbell.supervisor import Supervisor
from openbell.verdict import Oracle, compare

log = logging.getLogger("openbell.demo")

CONNECT_S = 30.0
"""How long the feed may make no progress in connecting and subscribing."""
STALL_S = 5.0
"""How long what was sent may make no progress towards the snapshot before the rest is called lost."""
SETTLE_S = 0.1
"""How long a complete feed is watched for something that came twice."""
_LOOK_S = 0.02
_CLOSE_LOOK_S = 0.02


class Aborted(Exception):
    """The user asked twice: everything is torn down at once, and there is no verdict."""


class View:
    """Shows a demonstration while it runs; this one shows nothing."""

    def say(self, text: str) -> None:
        """Say what is going on."""

    def attach(self, market: Market) -> None:
        """Begin to show a feed."""

    def look(self) -> None:
        """Show its state now; called far more often than is worth it."""

    def close(self) -> None:
        """Show nothing more; called before the feed goes away, and again at the end."""


def run_demo(options: DemoOptions, view: View, signals: StopSignals, log_file: IO[bytes]) -> Result:
    """Run a simulator and a feed, and compare what the feed ends up with against the oracle.

    Parameters
    ----------
    options : DemoOptions
    view : View
        Shows it; closed before this returns.
    signals : StopSignals
        Entered by the caller. The first signal ends the market, with the verdict so far; the second aborts.
    log_file : file
        Named; takes what the processes print. Other files of the demonstration go beside it.

    Raises
    ------
    Aborted
        A second signal came, or one before there was anything to judge.
    DemoError
        The simulator ended, or the feed could not connect.
    OpenBellError
        The feed cannot be started.
    """
    with (
        tempfile.TemporaryDirectory(dir=Path(log_file.name).parent) as scratch,
        contextlib.closing(view),
        Exchange(
            options.simulator_arguments(Path(scratch, "oracle.json"), Path(scratch, "lists.json")), log_file
        ) as exchange,
    ):
        view.say("starting the simulator" + (f": reading {options.capture}" if options.capture else ""))
        ready = await_ready(exchange, signals)
        lists = read_lists(Path(scratch, "lists.json"))
        config = configure(options, ready, lists)
        slow = f" of {options.slow_worker:,} records/s each" if options.slow_worker else ""
        view.say(
            f"starting feed {options.name}: {len(lists.symbols):,} symbols, connections {options.connections}, "
            f"receivers {options.receivers}, workers {options.workers}{slow}, overflow {options.overflow}"
        )
        supervisor = Supervisor(config, signals=signals, output=log_file)
        try:
            supervisor.start()
            with attach(options.name) as market:
                view.attach(market)
                try:
                    started, start, statement = _play(exchange, supervisor, signals, view, market)
                    finished = _await_applied(statement.sent, supervisor, signals, view, market)
                finally:
                    view.close()
                feed = {process.name: process.pid for process in market.status().processes}
                peaks = _peak_rss_mb({"simulator": exchange.pid} | feed)
                # Nothing moves after this: the snapshot that is judged is the final one.
                supervisor.drain()
                check_abort(signals)
                status, snapshot = market.status(), market.snapshot()
            # Where nothing was dropped a gap has no excuse.
            excuse_gaps = options.overflow == "drop" and status.dropped > 0
            verdict = compare(Oracle.load(Path(scratch, "oracle.json")), snapshot, excuse_gaps=excuse_gaps)
            supervisor.stop()
        except BaseException:
            supervisor.kill()
            raise
    return Result(
        market=options.market,
        symbols=len(lists.symbols),
        sent=statement.sent,
        status=status,
        verdict=verdict,
        seconds=finished - started,
        interrupted=signals.requested,
        start_ns=start.start_ns,
        statement=statement,
        overflow=options.overflow,
        peak_rss_mb=peaks,
    )


def await_ready(exchange: Exchange, signals: StopSignals) -> Event:
    """Wait until the simulator listens, and return what it says then."""
    while True:
        if signals.requested:
            raise Aborted
        wait(exchange, signals, None)
        for event in exchange.events():
            if event.event == "ready":
                return event


def _play(
    exchange: Exchange, supervisor: Supervisor, signals: StopSignals, view: View, market: Market
) -> tuple[float, Event, Event]:
    """Watch the market until the simulator states what it sent; return when it began to, and its words on both."""
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
        for event in exchange.events():
            if event.event == "started":
                started, start = time.monotonic(), event
            elif event.event == "done":
                return started or time.monotonic(), start, event
        # A market may be as quiet as it likes; before it begins, and once it is told to end, things must move.
        if not started or told_to_end:
            status = market.status()
            signs = told_to_end, status.events, tuple((each.state, each.acks) for each in status.connections)
            if patience.exhausted(signs):
                raise DemoError(_why(status, told_to_end))


def _why(status: Status, told_to_end: bool) -> str:
    if told_to_end:
        return f"the simulator did not state what it sent within {CONNECT_S:.0f} s of being told to end"
    states = "; ".join(f"{each.label}: {each.state.name}, {each.errors} errors" for each in status.connections)
    return f"the feed did not subscribe to the simulator within {CONNECT_S:.0f} s ({states or 'no connection'})"


def _await_applied(sent: int, supervisor: Supervisor, signals: StopSignals, view: View, market: Market) -> float:
    """Wait until all that was sent is applied or accounted for, as long as there is progress; return when it was."""
    patience = Patience(STALL_S)
    while True:
        check_abort(signals)
        supervisor.poll(_CLOSE_LOOK_S)
        status = market.status()
        accounted = status.applied + status.invalid + status.ignored + status.conflated + status.dropped
        if patience.exhausted((accounted, status.events)):
            log.warning("%d of %d events are not accounted for", sent - accounted, sent)
            return patience.since
        if accounted >= sent and time.monotonic() - patience.since >= SETTLE_S:
            return patience.since
        view.look()


def _peak_rss_mb(processes: Mapping[str, int]) -> dict[str, float]:
    """Return the peak resident memory of processes, given by name and pid, where the system tells it."""
    found = {}
    for name, pid in processes.items():
        # Elsewhere there is no such file; and a process may be ending.
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
            if peak := re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE):
                found[name] = round(int(peak[1]) * 1024 / 1e6, 1)
    return found


def wait(exchange: Exchange, signals: StopSignals, seconds: float | None) -> None:
    """Wait until the simulator says something, or a signal comes, or so long."""
    watched: list[Exchange | StopSignals] = [exchange]
    # Once a signal came its descriptor stays readable, and would keep us from sleeping.
    if not signals.requested:
        watched.append(signals)
    select.select(watched, [], [], seconds)


def check_abort(signals: StopSignals) -> None:
    """Raise `Aborted` if the user asked twice."""
    if signals.count > 1:
        raise Aborted


class Patience:
    """Runs out when what it is shown has not changed for some seconds.

    Attributes
    ----------
    since : float
        When it changed last, `time.monotonic`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: object = None
        self.since = time.monotonic()

    def exhausted(self, sign: object) -> bool:
        """Look at a sign of progress; return whether it has been the same for too long."""
        now = time.monotonic()
        if sign != self._seen:
            self._seen, self.since = sign, now
        return now - self.since >= self._seconds

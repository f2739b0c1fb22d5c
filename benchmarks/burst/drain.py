"""The first flush alone: how long until all of it is in the snapshot, and how long until it is only decoded.

Both get the same frames, from simulators with the same seed, and both times begin at the flush's intended moment. They
take turns; the machine's speed changes from turn to turn, so that each pair has a ratio of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.burst.options import FLUSH_S, BurstOptions
from benchmarks.processes import BenchmarkError
from openbell.demo import Aborted, DemoOptions, View, run_demo
from openbell.demo.exchange import Event, Exchange, read_lists
from openbell.demo.feed import configure
from openbell.signals import StopSignals, wait_readable

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Drain:
    """Medians over the pairs.

    Attributes
    ----------
    feed_ns, decode_only_ns : int
        From the flush's intended moment to the last event in the snapshot; to the last frame decoded.
    ratio : float
        Of each pair.
    events : int
        The flush.
    """

    feed_ns: int
    decode_only_ns: int
    ratio: float
    events: int


def measure(options: BurstOptions, signals: StopSignals, progress: Callable[[str], None]) -> Drain:
    """Time `options.repeats` pairs.

    Raises
    ------
    BenchmarkError
        Something was lost.
    OpenBellError
        A feed or a simulator could not run.
    Aborted
        A stop signal came.
    """
    pairs: list[tuple[int, int]] = []
    events = 0
    for number in range(options.repeats):
        progress(f"first flush: pair {number + 1} of {options.repeats}")
        market = options.market(FLUSH_S, number)
        # Turn about, so that none always comes second.
        if number % 2:
            decoded_ns = decode_only_ns(market, signals)
            feed_ns, events = _feed_ns(market, signals)
        else:
            feed_ns, events = _feed_ns(market, signals)
            decoded_ns = decode_only_ns(market, signals)
        pairs.append((feed_ns, decoded_ns))
    return Drain(
        round(statistics.median(feed for feed, _ in pairs)),
        round(statistics.median(decoded for _, decoded in pairs)),
        round(statistics.median(feed / decoded for feed, decoded in pairs), 3),
        events,
    )


def _feed_ns(market: DemoOptions, signals: StopSignals) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile(prefix="openbell-burst-", suffix=".log") as log:
        result = run_demo(market, View(), signals, log)
    if signals.requested:
        raise Aborted
    if not result.ok:
        raise BenchmarkError("; ".join(("the first flush did not come through whole", *result.lines())))
    return result.status.last_batch_ns - result.start_ns, result.sent


def decode_only_ns(market: DemoOptions, signals: StopSignals) -> int:
    """Return how long it took until all of a market was decoded, from the moment it was intended to begin, in ns.

    Raises
    ------
    BenchmarkError
        The client ended too early, or has not decoded all, or nothing goes on.
    Aborted
        A stop signal came.
    """
    with tempfile.TemporaryDirectory(prefix="openbell-burst-") as scratch, Path(scratch, "log").open("w+b") as log:
        lists, config = Path(scratch, "lists.json"), Path(scratch, "config.json")
        with Exchange(market.simulator_arguments(Path(scratch, "oracle.json"), lists), log) as exchange:
            ready = _next(_heard(exchange, signals), "ready")
            config.write_bytes(configure(market, ready, read_lists(lists)).to_json())
            client = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.burst.decode_only", str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                # Ctrl-C in a terminal is for this process alone.
                process_group=0,
            )
            try:
                heard = _heard(exchange, signals, client)
                start_ns = _next(heard, "started").start_ns
                sent = _next(heard, "done").sent
                said, _ = client.communicate("everything is sent\n", timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise BenchmarkError(f"the client that only decodes did not end within {_TIMEOUT_S:.0f} s") from None
            finally:
                client.kill()
                client.wait()
    if not said:
        raise BenchmarkError(f"the client that only decodes ended with status {client.returncode}; see its output")
    return decoded_at_ns(said, sent, market.frame_ticks or 1) - start_ns


def decoded_at_ns(said: str, sent: int, frame_ticks: int) -> int:
    """Return when the client that only decodes had decoded the last frame, if it has decoded all.

    Raises
    ------
    BenchmarkError
        `sent` events cannot be in so few frames.
    """
    found = json.loads(said)
    if found["frames"] * frame_ticks < sent:
        raise BenchmarkError(f"only {found['frames']:,} frames were decoded, and {sent:,} events were sent")
    return int(found["last_ns"])


def _next(heard: Iterator[Event], name: str) -> Event:
    return next(event for event in heard if event.event == name)


def _heard(exchange: Exchange, signals: StopSignals, client: subprocess.Popen[str] | None = None) -> Iterator[Event]:
    """Yield what the simulator says, as long as there is something to hear and `client` is there to listen."""
    watched = [exchange.fileno(), signals.fileno()]
    if client is not None:
        assert client.stdout is not None
        # It says nothing before it is told to: readable means that it is gone.
        watched.append(client.stdout.fileno())
    heard = time.monotonic()
    while True:
        wait_readable(watched, 1.0)
        if signals.requested:
            raise Aborted
        for event in exchange.events():
            heard = time.monotonic()
            yield event
        if client is not None and client.poll() is not None:
            raise BenchmarkError(f"the client that only decodes ended with status {client.returncode}; see its output")
        if time.monotonic() - heard > _TIMEOUT_S:
            raise BenchmarkError(f"the simulator said nothing for {_TIMEOUT_S:.0f} s")

"""The receiver process: connected to an exchange that another library plays, killed, restarted and stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from feed_process import lives
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import openbell
from openbell.config import Config, Feed, Source
from openbell.errors import FeedError, SymbolTableFull
from openbell.market import Market
from openbell.monitor.control import ConnectionState
from openbell.signals import StopSignals
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)


class Exchange:
    """A venue on loopback: it accepts every subscription, and sends trades when it is told to."""

    def __init__(self) -> None:
        self._server = serve(self._handle, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.port = self._server.socket.getsockname()[1]
        self.subscribed: list[ServerConnection] = []
        self.sent = 0
        self._connections: list[ServerConnection] = []

    def _handle(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        try:
            for message in connection:
                # Before the answer: whoever sees that it arrived may ask for trades at once.
                self.subscribed.append(connection)
                connection.send(json.dumps({"result": None, "id": json.loads(message)["id"]}))
        except ConnectionClosed:
            return

    def trade(self, count: int) -> None:
        """Send `count` trades, of two symbols in turn, over the newest connection."""
        for _ in range(count):
            self.sent += 1
            symbol = ("BTCUSDT", "ETHUSDT")[self.sent % 2]
            trade = {"e": "trade", "s": symbol, "t": self.sent // 2 + 1, "p": f"{self.sent}.5", "q": "2", "m": False}
            self.subscribed[-1].send(json.dumps({"stream": f"{symbol.lower()}@trade", "data": trade}))

    def close(self) -> None:
        """Close without waiting for anybody's good-bye."""
        self._server.shutdown()
        for connection in self._connections:
            connection.socket.close()
        self._thread.join()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    venue = Exchange()
    yield venue
    venue.close()


@pytest.fixture
def feed(exchange: Exchange, feed_name: str) -> Iterator[Supervisor]:
    source = Source(
        vendor="binance",
        symbols=("btcusdt", "ethusdt"),
        url=f"ws://127.0.0.1:{exchange.port}",
        min_reconnect_s=0.05,
    )
    config = Config(feed=Feed(name=feed_name, ring_capacity=1024, symbols_capacity=64), sources=(source,))
    with Supervisor(config) as supervisor:
        supervisor.start()
        yield supervisor


@pytest.fixture
def market(feed: Supervisor, feed_name: str) -> Iterator[Market]:
    with openbell.attach(feed_name) as attached:
        await_live(feed, attached)
        yield attached


def await_live(feed: Supervisor, market: Market, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while [connection.state for connection in market.status().connections] != [ConnectionState.LIVE]:
        assert time.monotonic() < deadline, market.status().connections
        feed.poll(0.01)


def await_applied(feed: Supervisor, market: Market, count: int, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while market.status().applied < count:
        assert time.monotonic() < deadline, f"{market.status().applied} of {count} applied"
        feed.poll(0.01)


def receiver_of(market: Market) -> int:
    return next(process.pid for process in market.status().processes if process.name == "receiver-0")


def test_what_an_exchange_sends_is_in_the_market(feed: Supervisor, market: Market, exchange: Exchange) -> None:
    exchange.trade(1_000)
    await_applied(feed, market, 1_000)
    row = market["BTCUSDT"]
    assert (row.last, row.trades, row.volume, row.gaps) == (1000.5, 500, 1000.0, 0)
    status = market.status()
    assert (status.published, status.invalid, status.lost, status.restarts) == (1_000, 0, 0, 0)
    (connection,) = status.connections
    assert (connection.label, connection.symbols, connection.acks, connection.connects) == ("binance", 2, 1, 1)
    assert all(process.healthy for process in status.processes)


def test_a_killed_receiver_is_soon_back_and_the_interval_is_a_gap(
    feed: Supervisor, market: Market, exchange: Exchange
) -> None:
    exchange.trade(100)
    await_applied(feed, market, 100)
    generation, old = market.status().generation, receiver_of(market)
    os.kill(old, signal.SIGKILL)
    began = time.monotonic()
    while market.status().connections[0].state is not ConnectionState.DOWN:
        assert time.monotonic() - began < 30
        feed.poll(0.005)
    await_live(feed, market)
    exchange.trade(100)
    await_applied(feed, market, 200)
    status = market.status()
    assert status.generation == generation
    assert receiver_of(market) != old
    assert (status.restarts, status.gaps) == (1, 2)
    assert set(market.snapshot().gaps) == {1}
    assert market["BTCUSDT"].last == 200.5


def test_an_orderly_stop_applies_all_that_was_read(
    feed: Supervisor, market: Market, exchange: Exchange, runtime_dir: Path
) -> None:
    exchange.trade(2_000)
    pid = receiver_of(market)
    assert feed.drain() == 0
    status = market.status()
    assert not lives(pid)
    assert status.published == status.applied > 0
    assert status.connections[0].state is ConnectionState.DOWN
    feed.stop()
    assert list(runtime_dir.iterdir()) == []


def test_a_receiver_does_not_outlive_its_supervisors_end_of_the_line(feed: Supervisor, market: Market) -> None:
    (role,) = feed._receivers
    assert role.process is not None
    # What the kernel does when the supervisor dies.
    role.process.close()
    pid, deadline = receiver_of(market), time.monotonic() + 20.0
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    role.bury()


def test_more_symbols_than_there_is_room_for_are_refused_at_the_start(exchange: Exchange, feed_name: str) -> None:
    source = Source(
        vendor="binance", symbols=tuple(f"s{index}usdt" for index in range(65)), url=f"ws://127.0.0.1:{exchange.port}"
    )
    config = Config(feed=Feed(name=feed_name, ring_capacity=1024, symbols_capacity=64), sources=(source,))
    with Supervisor(config) as supervisor, pytest.raises(SymbolTableFull, match="64 symbols"):
        supervisor.start()


@pytest.fixture
def small_feed(exchange: Exchange, feed_name: str) -> Iterator[Supervisor]:
    """Run a feed of one worker, whose ring is full after 64 records."""
    source = Source(vendor="binance", symbols=("btcusdt", "ethusdt"), url=f"ws://127.0.0.1:{exchange.port}")
    config = Config(feed=Feed(name=feed_name, workers=1, ring_capacity=64, symbols_capacity=64), sources=(source,))
    with Supervisor(config) as supervisor:
        supervisor.start()
        yield supervisor


def press(feed: Supervisor, market: Market, exchange: Exchange) -> int:
    """Stop the worker, and send until records wait beside its full ring; return how many trades the receiver has."""
    await_live(feed, market)
    (worker,) = feed._workers
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    exchange.trade(200)
    counters = feed.generation.open_control().receiver_counters(0)
    deadline = time.monotonic() + 10
    while not counters.pressure_episodes:
        assert time.monotonic() < deadline
        feed.poll(0.01)
    while counters.paused_ns < 50_000_000:
        assert time.monotonic() < deadline, "a pause is not counted while it lasts"
        feed.poll(0.01)
    assert counters.published > 64
    return counters.published


def test_a_stop_replaces_a_worker_that_is_stuck_with_a_full_ring_and_loses_nothing(
    small_feed: Supervisor, exchange: Exchange, feed_name: str
) -> None:
    with openbell.attach(feed_name) as market:
        received = press(small_feed, market, exchange)
        began = time.monotonic()
        assert small_feed.drain() == 0
        assert time.monotonic() - began < 40
        status = market.status()
        assert (status.published, status.applied, status.lost, status.restarts) == (received, received, 0, 1)
        assert market.snapshot().trades.sum() == received


def test_a_stop_counts_what_no_worker_takes_and_tells_of_it(
    small_feed: Supervisor, exchange: Exchange, feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openbell.attach(feed_name) as market:
        received = press(small_feed, market, exchange)
        monkeypatch.setattr(small_feed, "_unblock", lambda: None)
        began = time.monotonic()
        lost = small_feed.drain()
        assert time.monotonic() - began < 40
        status = market.status()
        # What was in the ring is applied by the worker that is started last; the rest was never in it.
        assert lost == status.lost == received - status.applied > 0
        assert status.events == received == status.applied + status.lost


def test_a_run_that_lost_records_while_it_stopped_ends_with_an_error(
    small_feed: Supervisor, monkeypatch: pytest.MonkeyPatch, feed_name: str
) -> None:
    small_feed.stop()
    drain = Supervisor.drain
    monkeypatch.setattr(Supervisor, "drain", lambda self: drain(self) + 3)
    with StopSignals() as signals:
        supervisor = Supervisor(small_feed.config, signals=signals)
        asking = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        asking.start()
        with pytest.raises(FeedError, match="but 3 records"):
            supervisor.run()
        asking.join()


def held(feed: Supervisor, market: Market) -> tuple[int, int]:
    """Return how many trades the receiver has decoded, and how many are applied."""
    return feed.generation.open_control().receiver_counters(0).published, market.status().applied


def test_what_a_receiver_that_is_killed_in_a_stop_still_held_is_counted_exactly(
    small_feed: Supervisor, exchange: Exchange, feed_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with openbell.attach(feed_name) as market:
        received = press(small_feed, market, exchange)
        os.kill(receiver_of(market), signal.SIGKILL)
        lost = small_feed.drain()
        assert lost == received - market.status().applied > 0
        assert small_feed.killed == ("receiver-0",)
    assert f"{lost} records were received and not published, 0 published and not applied" in caplog.text
    assert "receiver-0 was killed while it was connected" in caplog.text


def test_what_was_lost_with_a_receiver_before_is_not_lost_in_the_stop(
    small_feed: Supervisor, exchange: Exchange, feed_name: str
) -> None:
    with openbell.attach(feed_name) as market:
        press(small_feed, market, exchange)
        (worker,) = small_feed._workers
        assert worker.process is not None
        os.kill(receiver_of(market), signal.SIGKILL)
        os.kill(worker.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 10
        while len(exchange.subscribed) < 2:
            assert time.monotonic() < deadline
            small_feed.poll(0.01)
        await_live(small_feed, market)
        before = held(small_feed, market)
        assert before[0] > before[1]
        press(small_feed, market, exchange)
        while held(small_feed, market)[0] <= before[0] + 64:
            assert time.monotonic() < deadline + 10
            small_feed.poll(0.01)
        os.kill(receiver_of(market), signal.SIGKILL)
        lost = small_feed.drain()
        after = held(small_feed, market)
        assert lost == (after[0] - before[0]) - (after[1] - before[1]) > 0


def test_who_asks_twice_is_told_exactly_what_that_cost(
    small_feed: Supervisor, exchange: Exchange, feed_name: str
) -> None:
    with openbell.attach(feed_name) as market:
        received = press(small_feed, market, exchange)
        small_feed._signals.count = 2
        assert small_feed.drain() == received - market.status().applied > 64
        assert small_feed.killed == ()


@pytest.mark.parametrize("connected", [True, False])
def test_who_asks_twice_and_loses_nothing_is_not_told_otherwise(
    connected: bool, exchange: Exchange, feed_name: str
) -> None:
    source = Source(
        vendor="binance", symbols=("btcusdt", "ethusdt"), url=f"ws://127.0.0.1:{exchange.port * connected or 1}"
    )
    config = Config(feed=Feed(name=feed_name, ring_capacity=64, symbols_capacity=64), sources=(source,))
    with Supervisor(config) as supervisor:
        supervisor.start()
        with openbell.attach(feed_name) as market:
            if connected:
                await_live(supervisor, market)
                exchange.trade(100)
                await_applied(supervisor, market, 100)
            os.kill(receiver_of(market), signal.SIGSTOP)
            supervisor._signals.count = 2
            assert (supervisor.drain(), supervisor.killed) == (0, ())


def test_a_receiver_that_has_to_be_killed_while_it_is_connected_is_no_orderly_stop(
    exchange: Exchange, feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbell.supervisor.RECEIVERS_STOP_S", 0.5)
    source = Source(vendor="binance", symbols=("btcusdt", "ethusdt"), url=f"ws://127.0.0.1:{exchange.port}")
    config = Config(feed=Feed(name=feed_name, ring_capacity=64, symbols_capacity=64), sources=(source,))
    supervisor = Supervisor(config)

    def stop_it() -> None:
        with openbell.attach(feed_name) as market:
            await_connected(market)
            os.kill(receiver_of(market), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTERM)

    def start_and_stop() -> None:
        Supervisor.start(supervisor)
        threading.Thread(target=stop_it).start()

    monkeypatch.setattr(supervisor, "start", start_and_stop)
    with pytest.raises(FeedError, match="but receiver-0 was killed, and what it had read and not decoded is unknown"):
        supervisor.run()


def await_connected(market: Market) -> None:
    deadline = time.monotonic() + 10
    while market.status().connections[0].state is not ConnectionState.LIVE:
        assert time.monotonic() < deadline
        time.sleep(0.01)

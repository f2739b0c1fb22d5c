"""The market as another process reads it."""

from __future__ import annotations

import math
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from feed_driver import Driver, configure

import openbell
from openbell.core import snapshot as core
from openbell.core import words
from openbell.errors import FeedError, FeedGone, FeedNotFound, LayoutMismatch, UnknownSymbol
from openbell.market.columns import NAMES
from openbell.market.row import Row
from openbell.memory.segment import LAYOUT_VERSION
from openbell.monitor.control import FeedState, ProcessState
from openbell.record import ROW_NONE, Flag, GapReason, Kind
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def feed(feed_name: str) -> Iterator[Supervisor]:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        yield supervisor


@pytest.fixture
def driver(feed: Supervisor) -> Driver:
    return Driver(feed)


@pytest.fixture
def market(feed: Supervisor, driver: Driver, feed_name: str) -> Iterator[openbell.Market]:
    with openbell.attach(feed_name) as attached:
        driver.trade(5_000)
        driver.await_applied(attached)
        yield attached


def test_every_column_of_the_core_can_be_read_in_its_order() -> None:
    assert ("version", *NAMES, "extra") == tuple(name for name, _ in core.COLUMNS)
    assert Row._fields == ("symbol", "row", *NAMES, "book", "subscription")


def test_a_row_holds_what_was_sent(market: openbell.Market, driver: Driver) -> None:
    for symbol, expected in zip(driver.symbols, driver.expected, strict=True):
        row = market[symbol]
        assert expected.differences(row) == []
        assert (row.symbol, row.row) == (symbol, market.row(symbol))
        assert math.isnan(row.bid)
        assert (row.bid_size, row.gaps, row.status, row.session) == (0.0, 0, 0, 0)


def test_a_snapshot_holds_what_was_sent(market: openbell.Market, driver: Driver) -> None:
    snapshot = market.snapshot()
    assert driver.differences(market) == []
    assert tuple(snapshot) == NAMES
    assert snapshot.symbols == market.symbols
    assert list(snapshot.rows) == [market.row(symbol) for symbol in snapshot.symbols]
    assert all(len(column) == len(driver.symbols) for column in snapshot.values())
    assert snapshot["last"] is snapshot.last
    assert snapshot.undone == 0
    assert abs(snapshot.taken_ns - time.time_ns()) < 10_000_000_000
    with pytest.raises(KeyError, match="the columns are last, size"):
        snapshot["lsat"]


def test_a_snapshot_is_ones_own(market: openbell.Market, driver: Driver) -> None:
    snapshot = market.snapshot()
    before = snapshot.last.copy()
    driver.trade(5_000)
    driver.await_applied(market)
    assert np.array_equal(snapshot.last, before)
    snapshot.last[:] = 0
    assert market.snapshot().last.all()


def test_live_columns_are_the_memory_itself_and_cannot_be_written(market: openbell.Market, driver: Driver) -> None:
    row, last = market.row(driver.symbols[0]), market.last
    assert np.array_equal(last[market.rows], market.snapshot().last)
    assert last is market.last is market.column("last")
    assert last.dtype == np.float64
    assert market.trades.dtype == np.int64
    before = int(market.trades[row])
    driver.trade(5_000)
    driver.await_applied(market)
    assert market.trades[row] == driver.expected[0].trades > before
    with pytest.raises(ValueError, match="read-only"):
        last[row] = 1.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        last.flags.writeable = True
    with pytest.raises(KeyError, match="the columns are"):
        market.column("version")


def test_rows_without_a_symbol_are_empty(market: openbell.Market) -> None:
    free = np.setdiff1d(np.arange(len(market.last)), market.rows)
    assert len(free)
    assert np.isnan(market.last[free]).all()
    assert not market.trades[free].any()


def test_symbols_and_rows_lead_to_each_other(market: openbell.Market, driver: Driver) -> None:
    assert len(market) == len(driver.symbols)
    assert set(market.symbols) == set(driver.symbols)
    for symbol in driver.symbols:
        assert market.symbol(market.row(symbol)) == symbol
        assert symbol in market
    assert "nobody" not in market
    assert 600_000 not in market
    with pytest.raises(KeyError):
        market.symbol(len(market.last) - 1)


def test_symbols_that_come_later_are_seen(market: openbell.Market, feed: Supervisor, driver: Driver) -> None:
    assert len(market.snapshot().symbols) == 100
    later = Driver(feed, symbols=120)
    assert len(market.snapshot().symbols) == 120
    assert market[later.symbols[119]].trades == 0


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("600000.sh", "600000.SH"), ("600007", "600007.SH"), ("SH.600000", None), ("6O0007.SH", "600007.SH"), ("", None)],
)
def test_an_unknown_symbol_is_an_error_that_knows_what_was_meant(
    market: openbell.Market, asked: str, meant: str | None
) -> None:
    for ask in (lambda: market[asked], lambda: market.row(asked), lambda: market.snapshot().row(asked)):
        with pytest.raises(UnknownSymbol) as caught:
            ask()
        assert isinstance(caught.value, KeyError)
        assert f"has no symbol {asked!r} among its 100" in str(caught.value)
        if meant is not None:
            assert f"did you mean {meant}" in str(caught.value)
    assert market.get(asked) is None


def test_what_interrupted_the_whole_connection_counts_for_every_symbol(market: openbell.Market, driver: Driver) -> None:
    flags = Flag.HAS_A | Flag.HAS_B
    gap = struct.pack("<IBBH7q", ROW_NONE, Kind.GAP, 0, flags, 0, 0, 0, GapReason.DISCONNECT, -1, 0, 0)
    for ring in driver.rings:
        assert ring.append(gap)
        ring.publish()
    deadline = time.monotonic() + 60
    while market.status().gaps < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert set(market.snapshot().gaps) == {1}
    assert market[driver.symbols[0]].gaps == 1
    assert not market.gaps[market.rows].any()
    # A gap is no market data: it does not count as applied.
    assert market.status().applied == driver.sent


def test_the_status_adds_up(market: openbell.Market, driver: Driver, feed_name: str, feed: Supervisor) -> None:
    feed.poll(0.0)
    status = market.status()
    assert (status.feed, status.state, status.symbols) == (feed_name, FeedState.RUNNING, 100)
    assert status.generation == feed.generation.number
    assert [process.name for process in status.processes] == ["supervisor", "worker-0", "worker-1"]
    assert all(process.state is ProcessState.RUNNING for process in status.processes)
    assert all(process.healthy for process in status.processes)
    assert sum(ring.published for ring in status.rings) == driver.sent == status.applied
    assert (status.backlog, status.gaps, status.lost, status.restarts) == (0, 0, 0, 0)
    assert status.latency.count == driver.sent
    assert 0 < status.latency.percentile(50) < 10_000_000_000
    assert status.connections == ()


def test_a_worker_that_is_stopped_in_mid_row_holds_no_reader_up(market: openbell.Market, driver: Driver) -> None:
    import os
    import signal

    workers = [process.pid for process in market.status().processes if process.name.startswith("worker")]
    for _ in range(10):
        driver.trade(1_000)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        market.snapshot()
        took = time.monotonic() - began
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        # It would wait as long as the worker is stopped: for ever.
        assert took < 20
    driver.await_applied(market)
    assert driver.differences(market) == []


def test_readers_in_threads_see_consistent_rows_while_the_market_moves(market: openbell.Market, driver: Driver) -> None:
    broken: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            snapshot = market.snapshot()
            if not ((snapshot.low <= snapshot.last) & (snapshot.last <= snapshot.high)).all():
                broken.append("last is outside of low and high")
            if (snapshot.trade_sequence != snapshot.trade_exchange_ns).any():
                broken.append("two trades are mixed")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        driver.trade(30_000)
        driver.await_applied(market)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert broken == []


def test_a_reader_in_another_process_takes_nothing_with_it(
    market: openbell.Market, driver: Driver, feed_name: str, runtime_dir: Path
) -> None:
    read = "import sys, os, openbell; m = openbell.attach(sys.argv[1]); print(m[sys.argv[2]].trades, flush=True)"
    files = sorted(runtime_dir.rglob("*"))
    for end in ("", "; os.kill(os.getpid(), 9)", "; m.close()"):
        symbol = driver.symbols[3]
        result = subprocess.run([sys.executable, "-c", read + end, feed_name, symbol], capture_output=True, timeout=20)
        assert int(result.stdout) == driver.expected[3].trades
        assert result.stderr == b""
    assert sorted(runtime_dir.rglob("*")) == files
    driver.trade(100)
    driver.await_applied(market)
    assert driver.differences(market) == []


def test_a_market_travels_to_another_process_by_attaching_there(market: openbell.Market, driver: Driver) -> None:
    with pickle.loads(pickle.dumps(market)) as copy:
        assert copy is not market
        assert copy[driver.symbols[0]].trades == driver.expected[0].trades


def test_a_stopped_feed_is_gone_for_its_readers_but_their_arrays_stay(
    market: openbell.Market, feed: Supervisor, driver: Driver, feed_name: str
) -> None:
    last, before = market.last, market.last.copy()
    feed.stop()
    assert not market.alive
    assert repr(market) == f"<Market of feed '{feed_name}': gone>"
    for use in (
        lambda: market[driver.symbols[0]],
        market.snapshot,
        market.status,
        lambda: market.last,
        lambda: market.symbols,
        lambda: market.row("x"),
    ):
        with pytest.raises(FeedGone, match="attach again"):
            use()
    assert np.array_equal(last, before, equal_nan=True)
    with pytest.raises(FeedNotFound, match="start one"):
        openbell.attach(feed_name)


def test_a_closed_market_says_so_and_leaves_arrays_alone(feed: Supervisor, driver: Driver, feed_name: str) -> None:
    driver.trade(1_000)
    market = openbell.attach(feed_name)
    driver.await_applied(market)
    last, snapshot = market.last, market.snapshot()
    row = market.row(driver.symbols[0])
    market.close()
    market.close()
    assert repr(market) == f"<Market of feed '{feed_name}': closed>"
    for use in (market.snapshot, lambda: market.last, lambda: len(market)):
        with pytest.raises(FeedError, match="closed"):
            use()
    assert last[row] == snapshot.last[snapshot.place(driver.symbols[0])]


def test_a_market_without_symbols_is_no_less_a_market(feed: Supervisor, feed_name: str) -> None:
    with openbell.attach(feed_name) as market:
        assert len(market) == 0
        assert market
        feed.stop()
        assert market
    assert market


def test_closing_gives_the_memory_back(feed: Supervisor, feed_name: str) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(f"/{feed_name}/")

    before = mapped()
    for _ in range(3):
        with openbell.attach(feed_name) as market:
            market.status()
            market.snapshot()
            last = market.last
            assert mapped() > before
        del last
    assert mapped() == before


def test_a_feed_of_another_layout_version_is_refused_and_both_are_named(feed: Supervisor, feed_name: str) -> None:
    segment = feed.generation.segments["control"]
    words.store(segment.buffer, 8, LAYOUT_VERSION + 1)
    try:
        with pytest.raises(LayoutMismatch, match=f"version {LAYOUT_VERSION + 1}.*version {LAYOUT_VERSION}"):
            openbell.attach(feed_name)
    finally:
        words.store(segment.buffer, 8, LAYOUT_VERSION)


def test_a_planted_link_is_not_attached_to(feed: Supervisor, runtime_dir: Path, feed_name: str, tmp_path: Path) -> None:
    planted = runtime_dir / f"{feed_name}-planted"
    planted.symlink_to(runtime_dir / feed_name)
    with pytest.raises(FeedError, match="symbolic link"):
        openbell.attach(planted.name)
    planted.unlink()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, openbell; print(sorted({'numpy', 'picows', 'msgspec', 'rich', 'click'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert result.stdout == b"[]\n"
    assert openbell.attach is openbell.market.attach
    assert openbell.__version__
    assert set(openbell.__all__) <= set(dir(openbell))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = openbell.nonsense


@pytest.mark.parametrize("module", ["openbell.worker.process", "openbell.receiver.process"])
def test_the_processes_of_a_feed_load_nothing_they_do_not_need(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'numpy', 'rich', 'click', 'multiprocessing'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert (result.stdout, result.stderr) == (b"[]\n", b"")

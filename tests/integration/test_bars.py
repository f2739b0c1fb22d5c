"""One-minute bars of running feeds, as the market and the command give them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Command, started
from corelab.minutes import MINUTE, Minutes
from corelab.records import TRADE, unpack
from feed_driver import Driver, configure
from simulator_client import Process

import openbell
from openbell.cli import main
from openbell.config import Config
from openbell.core.ring import Tap
from openbell.errors import FeedError, FeedGone, UnknownSymbol
from openbell.market.bars import NAMES
from openbell.memory import feeds
from openbell.memory.names import ring_name
from openbell.memory.segment import Kind
from openbell.simulator import a_shares
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(90)

SYMBOLS = 40


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Supervisor, Driver]]:
    """Run one feed whose rings the tests write, for all tests of this file that can share it."""
    directory = tmp_path_factory.mktemp("bars") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(directory))
        with Supervisor(configure("bars"), receivers=False) as supervisor:
            supervisor.start()
            yield directory, supervisor, Driver(supervisor, symbols=SYMBOLS)


@pytest.fixture
def driver(running: tuple[Path, Supervisor, Driver], monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Look for feeds where the running one is; return who writes its rings."""
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(running[0]))
    return running[2]


@pytest.fixture
def market(driver: Driver) -> Iterator[openbell.Market]:
    with openbell.attach("bars") as attached:
        driver.trade(1_000)
        driver.await_applied(attached)
        yield attached


def test_the_bars_of_a_symbol_come_to_its_row(market: openbell.Market, driver: Driver) -> None:
    for symbol, expected in zip(driver.symbols, driver.expected, strict=True):
        bars = market.bars(symbol)
        assert bars.symbols == (symbol,)
        assert bars.volume.sum() == pytest.approx(expected.volume, rel=1e-9)
        assert bars.turnover.sum() == pytest.approx(expected.turnover, rel=1e-9)
        assert (bars.trades.sum(), bars.late.tolist()) == (expected.trades, [0])
        assert (bars.open[0], bars.close[-1]) == (expected.open, expected.last)
        assert (bars.high.max(), bars.low.min()) == (expected.high, expected.low)
        assert not (bars.start_ns % MINUTE).any()
        assert bars.start_ns[-1] == expected.receive_ns - expected.receive_ns % MINUTE


def test_the_bars_of_all_are_those_of_each_on_one_axis(market: openbell.Market, driver: Driver) -> None:
    everybody = market.bars()
    assert everybody.symbols == market.symbols
    assert everybody.close.shape == (len(everybody), len(market))
    assert np.array_equal(np.diff(everybody.start_ns), [MINUTE] * (len(everybody) - 1))
    for place, symbol in enumerate(everybody.symbols):
        one = market.bars(symbol)
        at = np.searchsorted(everybody.start_ns, one.start_ns)
        for name in NAMES[1:]:
            assert np.array_equal(everybody[name][at, place], one[name])
        rest = np.delete(np.arange(len(everybody)), at)
        assert np.isnan(everybody.close[rest, place]).all() and not everybody.volume[rest, place].any()


def test_as_many_bars_come_as_are_wanted_and_kept(market: openbell.Market, driver: Driver) -> None:
    assert (len(market.bars(driver.symbols[0], 1)), len(market.bars(n=1))) == (1, 1)
    assert len(market.bars(n=500)) == 20
    for n in (0, -1):
        with pytest.raises(ValueError, match="n must be a whole number from 1"):
            market.bars(driver.symbols[0], n)
    with pytest.raises(UnknownSymbol, match="did you mean"):
        market.bars("600000")


def test_bars_are_ones_own_and_go_into_what_takes_columns(market: openbell.Market, driver: Driver) -> None:
    bars = market.bars(driver.symbols[0])
    assert tuple(dict(bars)) == NAMES == bars.keys()
    assert bars["close"] is bars.close
    with pytest.raises(KeyError, match=r"no column 'price'; the columns are start_ns, open"):
        bars["price"]
    assert bars.start.astype("datetime64[ns]").astype(np.int64).tolist() == bars.start_ns.tolist()
    assert np.allclose(bars.vwap * bars.volume, bars.turnover)
    bars.close[:] = 0.0
    assert market.bars(driver.symbols[0]).close.all()
    assert repr(bars) == f"<Bars of {driver.symbols[0]}, feed 'bars': {len(bars)} minutes>"
    assert repr(market.bars(n=2)) == f"<Bars of {SYMBOLS} symbols, feed 'bars': 2 minutes>"


def test_a_symbol_that_never_traded_has_no_bars(
    market: openbell.Market, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.add("NEVER")
    assert len(market.bars("NEVER")) == 0
    assert np.isnan(market.bars().close[:, market.symbols.index("NEVER")]).all()
    assert main(["bars", "bars", "NEVER"]) == 0
    assert "no trade yet" in capsys.readouterr().out


def test_the_command_prints_the_bars(
    market: openbell.Market, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    symbol = driver.symbols[3]
    bars = market.bars(symbol)
    minute = str(bars.start[-1])
    assert main(["bars", "bars", symbol]) == 0
    shown = capsys.readouterr().out
    for word in (symbol, "minute (UTC)", minute.replace("T", " ")[:-3], f"{bars.close[-1]:,.10g}"):
        assert word in shown
    assert main(["bars", "bars", symbol, "--json", "--last", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["feed"], told["symbol"], told["late"]) == ("bars", symbol, 0)
    values = {name: bars[name][-1].item() for name in NAMES}
    assert told["bars"] == [{"start": f"{minute}Z", **values}]
    assert main(["bars", "bars", symbol, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "start,open,high,low,close,volume,turnover,trades"
    assert len(lines) == 1 + len(bars)
    assert [float(each) for each in lines[-1].split(",")[1:]] == [values[name] for name in NAMES[1:]]


def test_the_command_refuses_what_is_not_there(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status, word in (
        (["bars", "bars", "60000"], 1, "did you mean 600000.SH"),
        (["bars", "nobody", "600000.SH"], 1, "no feed 'nobody'"),
        (["bars", "bars", "600000.SH", "-n", "0"], 2, "0 is not in the range"),
        (["bars", "bars", "600000.SH", "--csv", "--json"], 2, "--csv and --json exclude each other"),
        (["bars", "bars", "600000.SH", "--watch", "--csv"], 2, "--watch takes neither"),
    ):
        assert main(arguments) == status
        told = capsys.readouterr()
        assert told.out == ""
        assert word in told.err and "Traceback" not in told.err


def test_the_command_watches_a_symbol_until_it_is_stopped(market: openbell.Market, driver: Driver) -> None:
    symbol = driver.symbols[5]
    with started("bars", "bars", symbol, "--watch") as watching:
        watching.until(lambda: symbol in watching.out)
        driver.trade_at(5, 4321.0)
        watching.until(lambda: "close 4,321" in watching.out)
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(10) == 0


def test_workers_killed_in_mid_load_put_every_trade_into_its_bar_once(
    running: tuple[Path, Supervisor, Driver], market: openbell.Market, driver: Driver
) -> None:
    supervisor = running[1]
    for _ in range(3):
        for role in supervisor._workers:
            driver.trade(2_000)
            if role.process is not None and role.running:
                os.kill(role.process.pid, signal.SIGKILL)
            driver.trade(1_000)
    driver.await_applied(market)
    bars = market.bars()
    trades = dict(zip(bars.symbols, bars.trades.sum(axis=0).tolist(), strict=True))
    volume = dict(zip(bars.symbols, bars.volume.sum(axis=0).tolist(), strict=True))
    assert market.status().restarts >= 3
    for symbol, expected in zip(driver.symbols, driver.expected, strict=True):
        assert trades[symbol] == expected.trades
        assert volume[symbol] == pytest.approx(expected.volume, rel=1e-9)


# ---- feeds of their own ----


def test_a_feed_without_bars_says_so(runtime_dir: Path, feed_name: str) -> None:
    config = configure(feed_name)
    without = Config(feed=type(config.feed)(name=feed_name, workers=1, bars=0), sources=config.sources)
    with Supervisor(without, receivers=False) as supervisor:
        supervisor.start()
        driver = Driver(supervisor, symbols=3)
        with openbell.attach(feed_name) as market:
            driver.trade(10)
            driver.await_applied(market)
            for symbol in (None, driver.symbols[0]):
                with pytest.raises(FeedError, match=f"feed '{feed_name}' keeps no bars; set bars = 20"):
                    market.bars(symbol)
            assert np.isnan(market.snapshot().volume_z).all()
            supervisor.stop()
            with pytest.raises(FeedGone):
                market.bars()


def test_the_bars_of_a_market_are_what_its_ticks_come_to(
    runtime_dir: Path, feed_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a whole feed, socket to shared memory: against bars computed in plain Python from the records of its rings."""
    with Process("--symbols", "100", "--rate", "3000", "--seconds", "3", "--books") as exchange:
        ready = exchange.event("ready")
        file = tmp_path / "feed.toml"
        file.write_text(
            f'[feed]\nname = "{feed_name}"\nworkers = 2\nbars = 5\n\n[source]\nvendor = "alltick"\n'
            f'url = "{ready["url"]}"\ntoken_env = "TEST_TOKEN"\nsymbols_file = "symbols.txt"\n'
            'streams = ["trade", "book"]\n'
        )
        (tmp_path / "symbols.txt").write_text("\n".join(a_shares(100)))
        monkeypatch.setenv("TEST_TOKEN", "a-secret-for-nobody")
        _compare(file, feed_name)


def _compare(file: Path, feed_name: str) -> None:
    with started("run", str(file)) as running, _attached(feed_name, running) as market:
        seen = [-1, 0]

        def settled() -> bool:
            applied = market.status().applied
            seen[:] = [applied, seen[1] + 1 if applied == seen[0] and applied > 3000 else 0]
            time.sleep(0.05)
            return seen[1] > 12

        running.until(settled)
        generation = feeds.find(feed_name)
        expected: dict[int, Minutes] = {}
        for worker in range(2):
            tap = Tap(generation.open(ring_name(0, worker), Kind.RING), "oldest")
            while data := tap.read()[0]:
                for record in unpack(data):
                    if record.kind == TRADE:
                        expected.setdefault(record.row, Minutes()).trade(5, record)
        snapshot, bars = market.snapshot(), market.bars()
        assert len(expected) > 50
        for place, symbol in enumerate(snapshot.symbols):
            model = expected.get(int(snapshot.rows[place]), Minutes())
            one = market.bars(symbol)
            for name in NAMES:
                assert one[name].tolist() == pytest.approx([bar[name] for bar in model.bars], rel=1e-9), symbol
            assert one.late.tolist() == [model.late]
            total = bars.volume[:, place].sum() + model.late_volume
            assert total == pytest.approx(float(snapshot.volume[place]), rel=1e-9)
        generation.close()
        # Of one minute, or two, there is no average.
        assert np.isnan(market.snapshot(columns=["volume_z"]).volume_z).all()


def _attached(feed_name: str, running: Command) -> openbell.Market:
    found: list[openbell.Market] = []

    def look() -> bool:
        try:
            found.append(openbell.attach(feed_name))
        except FeedError:
            return False
        return True

    running.until(look)
    return found[0]

"""Scanning a running feed: snapshots of some symbols and columns, expressions, the command, and the examples."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import command_line
import numpy as np
import pytest
from feed_driver import Driver, configure

import openbell
from openbell.errors import ExpressionError, FeedGone, InvalidArgument, UnknownColumn, UnknownSymbol
from openbell.market import DERIVED, Market, Snapshot
from openbell.market.columns import NAMES
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

FEED = "scanned"
SYMBOLS = 150
EXAMPLES = command_line.REPOSITORY / "examples"


class Shared:
    """One feed for all tests of this module, which change nothing that another one looks at."""

    def __init__(self, runtime: Path, supervisor: Supervisor, driver: Driver) -> None:
        self.runtime = runtime
        self.supervisor = supervisor
        self.driver = driver


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    runtime = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(runtime))
        with Supervisor(configure(FEED), receivers=False) as supervisor:
            supervisor.start()
            driver = Driver(supervisor, SYMBOLS)
            # Some have not traded yet.
            driver.trade(200)
            with openbell.attach(FEED) as market:
                driver.await_applied(market)
            yield Shared(runtime, supervisor, driver)
    assert not [path for path in runtime.rglob("*") if path.is_file()]


@pytest.fixture
def market(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(shared.runtime))
    with openbell.attach(FEED) as attached:
        yield attached


# ---- snapshots ----


def test_a_snapshot_of_some_symbols_has_them_in_the_order_asked_for(market: Market) -> None:
    whole = market.snapshot()
    wanted = (whole.symbols[100], whole.symbols[3], whole.symbols[99], whole.symbols[3])
    some = market.snapshot(wanted)
    assert some.symbols == wanted
    assert some.rows.tolist() == [market.row(symbol) for symbol in wanted]
    places = [whole.place(symbol) for symbol in wanted]
    for name in whole:
        assert np.array_equal(some[name], whole[name][places], equal_nan=whole[name].dtype.kind == "f"), name
    # By its text, in which NaN is NaN.
    assert str(some.row(wanted[0])) == str(market[wanted[0]])
    assert list(market.snapshot(iter(wanted[:2])).symbols) == list(wanted[:2])
    assert market.snapshot(()).symbols == ()
    with pytest.raises(UnknownSymbol, match="nobody"):
        market.snapshot((wanted[0], "nobody"))


def test_a_snapshot_of_some_columns_has_those_and_what_derived_ones_need(market: Market) -> None:
    whole = market.snapshot()
    some = market.snapshot(columns=("turnover", "mid", "last", "volume_z"))
    assert list(some) == ["last", "turnover", "bid", "ask"]
    assert some.symbols == whole.symbols
    for name in some:
        assert np.array_equal(some[name], whole[name], equal_nan=True)
    assert some.mid.shape == some.volume_z.shape == (SYMBOLS,)
    with pytest.raises(KeyError, match="'vwap' needs volume"):
        _ = some.vwap
    with pytest.raises(KeyError, match="no column 'size'"):
        some.row(some.symbols[0])
    with pytest.raises(KeyError, match=r"no column 'lsat'; did you mean last\?; the columns are last, size"):
        market.snapshot(columns=("lsat",))
    with pytest.raises(KeyError, match="no column 'version'"):
        market.snapshot(columns=("version",))
    assert len(market.snapshot(columns=())) == 0
    assert market.snapshot(columns=()).symbols == whole.symbols


def test_what_has_not_traded_is_left_out_whatever_columns_are_wanted(market: Market) -> None:
    whole = market.snapshot()
    traded = [symbol for symbol, count in zip(whole.symbols, whole.trades, strict=True) if count]
    assert 0 < len(traded) < SYMBOLS
    assert list(market.snapshot(columns=("bid",), only_traded=True).symbols) == traded
    assert market.snapshot(whole.symbols, only_traded=True).symbols == tuple(traded)


def test_gaps_of_a_connection_are_in_snapshots_of_all_shapes(market: Market) -> None:
    assert market.snapshot(columns=("gaps",)).gaps.tolist() == [0] * SYMBOLS
    assert market.snapshot(market.symbols[:3]).gaps.tolist() == [0] * 3


# ---- scans ----


def test_a_scan_returns_the_rows_for_which_its_expression_holds(market: Market) -> None:
    whole = market.snapshot()
    expected = [
        symbol
        for symbol, last, turnover in zip(whole.symbols, whole.last, whole.turnover, strict=True)
        if last > 40 and turnover > 1000
    ]
    assert len(expected) > 10
    found = market.scan("last > 40 and turnover > 1000")
    assert list(found.symbols) == expected
    assert list(found) == list(whole)
    ordered = market.scan("last > 40 and turnover > 1000", sort="turnover", top=5, columns=("trades",))
    assert list(ordered) == ["last", "turnover", "trades"]
    assert ordered.turnover.tolist() == sorted(found.turnover.tolist(), reverse=True)[:5]
    assert market.scan("last > 40", sort="symbol", descending=False, top=1).symbols == (min(found.symbols),)
    assert market.scan("symbol.startswith('60000')").symbols == tuple(
        symbol for symbol in whole.symbols if symbol.startswith("60000")
    )
    assert market.scan("isnan(open)").symbols == whole.where(whole.trades == 0).symbols
    assert market.scan("isnan(open)", only_traded=True).symbols == ()
    with pytest.raises(ExpressionError, match="did you mean turnover"):
        market.scan("turnovr > 3")


def test_every_column_can_be_scanned_and_exported(market: Market) -> None:
    for name in (*NAMES, *DERIVED):
        assert len(market.scan(f"{name} == {name} or isnan({name})", columns=()).symbols) == SYMBOLS
    table = market.snapshot().to_arrow((*NAMES, *DERIVED))
    assert (table.num_rows, table.num_columns) == (SYMBOLS, 1 + len(NAMES) + len(DERIVED))


# ---- the command ----


def test_the_command_shows_a_table_and_how_many_match(market: Market) -> None:
    expected = market.scan("last > 40", sort="turnover")
    done = command_line.run("scan", FEED, "last > 40", "--sort", "turnover", "--top", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["symbol", "last", "change_pct", "volume", "turnover", "bid", "ask"]
    assert [line.split()[0] for line in lines[1:4]] == list(expected.symbols[:3])
    assert lines[4] == f"{len(expected.symbols)} of {SYMBOLS} symbols, 3 shown"
    assert done.stderr == ""


def test_the_command_prints_json_and_csv_for_programs(market: Market) -> None:
    expected = market.scan("last > 40", sort="abs(last)", descending=False)
    options = ("scan", FEED, "last > 40", "--sort", "abs(last)", "--ascending", "--columns", "symbol, last, vwap,bid")
    shown = command_line.last_object(command_line.run(*options, "--top", "2", "--json").stdout)
    assert shown.keys() == {"feed", "expression", "sort", "taken_ns", "symbols", "matched", "rows"}
    assert (shown["symbols"], shown["matched"], shown["sort"]) == (SYMBOLS, len(expected.symbols), "abs(last)")
    assert shown["rows"] == [
        {"symbol": symbol, "last": last, "vwap": vwap, "bid": None}
        for symbol, last, vwap in zip(expected.symbols[:2], expected.last, expected.vwap, strict=False)
    ]
    done = command_line.run(*options, "--csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["symbol"] for row in rows] == list(expected.symbols)
    assert [float(row["last"]) for row in rows] == expected.last.tolist()
    assert {row["bid"] for row in rows} == {""}
    assert f"{len(rows)} of {SYMBOLS} symbols" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lsat > 3",), ["there is no column 'lsat'; did you mean last?", "    lsat > 3\n    ^^^^\n"]),
        (("last > 3", "--sort", "turnover ="), ["this is no expression", "    turnover =\n"]),
        (("last",), ["a condition is needed"]),
        (("last > 3", "--columns", "last,lsat"), ["no column 'lsat'; did you mean last?; the columns are last,"]),
        (("last > 3", "--json", "--csv"), ["exclude each other"]),
        (("last > 3", "--watch", "--alert"), ["take one of them"]),
        (("last > 3", "--interval", "0"), ["--interval"]),
    ],
)
def test_a_mistake_is_a_usage_error_that_points_at_its_place(
    market: Market, arguments: tuple[str, ...], said: list[str]
) -> None:
    done = command_line.run("scan", FEED, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(each in done.stderr for each in said), done.stderr
    assert "Traceback" not in done.stderr


def test_a_feed_that_does_not_run_is_told(market: Market) -> None:
    done = command_line.run("scan", "nobody", "last > 3")
    assert done.returncode == 1
    assert "nobody" in done.stderr


def test_what_is_empty_for_all_symbols_is_explained(market: Market) -> None:
    done = command_line.run("scan", FEED, "change_pct > 3", "--json")
    assert "change_pct: empty for all symbols; no previous close has been seen yet" in done.stderr
    assert command_line.last_object(done.stdout)["rows"] == []


def test_watching_goes_on_until_ctrl_c_and_shows_what_changes(market: Market, shared: Shared) -> None:
    arguments = ("scan", FEED, "trades > 0", "--watch", "--interval", "0.05", "--json", "--top", "1")
    with command_line.started(*arguments) as watch:
        watch.until(lambda: watch.out.count("\n") >= 3)
        watch.send(signal.SIGINT)
        assert watch.end() == 130
        looks = [json.loads(line) for line in watch.out.splitlines()]
        assert watch.err == ""
    assert all(len(look["rows"]) == 1 for look in looks)
    taken = [look["taken_ns"] for look in looks]
    assert taken == sorted(set(taken))


def test_a_picture_is_drawn_in_place_on_a_terminal(market: Market) -> None:
    parent, child = os.openpty()
    command = command_line.command("scan", FEED, "last > 40", "--watch", "--interval", "0.05", "--top", "2")
    process = subprocess.Popen(
        command, stdout=child, stderr=child, env=command_line.environment() | {"TERM": "xterm"}, close_fds=True
    )
    os.close(child)
    seen = b""
    try:
        while seen.count(b"turnover") < 3:
            seen += os.read(parent, 65536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            try:
                seen += os.read(parent, 65536)
            except OSError:
                # The other end is closed.
                break
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        os.close(parent)
    # It goes up over what it drew before, and shows the cursor again at its end.
    assert b"\x1b[1A" in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


def test_an_alert_tells_each_match_once_until_it_ends(market: Market, shared: Shared) -> None:
    driver = shared.driver
    present = int(market.snapshot().trades.max())
    wanted = f"trades > {present + 2}"
    with command_line.started("scan", FEED, wanted, "--alert", "--interval", "0.05", "--json") as alert:
        # It looks at an empty list first; nothing tells that it has begun but its reading of the feed.
        rounds = 0
        while not alert.out.count("\n") >= 5:
            rounds += 1
            assert rounds < 400, alert.err
            driver.trade(20)
            driver.await_applied(market)
            alert.listen(0.05)
        alert.send(signal.SIGTERM)
        assert alert.end() == 130
        told = [json.loads(line)["symbol"] for line in alert.out.splitlines()]
    assert len(told) == len(set(told)), "a symbol that still matches was told again"
    found = market.scan(wanted)
    assert set(told) <= set(found.symbols)


def test_watching_says_that_the_feed_is_gone_and_goes_on_with_its_next_run(feed_name: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(_trading(feed_name))
        arguments = ("scan", feed_name, "trades > 0", "--watch", "--interval", "0.05", "--json")
        watch = stack.enter_context(command_line.started(*arguments))
        watch.until(lambda: '"matched": 3' in watch.out)
        first.stop()
        watch.until(lambda: "waiting for its next run" in watch.err)
        before = len(watch.out)
        stack.enter_context(_trading(feed_name))
        watch.until(lambda: '"matched": 3' in watch.out[before:])
        assert watch.err.count("waiting for its next run") == 1
        watch.send(signal.SIGINT)
        assert watch.end() == 130


@contextmanager
def _trading(feed_name: str) -> Iterator[Supervisor]:
    """Run a feed in which three symbols have traded."""
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        Driver(supervisor, 3).trade(30)
        yield supervisor


def test_the_table_of_a_whole_market_is_aligned_and_coloured_only_on_a_terminal(market: Market) -> None:
    done = command_line.run("scan", FEED, "last > 0 or isnan(last)", "--columns", "last,volume")
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()[:-1]
    assert len(rows) == SYMBOLS
    assert {len(row) for row in rows} == {len(header)}
    assert "\x1b" not in done.stdout


# ---- the examples ----


def example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=command_line.environment(),
        capture_output=True,
        text=True,
        timeout=command_line.PATIENCE_S,
        check=False,
    )


def test_the_scanner_shows_what_moved_most(market: Market) -> None:
    done = example("scanner.py", FEED, "--top", "3", "--looks", "2", "--interval", "0.01")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "symbols" in line] == [f"{SYMBOLS} symbols"] * 2
    assert len([line for line in lines if line.startswith("  mover")]) in range(1, 7)
    assert example("scanner.py", "nobody").returncode == 1


def test_the_scanner_ends_with_ctrl_c(market: Market) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / "scanner.py"), FEED],
        env=command_line.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        assert "symbols" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (130, "")


def test_sql_over_the_snapshot_runs(market: Market) -> None:
    done = example("duckdb_sql.py", FEED)
    assert done.returncode == 0, done.stderr
    assert "prefix" in done.stdout and "60" in done.stdout
    wrong = example("duckdb_sql.py", FEED, "SELECT lsat FROM market")
    assert (wrong.returncode, "Traceback" in wrong.stderr, "lsat" in wrong.stderr) == (2, False, True)


def test_sql_without_duckdb_says_what_to_install(market: Market, tmp_path: Path) -> None:
    (tmp_path / "duckdb.py").write_text("raise ImportError('none here')\n")
    environment = command_line.environment()
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), environment["PYTHONPATH"]))
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "duckdb_sql.py"), FEED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=command_line.PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (
        2,
        'duckdb_sql: this needs DuckDB: pip install "openbell[duckdb]"',
    )


# ---- what people get wrong ----


def test_a_column_that_is_not_there_is_told_with_what_was_meant(market: Market) -> None:
    snapshot = market.snapshot(columns="last")
    assert list(snapshot) == ["last"]
    asks: list[Callable[[], object]] = [
        lambda: market.column("lsat"),
        lambda: market.snapshot(columns=["lsat"]),
        lambda: market.changes("lsat"),
        lambda: snapshot["lsat"],
        lambda: snapshot.to_dict(["lsat"]),
    ]
    for ask in asks:
        with pytest.raises(UnknownColumn, match=r"no column 'lsat'; did you mean last\?; the columns are "):
            ask()
    with pytest.raises(UnknownColumn, match="column 'vwap' needs turnover, volume, and only last were copied"):
        _ = snapshot.vwap
    assert hasattr(snapshot, "last") and not hasattr(snapshot, "bid")
    copied = pickle.loads(pickle.dumps(UnknownColumn("bid", ("last",))))
    assert str(copied) == "no column 'bid'; the columns are last"


def test_a_call_that_makes_no_sense_is_an_error_of_ours(market: Market) -> None:
    snapshot = market.snapshot()
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: market[3], "a symbol is text"),  # type: ignore[index]
        (lambda: market.scan("last > 1", top=-1), "top must be a whole number from 0"),
        (lambda: market.scan("last > 1", top=1.5), "top must be a whole number from 0"),  # type: ignore[arg-type]
        (lambda: market.bars(n=0), "n must be a whole number from 1"),
        (lambda: snapshot.where(np.array([True])), f"keep must be {SYMBOLS} booleans"),
        (lambda: snapshot.where(snapshot.last), f"keep must be {SYMBOLS} booleans"),  # type: ignore[arg-type]
        (lambda: snapshot.take(snapshot.last > 1), "a mask is for `where`"),  # type: ignore[arg-type]
    ]
    for call, said in calls:
        with pytest.raises(InvalidArgument, match=said):
            call()


def test_one_name_is_no_sequence_of_letters_and_lists_do_for_arrays(market: Market) -> None:
    symbol = market.symbols[1]
    one = market.snapshot(symbol, "last")
    assert (one.symbols, list(one)) == ((symbol,), ["last"])
    assert list(one.to_dict("last")) == ["symbol", "last"]
    whole = market.snapshot()
    assert whole.take([1, 0]).symbols == (market.symbols[1], market.symbols[0])
    assert whole.take([]).symbols == ()
    keep = [False] * SYMBOLS
    keep[1] = True
    assert whole.where(keep).symbols == (symbol,)


def test_a_snapshot_goes_to_another_process_without_the_bars(market: Market) -> None:
    taken = market.snapshot(columns=["last", "turnover", "volume"])
    copied = pickle.loads(pickle.dumps(taken))
    assert copied.symbols == taken.symbols
    np.testing.assert_array_equal(copied.last, taken.last)
    np.testing.assert_array_equal(copied.vwap, taken.vwap)
    with pytest.raises(FeedGone, match="name it in columns="):
        _ = copied.volume_z
    with_bars = market.snapshot(columns=["volume_z"])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(with_bars)).volume_z, with_bars.volume_z)


def test_what_comes_while_a_copy_is_taken_is_not_older_than_nothing(market: Market) -> None:
    received = np.array([0, 5_000_000_000, 7_000_000_000], np.int64)
    made = Snapshot.of_columns("f", ("A", "B", "C"), {"receive_ns": received}, taken_ns=6_000_000_000)
    np.testing.assert_array_equal(made.staleness, [np.nan, 1.0, 0.0])


def test_a_constant_that_is_too_great_warns_nobody(market: Market) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert market.scan("9.0 ** 999 ** 2 < last").symbols == ()

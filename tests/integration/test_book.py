"""The order book of a symbol, as the market and the command give it."""

from __future__ import annotations

import json
import math
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import started
from feed_driver import Driver, configure

import openbell
from openbell.cli import main
from openbell.record import Flag, Kind
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

_RECORD = struct.Struct("<IBBHqqqdddd")
BOTH = Flag.HAS_A | Flag.HAS_B | Flag.HAS_C | Flag.HAS_D
LEVELS = ((10.01, 300.0, 10.02, 100.0), (10.00, 500.0, 10.03, 200.0), (9.99, 100.0, math.nan, 0.0))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Supervisor, Driver]]:
    """Run one feed that keeps three levels, for all tests of this file."""
    directory = tmp_path_factory.mktemp("books") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(directory))
        config = configure("books", book_levels=3)
        with Supervisor(config, receivers=False) as supervisor:
            supervisor.start()
            yield directory, supervisor, Driver(supervisor, symbols=10)


@pytest.fixture
def driver(running: tuple[Path, Supervisor, Driver], monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Look for feeds where the running one is; return who writes its rings."""
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(running[0]))
    return running[2]


@pytest.fixture
def market(driver: Driver) -> Iterator[openbell.Market]:
    with openbell.attach("books") as attached:
        yield attached


def send_book(driver: Driver, index: int, levels: tuple[tuple[float, ...], ...], sequence: int) -> None:
    """Write a whole book of a symbol and publish it."""
    row, shard = driver.places[index]
    records = b""
    for level, values in enumerate(levels, 1):
        flags = Flag.FIRST * (level == 1) | Flag.LAST * (level == len(levels))
        for flag, value in zip((Flag.HAS_A, Flag.HAS_B, Flag.HAS_C, Flag.HAS_D), values, strict=True):
            # Absent is absent, of a price and of its size.
            flags |= flag * (not math.isnan(value) and value != 0.0)
        records += _RECORD.pack(row, Kind.LEVEL, level, flags, 1_000 + sequence, 2_000 + sequence, sequence, *values)
    assert driver.rings[shard].append_group(records)
    driver.rings[shard].publish()


def send_quote(driver: Driver, index: int, values: tuple[float, ...], sequence: int) -> None:
    """Write the best bid and offer of a symbol and publish it."""
    row, shard = driver.places[index]
    record = _RECORD.pack(row, Kind.QUOTE, 0, BOTH, 1_000 + sequence, 2_000 + sequence, sequence, *values)
    assert driver.rings[shard].append(record)
    driver.rings[shard].publish()


def await_sequence(market: openbell.Market, symbol: str, sequence: int) -> openbell.Book:
    """Wait until a quote or a book is in the market."""
    deadline = time.monotonic() + 10
    while (book := market.book(symbol)).sequence != sequence:
        assert time.monotonic() < deadline, book
        time.sleep(0.002)
    return book


def test_a_book_has_the_levels_that_are_there_best_first(driver: Driver, market: openbell.Market) -> None:
    send_book(driver, 0, LEVELS, 7)
    book = await_sequence(market, driver.symbols[0], 7)
    assert (book.symbol, book.row) == (driver.symbols[0], market.row(driver.symbols[0]))
    assert book.bids.tolist() == [10.01, 10.00, 9.99]
    assert book.bid_sizes.tolist() == [300.0, 500.0, 100.0]
    assert book.asks.tolist() == [10.02, 10.03]
    assert book.ask_sizes.tolist() == [100.0, 200.0]
    assert (book.levels, book.exchange_ns, book.receive_ns) == (3, 1_007, 2_007)
    assert (book.bid, book.bid_size, book.ask, book.ask_size) == LEVELS[0]
    assert book.mid == pytest.approx(10.015)
    assert book.spread == pytest.approx(0.01)
    assert book.imbalance == 900 / 1_200


def test_a_side_nobody_is_on_is_empty(driver: Driver, market: openbell.Market) -> None:
    send_book(driver, 1, ((11.0, 900.0, math.nan, 0.0),), 8)
    book = await_sequence(market, driver.symbols[1], 8)
    assert (book.bids.tolist(), len(book.asks), len(book.ask_sizes)) == ([11.0], 0, 0)
    assert math.isnan(book.ask) and math.isnan(book.mid) and math.isnan(book.spread)
    assert book.imbalance == 1.0


def test_without_levels_the_book_is_the_best_bid_and_offer(driver: Driver, market: openbell.Market) -> None:
    send_quote(driver, 2, (5.0, 10.0, 5.5, 20.0), 9)
    book = await_sequence(market, driver.symbols[2], 9)
    assert (book.bids.tolist(), book.asks.tolist(), book.ask_sizes.tolist()) == ([5.0], [5.5], [20.0])
    plain = openbell.Book.of(market[driver.symbols[2]]._replace(book=()))
    assert (plain.bids.tolist(), plain.levels, book.levels) == ([5.0], 0, 3)


def test_before_anything_has_come_both_sides_are_empty(driver: Driver, market: openbell.Market) -> None:
    book = market.book(driver.symbols[3])
    assert len(book.bids) == len(book.asks) == 0
    assert (book.exchange_ns, book.receive_ns, book.sequence) == (0, 0, 0)
    assert math.isnan(book.imbalance) and math.isnan(book.mid)


def test_a_best_bid_that_came_after_the_book_is_told_beside_its_levels(driver: Driver, market: openbell.Market) -> None:
    send_book(driver, 4, LEVELS, 10)
    send_quote(driver, 4, (10.02, 1.0, 10.03, 2.0), 11)
    book = await_sequence(market, driver.symbols[4], 11)
    assert (book.bid, book.ask) == (10.02, 10.03)
    assert book.bids[0] == 10.01


def test_a_book_is_ones_own(driver: Driver, market: openbell.Market) -> None:
    send_book(driver, 5, LEVELS, 12)
    book = await_sequence(market, driver.symbols[5], 12)
    book.bids[:] = 0.0
    assert np.array_equal(market.book(driver.symbols[5]).bids, [10.01, 10.00, 9.99])


def test_the_command_prints_the_book(
    driver: Driver, market: openbell.Market, capsys: pytest.CaptureFixture[str]
) -> None:
    send_book(driver, 6, LEVELS, 13)
    await_sequence(market, driver.symbols[6], 13)
    assert main(["book", "books", driver.symbols[6]]) == 0
    shown = capsys.readouterr().out
    for word in (driver.symbols[6], "10.01", "9.99", "10.03", "mid 10.015", "75%"):
        assert word in shown
    assert main(["book", "books", driver.symbols[6], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bids"] == [[10.01, 300.0], [10.0, 500.0], [9.99, 100.0]]
    assert told["asks"] == [[10.02, 100.0], [10.03, 200.0]]
    assert (told["feed"], told["levels"], told["sequence"], told["exchange_ns"]) == ("books", 3, 13, 1_013)
    assert main(["book", "books", driver.symbols[7], "--json"]) == 0
    nothing = json.loads(capsys.readouterr().out)
    assert (nothing["bids"], nothing["mid"], nothing["imbalance"]) == ([], None, None)


def test_the_command_refuses_what_is_not_there(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status, word in (
        (["book", "books", "60000"], 1, "did you mean 600000.SH"),
        (["book", "books", "60000", "--watch"], 1, "did you mean 600000.SH"),
        (["book", "nobody", "600000.SH"], 1, "no feed 'nobody'"),
        (["book", "books", "600000.SH", "--watch", "--json"], 2, "--watch takes no --json"),
    ):
        assert main(arguments) == status
        told = capsys.readouterr()
        assert told.out == ""
        assert word in told.err and "Traceback" not in told.err


def test_watching_a_book_prints_what_changes_until_it_is_interrupted(driver: Driver) -> None:
    with started("book", "books", driver.symbols[8], "--watch") as watching:
        watching.until(lambda: driver.symbols[8] in watching.out)
        send_quote(driver, 8, (1.25, 10.0, 1.5, 20.0), 14)
        watching.until(lambda: "10 @ 1.25 | 1.5 @ 20" in watching.out)
        watching.send(signal.SIGINT)
        assert watching.end() == 0
    assert watching.err == ""


def test_watching_a_book_goes_on_with_the_next_run_of_the_feed(feed_name: str) -> None:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        driver = Driver(supervisor, symbols=1)
        symbol = driver.symbols[0]
        send_quote(driver, 0, (1.0, 10.0, 2.0, 20.0), 1)
        with started("book", feed_name, symbol, "--watch") as watching:
            watching.until(lambda: "10 @ 1 | 2 @ 20" in watching.out)
            supervisor.stop()
            watching.until(lambda: "looks for it again" in watching.out)
            with Supervisor(configure(feed_name), receivers=False) as again:
                again.start()
                watching.until(lambda: f"has no symbol '{symbol}'" in watching.out)
                send_quote(Driver(again, symbols=1), 0, (3.0, 10.0, 4.0, 20.0), 1)
                watching.until(lambda: "10 @ 3 | 4 @ 20" in watching.out)
            watching.send(signal.SIGINT)
            assert watching.end() == 0
    assert watching.err == ""

"""What moved: the stream of changes of a market."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from feed_driver import Driver, configure

import openbell
from openbell.errors import FeedGone, InvalidArgument, UnknownSymbol
from openbell.market.changes import Changes, ChangeStream, Move
from openbell.record import ROW_NONE, Flag, Kind, MarketStatus
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

FEED = "changes"
SYMBOLS = 40
_LEVEL = struct.Struct("<IBBHqqqdddd")
_STATUS = struct.Struct("<IBBH7q")


class House:
    """A feed, who writes its rings, and a market attached to it; each test takes symbols of its own."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.driver = Driver(supervisor, symbols=SYMBOLS)
        self.market = openbell.attach(FEED)
        self._next = 0

    def take(self, count: int = 1) -> list[int]:
        """Return numbers of symbols that no other test has."""
        self._next += count
        return list(range(self._next - count, self._next))

    def trade(self, index: int, *prices: float, size: float = 1.0) -> None:
        """Have trades of one symbol applied."""
        self.driver.trade_at(index, *prices, size=size)
        self.settle()

    def bid(self, index: int, bid: float | None) -> None:
        """Have an order book with this best bid, or none, applied."""
        row, shard = self.driver.places[index]
        flags = Flag.FIRST | Flag.LAST | Flag.HAS_C | Flag.HAS_D | (0 if bid is None else Flag.HAS_A | Flag.HAS_B)
        record = _LEVEL.pack(row, Kind.LEVEL, 1, flags, 1, 2, 3, bid or 0.0, 1.0, 100.0, 1.0)
        assert self.driver.rings[shard].append_group(record)
        self.driver.rings[shard].publish()
        self.driver.sent += 1
        self.settle()

    def settle(self) -> None:
        """Wait until all that was sent is in the market."""
        self.driver.await_applied(self.market)

    def name(self, index: int) -> str:
        """Return the symbol of a number."""
        return self.driver.symbols[index]

    def names(self, *indices: int) -> list[str]:
        """Return the symbols of numbers."""
        return [self.name(index) for index in indices]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, House]]:
    """Run one feed for all tests that do not stop it."""
    directory = tmp_path_factory.mktemp("changes") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(directory))
        with Supervisor(configure(FEED), receivers=False) as supervisor:
            supervisor.start()
            house = House(supervisor)
            yield directory, house
            house.market.close()


@pytest.fixture
def house(running: tuple[Path, House], monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(running[0]))
    return running[1]


def moves(changes: Changes) -> list[Move]:
    """Return what is told, with the arrays checked against one another."""
    assert [each.symbol for each in changes] == list(changes.symbols)
    assert len(changes) == len(changes.rows) == len(changes.old) == len(changes.new) == len(changes.receive_ns)
    return list(changes)


def test_only_what_moved_since_the_last_look_is_told(house: House) -> None:
    one, two, three = house.take(3)
    for index in (one, two, three):
        house.trade(index, 10.0)
    stream = house.market.changes()
    assert moves(stream.poll()) == []
    house.trade(one, 10.5)
    house.trade(two, 11.0)
    # The same price again is an event, and no change.
    house.trade(three, 10.0)
    changes = stream.poll()
    expected = {Move(house.name(one), 10.0, 10.5), Move(house.name(two), 10.0, 11.0)}
    assert set(moves(changes)) == expected
    assert [house.market.symbol(row) for row in changes.rows] == list(changes.symbols)
    assert (changes.looked_at, changes.column, changes.feed) == (3, "last", FEED)
    assert changes.generation == house.market.generation
    assert changes.receive_ns.tolist() == [house.market[symbol].receive_ns for symbol in changes.symbols]
    assert moves(stream.poll()) == []


def test_ten_trades_between_two_looks_are_one_move(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 10.0)
    stream = house.market.changes()
    house.trade(index, *(10.0 + step / 100 for step in range(1, 11)))
    assert moves(stream.poll()) == [Move(house.name(index), 10.0, 10.10)]
    house.trade(index, 11.0, 10.10)
    assert moves(stream.poll()) == [], "it went away and came back: there is nothing to tell"


def test_moves_below_the_threshold_add_up_until_they_are_told(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 10.0)
    stream = house.market.changes(min_ticks=3, tick=0.01)
    for price in (10.01, 10.02, 10.0, 10.02):
        house.trade(index, price)
        assert moves(stream.poll()) == []
    house.trade(index, 10.03)
    assert moves(stream.poll()) == [Move(house.name(index), 10.0, 10.03)]
    house.trade(index, 10.01)
    assert moves(stream.poll()) == []
    house.trade(index, 10.0)
    assert moves(stream.poll()) == [Move(house.name(index), 10.03, 10.0)]


def test_one_tick_of_a_decimal_price_is_one_tick(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 10.0)
    stream = house.market.changes(min_ticks=1, tick=0.01)
    prices = [round(10 + step / 100, 2) for step in range(1, 200)]
    assert any(new - old < 0.01 for old, new in pairwise(prices)), "floats are not decimal"
    for price in prices[:40]:
        house.trade(index, price)
        assert len(stream.poll()) == 1


def test_per_cent_are_of_what_was_told_last(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 200.0)
    stream = house.market.changes(min_pct=1.0)
    house.trade(index, 201.9)
    assert moves(stream.poll()) == []
    house.trade(index, 202.0)
    assert moves(stream.poll()) == [Move(house.name(index), 200.0, 202.0)]
    house.trade(index, 200.0)
    assert moves(stream.poll()) == []


def test_a_move_must_reach_both_thresholds_if_both_are_given(house: House) -> None:
    cheap, dear = house.take(2)
    house.trade(cheap, 1.0)
    house.trade(dear, 1000.0)
    stream = house.market.changes(min_ticks=5, min_pct=1.0, tick=0.01)
    house.trade(cheap, 1.02)  # 2 %, 2 ticks
    house.trade(dear, 1001.0)  # 0.1 %, 100 ticks
    assert moves(stream.poll()) == []
    house.trade(cheap, 1.05)
    house.trade(dear, 1010.0)
    assert set(moves(stream.poll())) == {Move(house.name(cheap), 1.0, 1.05), Move(house.name(dear), 1000.0, 1010.0)}


def test_each_symbol_may_have_a_tick_of_its_own(house: House) -> None:
    fine, coarse, unknown = house.take(3)
    for index in (fine, coarse, unknown):
        house.trade(index, 100.0)
    ticks = dict(zip(house.names(fine, coarse), (0.01, 0.5), strict=True))
    stream = house.market.changes(min_ticks=2, min_pct=0.01, tick=ticks)
    for index in (fine, coarse, unknown):
        house.trade(index, 100.02)
    # Two ticks, less than one, and one that goes by the per cent alone.
    assert set(stream.poll().symbols) == set(house.names(fine, unknown))


def test_a_first_price_is_told_whatever_the_threshold(house: House) -> None:
    (index,) = house.take()
    stream = house.market.changes(min_ticks=1_000, min_pct=50.0, tick=1.0)
    house.trade(index, 10.0)
    (move,) = moves(stream.poll())
    assert math.isnan(move.old)
    assert (move.symbol, move.new) == (house.name(index), 10.0)


def test_a_price_that_is_gone_is_told_and_so_is_its_return(house: House) -> None:
    (index,) = house.take()
    house.bid(index, 10.0)
    stream = house.market.changes("bid", min_pct=50.0)
    house.bid(index, None)
    (lost,) = moves(stream.poll())
    assert lost.old == 10.0 and math.isnan(lost.new)
    house.bid(index, None)
    assert moves(stream.poll()) == []
    house.bid(index, 10.0)
    (back,) = moves(stream.poll())
    assert math.isnan(back.old) and back.new == 10.0


def test_at_the_beginning_everything_can_be_told_that_has_a_value(house: House) -> None:
    priced, empty = house.take(2)
    house.trade(priced, 10.0)
    stream = house.market.changes(min_pct=5.0, symbols=house.names(priced, empty), initial=True)
    changes = stream.poll()
    assert list(changes.symbols) == house.names(priced)
    assert np.isnan(changes.old).all()
    house.trade(priced, 10.1)
    assert moves(stream.poll()) == []


def test_only_the_symbols_asked_for_are_looked_at(house: House) -> None:
    mine, other = house.take(2)
    stream = house.market.changes(symbols=house.names(mine))
    single = house.market.changes(symbols=house.name(mine))
    house.trade(mine, 10.0)
    house.trade(other, 10.0)
    for each in (stream, single):
        changes = each.poll()
        assert list(changes.symbols) == house.names(mine)
        assert changes.looked_at == 1
    with pytest.raises(UnknownSymbol, match="did you mean"):
        house.market.changes(symbols=["60000"])


def test_counts_and_sums_can_be_followed_too(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 10.0)
    trades = house.market.changes("trades", min_pct=100.0)
    turnover = house.market.changes("turnover")
    house.trade(index, 10.0, 10.0, 10.0)
    assert moves(trades.poll()) == [Move(house.name(index), 1, 4)]
    assert trades.poll().new.dtype == np.int64
    assert moves(turnover.poll()) == [Move(house.name(index), 10.0, 40.0)]


def test_a_session_that_begins_moves_no_price_and_starts_the_sums_anew(house: House) -> None:
    (index,) = house.take()
    house.trade(index, 10.0, size=5.0)
    last, volume = house.market.changes(symbols=house.names(index)), house.market.changes("volume")
    record = _STATUS.pack(ROW_NONE, Kind.STATUS, 0, Flag.HAS_A | Flag.HAS_B, 0, 0, 0, 20260105, MarketStatus.OPEN, 0, 0)
    for ring in house.driver.rings:
        assert ring.append(record)
        ring.publish()
    deadline = time.monotonic() + 10
    while house.market[house.name(index)].session != 20260105:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    changes = last.poll()
    assert (moves(changes), changes.looked_at) == ([], 1)
    told = {move.symbol: move for move in volume.poll()}
    assert told[house.name(index)] == Move(house.name(index), 5.0, 0.0)
    house.trade(index, 10.5)
    assert moves(last.poll()) == [Move(house.name(index), 10.0, 10.5)]


def test_what_comes_later_is_followed_from_its_first_price(house: House) -> None:
    stream = house.market.changes(min_ticks=5, tick=1.0)
    index = house.driver.add("later")
    assert moves(stream.poll()) == []
    house.trade(index, 10.0)
    (move,) = moves(stream.poll())
    assert (move.symbol, move.new) == ("later", 10.0)


def test_a_stream_waits_for_news_and_keeps_its_distance(house: House) -> None:
    first, second = house.take(2)
    stream = house.market.changes(interval=0.2)
    house.trade(first, 10.0)
    assert list(next(stream).symbols) == house.names(first)
    began = time.monotonic()
    house.trade(second, 10.0)
    assert list(next(stream).symbols) == house.names(second)
    assert time.monotonic() - began > 0.1


def test_a_task_follows_changes_while_its_loop_goes_on(house: House) -> None:
    first, second = house.take(2)

    async def follow(stream: ChangeStream) -> list[str]:
        told: list[str] = []
        async for changes in stream:
            told += changes.symbols
            if len(told) == 2:
                break
        return told

    async def scenario() -> tuple[list[str], int]:
        following = asyncio.create_task(follow(house.market.changes(interval=0.0)))
        turns = 0
        for index in (first, second):
            for _ in range(20):
                await asyncio.sleep(0.005)
                turns += not following.done()
            house.trade(index, 10.0)
        return await asyncio.wait_for(following, 20), turns

    assert asyncio.run(scenario()) == (house.names(first, second), 40)


def test_a_stream_goes_on_with_the_next_run_by_what_it_told_last(feed_name: str) -> None:
    with Supervisor(configure(feed_name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        market = openbell.attach(feed_name, reattach=True, wait_s=20.0)
        driver = Driver(supervisor, symbols=3)
        for index in range(3):
            driver.trade_at(index, 100.0)
        driver.await_applied(market)
        stream, short = market.changes(min_pct=5.0, interval=0.0), openbell.attach(feed_name).changes(interval=0.0)
        first = market.generation
    with Supervisor(configure(feed_name, workers=1), receivers=False) as supervisor:
        supervisor.start()
        # In other rows, one of them gone, and a new one.
        driver = Driver(supervisor, symbols=4, backwards=True)
        driver.trade_at(0, 106.0)
        driver.trade_at(1, 104.0)
        driver.trade_at(3, 50.0)
        driver.await_applied(market)
        changes = next(stream)
        assert changes.generation == market.generation != first
        told = {move.symbol: (move.old, move.new) for move in moves(changes)}
        assert told.pop(driver.symbols[0]) == (100.0, 106.0)
        ((symbol, (old, new)),) = told.items()
        assert (symbol, new) == (driver.symbols[3], 50.0) and math.isnan(old)
        # What was told of a symbol without a price in this run yet is not forgotten.
        driver.trade_at(2, 104.0)
        driver.await_applied(market)
        assert moves(stream.poll()) == []
        driver.trade_at(2, 105.0)
        driver.await_applied(market)
        assert moves(stream.poll()) == [Move(driver.symbols[2], 100.0, 105.0)]
        for use in (short.poll, lambda: next(short)):
            with pytest.raises(FeedGone, match="attach again"):
                use()
    market.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"min_ticks": 1}, "min_ticks needs the price increment"),
        ({"min_pct": -1.0}, "min_pct must be a finite number from 0"),
        ({"min_pct": math.nan}, "min_pct must be a finite number from 0"),
        ({"interval": math.inf}, "interval must be a finite number from 0"),
        ({"min_ticks": 1, "tick": 0.0}, "a tick must be a finite number above 0"),
        ({"min_ticks": 1, "tick": {"A": -1.0}}, "a tick must be a finite number above 0.*of A"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(house: House, arguments: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        house.market.changes(**arguments)  # type: ignore[arg-type]


def test_a_column_that_is_none_is_refused(house: House) -> None:
    with pytest.raises(KeyError, match="the columns are last, size"):
        house.market.changes("lsat")

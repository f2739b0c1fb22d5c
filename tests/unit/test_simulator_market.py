"""The made-up market: its events, their frames and its oracle, each against a plain computation."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter

import numpy as np
import pytest

from openbell.errors import ConfigError
from openbell.simulator.clock import MS, Clock
from openbell.simulator.lateness import Lateness
from openbell.simulator.oracle import EMPTY_ROW
from openbell.simulator.pace import PROFILES, SECOND_NS, OpeningPace, SteadyPace, together
from openbell.simulator.tally import MarketOracle
from openbell.simulator.trading import BLOCK_EVENTS, DEFAULT_OPEN_MS, TradeBlock, TradingDay
from openbell.simulator.universe import DEFAULT_SYMBOLS, MAX_SYMBOLS, UNIVERSES, a_shares


def a_day(name: str, symbols: list[str], seed: int, rate: float) -> TradingDay:
    random = np.random.Generator(np.random.PCG64(seed))
    return TradingDay(UNIVERSES[name], symbols, random, SteadyPace(len(symbols), rate, random))


def blocks(symbols: list[str], count: int, seed: int = 1, rate: float = 20_000.0, name: str = "cn") -> list[TradeBlock]:
    """Return the opening's prints in one piece, and so many blocks of the stream."""
    day = a_day(name, symbols, seed, rate)
    opening: list[TradeBlock] = []
    while sum(map(len, opening)) < len(symbols):
        opening.append(day.next_block()[0])
    fields = [field.name for field in dataclasses.fields(TradeBlock)]
    prints = TradeBlock(**{name: np.concatenate([getattr(block, name) for block in opening]) for name in fields})
    return [prints, *(day.next_block()[0] for _ in range(count))]


def test_the_default_universe_has_more_than_5000_codes_of_the_real_ranges() -> None:
    codes = a_shares()
    assert len(codes) == len(set(codes)) == DEFAULT_SYMBOLS > 5000
    assert all(re.fullmatch(r"60[0135]\d{3}\.SH|(000|002|30[01])\d{3}\.SZ", code) for code in codes)
    assert {"600519.SH", "000001.SZ", "300750.SZ"} <= set(codes)


def test_a_smaller_universe_is_part_of_a_larger_one() -> None:
    assert set(a_shares(7)) < set(a_shares(100)) < set(a_shares(MAX_SYMBOLS))


@pytest.mark.parametrize("count", [0, -1, MAX_SYMBOLS + 1])
def test_a_universe_of_an_impossible_size_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=str(MAX_SYMBOLS)):
        a_shares(count)


@pytest.mark.parametrize(
    ("name", "count", "form"),
    [("hk", 3_000, r"[1-9]\d{0,3}\.HK"), ("us", 11_000, r"[A-Z]{1,5}\.US"), ("cn", 5_200, r"\d{6}\.S[HZ]")],
)
def test_a_universe_is_a_whole_market_of_codes_as_the_vendor_writes_them(name: str, count: int, form: str) -> None:
    universe = UNIVERSES[name]
    codes = universe.symbols()
    assert len(codes) == len(set(codes)) == count
    assert all(re.fullmatch(form, code) for code in codes)
    assert set(universe.symbols(20)) < set(codes) < set(universe.symbols(universe.max_symbols))
    assert {"cn": "600519.SH", "hk": "700.HK", "us": "AAPL.US"}[name] in universe.symbols(20)


@pytest.mark.parametrize(
    ("name", "price", "tick"),
    [
        *(("cn", 100, 1), ("cn", 123_456, 1)),
        *(("hk", 100, 1), ("hk", 250, 5), ("hk", 9_990, 10), ("hk", 15_000, 10), ("hk", 30_000, 20)),
        *(("hk", 99_950, 50), ("hk", 410_200, 200), ("hk", 1_500_000, 1_000)),
        *(("us", 5_000, 1), ("us", 9_999, 1), ("us", 10_000, 100), ("us", 1_892_300, 100)),
    ],
)
def test_prices_move_by_the_venue_s_tick(name: str, price: int, tick: int) -> None:
    grid = UNIVERSES[name].grid
    at = int(np.searchsorted(grid, price))
    assert grid[at] == price
    assert grid[at + 1] - price == tick
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize("name", ["cn", "hk", "us"])
def test_every_trade_is_at_a_price_of_the_grid_and_of_whole_lots(name: str) -> None:
    universe = UNIVERSES[name]
    symbols = universe.symbols(400)
    day = blocks(symbols, 20, name=name)
    lots: dict[int, int] = {}
    for block in day:
        assert np.isin(block.price, universe.grid).all()
        assert (block.volume > 0).all()
        assert np.array_equal(block.turnover, block.price * block.volume)
        for symbol, volume in zip(block.symbol.tolist(), block.volume.tolist(), strict=True):
            lots[symbol] = math.gcd(lots.get(symbol, 0), volume)
    if name == "cn":
        assert not any(lot % 100 for lot in lots.values())
    elif name == "hk":
        assert lots[symbols.index("700.HK")] % 100 == 0
        assert lots[symbols.index("5.HK")] % 400 == 0
        assert len(set(lots.values())) > 4
    else:
        assert min(lots.values()) == 1


@pytest.mark.parametrize("name", ["cn", "hk", "us"])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_an_opening_has_exactly_its_profile_s_events_in_every_period(name: str, scale: float) -> None:
    profile = PROFILES[name]
    pace = OpeningPace(profile, scale, np.random.default_rng(1))
    times: list[np.ndarray] = []
    while not times or times[-1][-1] < 2 * SECOND_NS:
        times.append(pace.take(1000))
        assert 0 < len(times[-1]) <= 1000
    intended = np.concatenate(times)
    assert (np.diff(intended) >= 0).all()
    for end, total in profile.totals[:2]:
        assert np.count_nonzero(intended < end) == round(total * scale) == pace.expected(end)
    assert (intended[: profile.totals[0][1] // 20] == 0).all() == profile.flush
    # After the first second: the second to the tenth make up the rest of the first ten.
    rest = (profile.totals[2][1] - profile.totals[1][1]) / 9 * scale
    assert np.count_nonzero((intended >= SECOND_NS) & (intended < 2 * SECOND_NS)) == pytest.approx(rest, rel=0.1)


def test_an_opening_s_last_rate_goes_on_for_ever() -> None:
    pace = OpeningPace(PROFILES["hk"], 0.02, np.random.default_rng(1))
    intended = np.concatenate([pace.take(5_000) for _ in range(8)])
    late = intended[intended >= 60 * SECOND_NS]
    assert late[-1] > 100 * SECOND_NS
    assert len(late) / (late[-1] - 60 * SECOND_NS) * SECOND_NS == pytest.approx(2_600 * 0.02, rel=0.05)


def test_events_that_share_a_frame_are_intended_for_the_last_one_s_time() -> None:
    times = np.array([1, 2, 3, 4, 5, 6, 7])
    assert together(times, 3).tolist() == [3, 3, 3, 6, 6, 6, 7]
    assert together(times, 1) is times


def test_the_same_seed_makes_the_same_day() -> None:
    symbols = a_shares(300)
    for one, other in zip(blocks(symbols, 5, seed=7), blocks(symbols, 5, seed=7), strict=True):
        for field in dataclasses.fields(TradeBlock):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_another_seed_makes_another_day() -> None:
    symbols = a_shares(300)
    one, other = blocks(symbols, 1, seed=7)[1], blocks(symbols, 1, seed=8)[1]
    assert not np.array_equal(one.symbol, other.symbol)
    assert not np.array_equal(one.price, other.price)


def test_the_opening_flush_is_one_trade_a_symbol_at_one_instant() -> None:
    opening = blocks(a_shares(500), 0)[0]
    assert sorted(opening.symbol) == list(range(500))
    assert not opening.intended_ns.any()
    assert not opening.side.any()


def test_the_steady_stream_has_the_asked_rate_and_never_goes_back_in_time() -> None:
    day = blocks(a_shares(500), 40, rate=50_000.0)
    intended = np.concatenate([block.intended_ns for block in day])
    assert (np.diff(intended) >= 0).all()
    assert intended[-1] == pytest.approx(40 * BLOCK_EVENTS / 50_000 * 1e9, rel=0.03)


def test_few_symbols_make_most_of_the_trades() -> None:
    counts = Counter(np.concatenate([block.symbol for block in blocks(a_shares(), 100)[1:]]).tolist())
    busiest = sum(count for _, count in counts.most_common(DEFAULT_SYMBOLS // 50))
    assert 0.3 < busiest / (100 * BLOCK_EVENTS) < 0.7


def test_values_are_a_market_s() -> None:
    symbols = a_shares(50)
    opening, *day = blocks(symbols, 60)
    first = {int(i): int(price) for i, price in zip(opening.symbol, opening.price, strict=True)}
    for block in day:
        assert (block.price > 0).all()
        assert (block.volume > 0).all()
        assert not (block.volume % 100).any()
        assert np.array_equal(block.turnover, block.price * block.volume)
        assert set(block.side) <= {1, 2}
        # Within a day's limit of the previous close: at most 20 % up and 20 % down, so 1.2 / 0.8 apart.
        reference = np.array([first[i] for i in block.symbol.tolist()])
        assert (block.price <= reference * 1.51 + 1).all()
        assert (block.price >= reference * 0.66 - 1).all()


def test_sequences_grow_by_one_from_trade_to_trade_of_a_symbol_and_prices_by_ticks() -> None:
    seen: dict[int, tuple[int, int]] = {}
    for block in blocks(a_shares(40), 20):
        for i, sequence, price in zip(
            block.symbol.tolist(), block.sequence.tolist(), block.price.tolist(), strict=True
        ):
            if i in seen:
                assert sequence == seen[i][0] + 1
                assert abs(price - seen[i][1]) <= 2 * 20  # clipped at a limit the walk may come back at once
            seen[i] = sequence, price
    assert len(seen) == 40


def test_the_oracle_equals_a_plain_loop_over_what_was_sent() -> None:
    symbols = a_shares(60)
    random = np.random.default_rng(3)
    clock = Clock(DEFAULT_OPEN_MS * MS, MS)
    oracle = MarketOracle(symbols, UNIVERSES["cn"], clock)
    expected: dict[str, dict[str, float | int]] = {}
    trades = 0
    for block in blocks(symbols, 30):
        sent = (random.random(len(block)) < 0.4).astype(np.int16)
        oracle.apply_trades(block, sent)
        told = clock.told(block.intended_ns)
        for i in np.flatnonzero(sent).tolist():
            trades += 1
            price, volume, turnover = int(block.price[i]) / 100, float(block.volume[i]), int(block.turnover[i])
            row = expected.setdefault(
                symbols[block.symbol[i]], EMPTY_ROW | {"open": price, "high": price, "low": price}
            )
            row["last"], row["size"] = price, volume
            row["high"], row["low"] = max(row["high"], price), min(row["low"], price)
            row["volume"] += volume
            row["turnover"] += turnover  # in cents until the end
            row["trades"] += 1
            row["trade_exchange_ns"] = int(told[i]) * 1_000_000
            row["trade_sequence"] = int(block.sequence[i])
    for row in expected.values():
        row["turnover"] = row["turnover"] / 100
    found = oracle.rows()
    assert found.keys() == expected.keys()
    for code, row in found.items():
        for column, value in row.items():
            assert value == expected[code][column] or (math.isnan(value) and math.isnan(expected[code][column])), column
    assert dataclasses.asdict(oracle.counts) == {
        "sent": trades,
        "trades": trades,
        "quotes": 0,
        "books": 0,
        "tickers": 0,
        "ignored": 0,
        "other": 0,
    }


def test_the_oracle_of_nothing_sent_is_empty() -> None:
    symbols = a_shares(10)
    oracle = MarketOracle(symbols, UNIVERSES["cn"], Clock(DEFAULT_OPEN_MS * MS, MS))
    oracle.apply_trades(blocks(symbols, 0)[0], np.zeros(10, dtype=np.int16))
    assert oracle.rows() == {}
    assert oracle.counts.sent == 0


def test_lateness_states_percentiles_within_a_bucket_and_the_exact_maximum() -> None:
    lateness = Lateness()
    assert lateness.summary() is None
    for part in np.array_split(np.arange(1, 100_001, dtype=np.int64) * 1000, 7):
        lateness.add(part)
    lateness.add(np.empty(0, dtype=np.int64))
    summary = lateness.summary()
    assert summary is not None
    assert summary["p50"] == pytest.approx(50_000_000, rel=0.045)
    assert summary["p99"] == pytest.approx(99_000_000, rel=0.045)
    assert summary["max"] == 100_000_000

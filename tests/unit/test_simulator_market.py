"""The made-up market: its events, their frames and its oracle, each against a plain computation."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections import Counter

import numpy as np
import pytest

from openbell.errors import ConfigError
from openbell.simulator.frames import TradeEncoder, text_frame
from openbell.simulator.lateness import Lateness
from openbell.simulator.oracle import EMPTY_ROW, TradeOracle
from openbell.simulator.trading import BLOCK_EVENTS, DEFAULT_OPEN_MS, TradeBlock, TradingDay
from openbell.simulator.universe import DEFAULT_SYMBOLS, MAX_SYMBOLS, a_shares


def blocks(symbols: list[str], count: int, seed: int = 1, rate: float = 20_000.0) -> list[TradeBlock]:
    day = TradingDay(symbols, seed, rate)
    return [day.opening(), *(day.next_block() for _ in range(count))]


def payloads(frames: bytes) -> list[bytes]:
    """Cut a run of unmasked frames by the lengths in their headers."""
    found = []
    position = 0
    while position < len(frames):
        assert frames[position] == 0x81
        size, head = frames[position + 1], 2
        if size == 126:
            size, head = int.from_bytes(frames[position + 2 : position + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(frames[position + 2 : position + 10], "big"), 10
        found.append(frames[position + head : position + head + size])
        position += head + size
    assert position == len(frames)
    return found


def message(symbols: list[str], block: TradeBlock, i: int) -> bytes:
    """Write a trade the slow way, keys in the order of the vendor's documents."""
    price, turnover = int(block.price[i]), int(block.turnover[i])
    data = {
        "code": symbols[block.symbol[i]],
        "seq": int(block.sequence[i]),
        "tick_time": int(block.time_ms[i]),
        "price": f"{price // 100}.{price % 100:02d}",
        "volume": str(int(block.volume[i])),
        "turnover": f"{turnover // 100}.{turnover % 100:02d}",
        "trade_direction": int(block.side[i]),
    }
    return json.dumps({"cmd_id": 22998, "data": data}, separators=(",", ":")).encode()


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
    assert set(opening.time_ms) == {DEFAULT_OPEN_MS}


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


def test_frames_are_byte_for_byte_what_the_vendor_documents() -> None:
    symbols = a_shares(700)
    encoder = TradeEncoder(symbols)
    for block in blocks(symbols, 3):
        frames, offsets = encoder.encode(block, np.arange(len(block)))
        expected = [message(symbols, block, i) for i in range(len(block))]
        assert payloads(frames) == expected
        assert offsets[-1] == len(frames)
        assert [payloads(frames[a:b]) for a, b in itertools.pairwise(offsets)] == [[each] for each in expected]


def test_only_the_chosen_trades_are_encoded() -> None:
    symbols = a_shares(100)
    block = blocks(symbols, 1)[1]
    chosen = np.flatnonzero(block.symbol % 3 == 0)
    frames, offsets = TradeEncoder(symbols).encode(block, chosen)
    assert payloads(frames) == [message(symbols, block, int(i)) for i in chosen]
    none, offsets = TradeEncoder(symbols).encode(block, np.empty(0, dtype=np.intp))
    assert none == b""
    assert offsets.tolist() == [0]


def test_numbers_of_every_width_are_encoded_right() -> None:
    prices = [1, 9, 10, 99, 100, 101, 999, 1_000, 10_000, 99_999, 100_000, 100_001, 999_999]
    volumes = [1, 9, 10, 100, 1_000, 9_999, 10_000, 10_001, 100_000, 12_345_678, 10_000_000, 99_999_999, 100]
    count = len(prices)
    price, volume = np.array(prices), np.array(volumes)
    block = TradeBlock(
        symbol=np.arange(count, dtype=np.intp),
        intended_ns=np.zeros(count, dtype=np.int64),
        sequence=np.array([10**k for k in range(12)] + [0]),
        time_ms=np.array([DEFAULT_OPEN_MS, 10**12, 9_999_999_999_999] * 4 + [1_700_000_000_000]),
        price=price,
        volume=volume,
        turnover=price * volume,
        side=np.arange(count) % 3,
    )
    symbols = a_shares(count)
    frames, _ = TradeEncoder(symbols).encode(block, np.arange(count))
    assert payloads(frames) == [message(symbols, block, i) for i in range(count)]


@pytest.mark.parametrize(
    ("field", "value"), [("price", 10**6), ("volume", 10**8), ("turnover", 10**14), ("sequence", 10**12)]
)
def test_a_number_wider_than_its_field_is_an_error_not_a_wrong_frame(field: str, value: int) -> None:
    symbols = a_shares(10)
    block = dataclasses.replace(blocks(symbols, 0)[0], **{field: np.full(10, value)})
    with pytest.raises(OverflowError, match=field):
        TradeEncoder(symbols).encode(block, np.arange(10))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_of_any_length_has_the_right_header(size: int) -> None:
    assert payloads(text_frame(b"x" * size) + text_frame(b"next")) == [b"x" * size, b"next"]


def test_the_oracle_equals_a_plain_loop_over_what_was_sent() -> None:
    symbols = a_shares(60)
    random = np.random.default_rng(3)
    oracle = TradeOracle(symbols)
    expected: dict[str, dict[str, float | int]] = {}
    trades = 0
    for block in blocks(symbols, 30):
        sent = random.random(len(block)) < 0.4
        oracle.apply(block, sent)
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
            row["trade_exchange_ns"] = int(block.time_ms[i]) * 1_000_000
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
        "ignored": 0,
        "other": 0,
    }


def test_the_oracle_of_nothing_sent_is_empty() -> None:
    symbols = a_shares(10)
    oracle = TradeOracle(symbols)
    oracle.apply(blocks(symbols, 0)[0], np.zeros(10, dtype=np.bool_))
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

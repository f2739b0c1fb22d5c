"""The worker's loop: after any sequence of records the snapshot is what an independent model says."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import numpy as np
import pytest
from corelab.memory import memory
from corelab.oracle import Copy, Oracle
from corelab.records import BAR, GAP, HAS_A, LEVEL, PAD, ROW_NONE, STATUS, TICKER, Record, quote, trade, unpack
from corelab.rig import C_BATCHES, C_MAX_BATCH, C_RECOVERED, NO_UNDO, SECOND, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import ring, snapshot, words
from openbell.core.apply import Applier
from openbell.core.ring import Tap
from openbell.monitor.histogram import Histogram

PRICES = st.floats(1e-8, 1e9)
SIZES = st.floats(0, 1e9)
TIMES = st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1))
ROWS = st.one_of(st.integers(0, 5), st.just(63))


def optional(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.one_of(st.none(), values)


STAMPS: dict[str, Any] = {"sequence": TIMES, "exchange_ns": TIMES, "receive_ns": TIMES}
TRADES = st.builds(trade, ROWS, PRICES, optional(SIZES), optional(SIZES), **STAMPS)
QUOTES = st.builds(quote, ROWS, *(optional(values) for values in (PRICES, SIZES, PRICES, SIZES)), **STAMPS)
OTHERS = st.builds(
    lambda row, kind, at: Record(row, kind, receive_ns=at),
    st.sampled_from([0, 63, 128, ROW_NONE]),
    st.sampled_from([PAD, TICKER, LEVEL, BAR, STATUS, 9, 255]),
    TIMES,
)
GAPS = st.builds(lambda count, at: Record(ROW_NONE, GAP, 0, 3, 0, at, 0, 2, count), st.integers(-1, 9), TIMES)
STRAYS = st.sampled_from([trade(64, 1.0), trade(128, 1.0), quote(2**31, 1.0), trade(ROW_NONE, 5.0)])
RECORDS = st.one_of(TRADES, QUOTES, TRADES, QUOTES, OTHERS, GAPS, STRAYS)


def oracle(rig: Rig) -> Oracle:
    return Oracle(rig.rows, rig.feed_row)


# ---- meaning ----


def test_the_first_trade_opens_and_later_ones_move_high_low_last_and_the_sums() -> None:
    rig = Rig()
    rig.feed(
        [
            trade(5, 10.0, 3.0, 31.0, 100, exchange_ns=1, receive_ns=2),
            trade(5, 12.5, 2.0, 25.0, 101, exchange_ns=3, receive_ns=4),
            trade(5, 9.5, 1.0, 9.5, 99, exchange_ns=2, receive_ns=6),
        ]
    )
    row = Copy.of(rig.reader, [5])
    assert {name: row[name][0] for name, _ in snapshot.COLUMNS if not math.isnan(row[name][0])} == {
        "version": 6, "last": 9.5, "size": 1.0, "open": 10.0, "high": 12.5, "low": 9.5, "volume": 6.0,
        "turnover": 65.5, "trades": 3, "trade_exchange_ns": 2, "trade_sequence": 99, "bid_size": 0, "ask_size": 0,
        "quote_exchange_ns": 0, "quote_sequence": 0, "receive_ns": 6, "updated": 3, "session": 0, "gaps": 0,
        "status": 0, "extra": 0, "repaired": 0,
    }  # fmt: skip


def test_a_trade_without_size_adds_nothing_and_one_without_turnover_adds_price_times_size() -> None:
    rig = Rig()
    rig.feed([trade(0, 10.0, 3.0), trade(0, 11.0), trade(0, 12.0, turnover=5.0)])
    row = Copy.of(rig.reader, [0])
    assert (row["volume"][0], row["turnover"][0], row["size"][0], row["trades"][0]) == (3.0, 35.0, 0.0, 3)


def test_a_quote_changes_only_what_it_carries_and_no_trade_column() -> None:
    rig = Rig()
    rig.feed([trade(1, 50.0, 1.0), quote(1, 49.0, 5.0, 51.0, 6.0, 10), quote(1, ask=50.5, sequence=11)])
    row = Copy.of(rig.reader, [1])
    assert (row["bid"][0], row["bid_size"][0], row["ask"][0], row["ask_size"][0]) == (49.0, 5.0, 50.5, 6.0)
    assert (row["last"][0], row["trades"][0], row["trade_sequence"][0]) == (50.0, 1, 0)
    assert (row["quote_sequence"][0], row["updated"][0], row["version"][0]) == (11, 3, 6)


def test_what_concerns_no_symbol_is_counted_in_the_feed_row_of_the_worker() -> None:
    rig = Rig(rows=128, workers=3, worker=2)
    others = [Record(ROW_NONE, PAD), Record(ROW_NONE, GAP, 0, 3, receive_ns=77), Record(ROW_NONE, STATUS)]
    rig.feed([*others, trade(3, 1.0, 1.0)])
    copy = rig.copy()
    assert rig.feed_row == 128 + 2 * 64
    assert (copy["trades"][rig.feed_row], copy["gaps"][rig.feed_row]) == (3, 1)
    assert copy["receive_ns"][rig.feed_row] == 77, "a record without a time leaves it"
    assert copy["trades"].sum() == 4
    # The identity by which applied data records are counted.
    assert rig.applied() - copy["trades"][rig.feed_row] == 1


@settings(max_examples=80)
@given(st.lists(RECORDS, max_size=60))
def test_after_any_records_the_snapshot_is_the_models(records: list[Record]) -> None:
    rig = Rig()
    model = oracle(rig)
    rig.feed(records)
    model.apply_all(records)
    model.check(rig.copy())
    assert rig.applied() == len(records)
    assert rig.applier.backlog() == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(RECORDS, max_size=8)), max_size=12), st.booleans())
def test_records_of_several_rings_are_applied_each_in_the_order_of_its_ring(
    turns: list[tuple[int, list[Record]]], at_once: bool
) -> None:
    rig = Rig(receivers=3)
    model = oracle(rig)
    positions = [0, 0, 0]
    if at_once:
        # All rings filled before the worker looks: it takes them in turn.
        turns = sorted(turns, key=lambda turn: turn[0])
    for receiver, records in turns:
        rig.publish(records, receiver)
        model.apply_all(records, positions[receiver])
        positions[receiver] += len(records)
        if not at_once:
            rig.apply()
    rig.apply()
    model.check(rig.copy())
    assert [rig.applied(receiver) for receiver in range(3)] == positions


def test_thousands_of_random_records_through_a_tiny_ring_leave_what_the_model_says() -> None:
    generator = np.random.default_rng(11)
    rig = Rig(rows=128, capacity=16)
    records = []
    for number in range(4_000):
        row, kind = int(generator.integers(0, 128)), number % 3
        price, size = float(generator.uniform(1, 100)), float(generator.integers(0, 1000))
        records.append(
            trade(row, price, size, sequence=number) if kind else quote(row, price, size, price + 1, sequence=number)
        )
    rig.feed(records)
    model = oracle(rig)
    model.apply_all(records)
    model.check(rig.copy())


def test_positions_near_2_to_the_56_and_2_to_the_63_are_applied_like_others() -> None:
    for start in (2**56 - 3, 2**63 - 10):
        rig = Rig(start=start)
        records = [trade(number % 3, 1.0 + number, 1.0) for number in range(8)]
        rig.feed(records)
        model = oracle(rig)
        model.apply_all(records, start)
        model.check(rig.copy())


# ---- versions ----


def test_versions_are_even_at_rest_and_never_decrease() -> None:
    rig = Rig()
    before = np.zeros(rig.reader.rows, np.int64)
    for number in range(200):
        rig.feed([trade(number % 7, 1.0, 1.0), quote(number % 5, 1.0), Record(ROW_NONE, PAD)])
        now = rig.copy()["version"].astype(np.int64)
        assert not (now & 1).any()
        assert (now >= before).all()
        assert now.sum() == before.sum() + 6, "each record moves the version of one row by two"
        before = now


def test_rows_copied_one_by_one_are_the_rows_copied_by_blocks() -> None:
    rig = Rig(rows=192)
    rig.feed([trade(row % 192, 1.0 + row, 2.0) for row in range(0, 4000, 7)])
    whole = rig.copy()
    assert Copy.of(rig.reader, range(rig.reader.rows)).tobytes() == whole.tobytes()
    # In any order, and repeated.
    some = Copy.of(rig.reader, [190, 3, 3, 0])
    for name, _ in snapshot.COLUMNS:
        np.testing.assert_array_equal(some[name], whole[name][[190, 3, 3, 0]])


# ---- snapshot and follow ----


def test_a_copy_and_what_follows_in_the_ring_are_the_final_state() -> None:
    # Copies are taken while records wait in the ring, at every stage of the worker's progress.
    rig = Rig(capacity=64)
    records = [trade(n % 5, 1.0 + n % 13, 1.0, sequence=n) if n % 3 else quote(n % 5, 1.0 + n) for n in range(600)]
    final = oracle(rig)
    final.apply_all(records)
    for stop in range(0, len(records), 60):
        rig = Rig(capacity=1024)
        rig.feed(records[:stop])
        remembered = rig.applied()
        # Applied between the look at the counter and the copy: those records are in the copy already.
        rig.feed(records[stop : stop + 30])
        copy = rig.copy()
        tap = Tap(rig.rings[0], remembered)
        rig.feed(records[stop + 30 :])
        data, skipped = tap.read()
        assert skipped == 0
        followed = Follower(copy)
        for position, record in enumerate(unpack(data), remembered):
            followed.take(record, position)
        for row in range(5):
            expected = final.touched[row]
            assert followed.state(row) == (expected.volume, expected.trades, expected.trade_sequence, expected.last)
        assert followed.delivered < len(records) - remembered, "what the copy held was not taken again"


class Follower:
    """A strategy that starts from a copy and goes on from the ring."""

    def __init__(self, copy: Copy) -> None:
        self.updated = copy["updated"]
        self.values = [
            (float(copy["volume"][row]), int(copy["trades"][row]), int(copy["trade_sequence"][row]), copy["last"][row])
            for row in range(copy.rows)
        ]
        self.delivered = 0

    def take(self, record: Record, position: int) -> None:
        """Apply a record unless the copy held it."""
        if position < self.updated[record.row]:
            return
        self.delivered += 1
        if record.kind == trade(0, 1.0).kind:
            volume, trades, _, _ = self.values[record.row]
            self.values[record.row] = (volume + record.b, trades + 1, record.sequence, record.a)

    def state(self, row: int) -> tuple[float, int, int, float]:
        """Return volume, trades, sequence and last price."""
        return self.values[row]


def test_what_changed_since_a_look_is_what_was_updated_at_or_behind_it() -> None:
    rig = Rig()
    rig.feed([trade(row, 1.0) for row in range(10)])
    seen = rig.applied()
    rig.feed([trade(3, 2.0), quote(7, 2.0), trade(3, 3.0)])
    assert np.flatnonzero(rig.copy()["updated"] > seen).tolist() == [3, 7]


# ---- taking over from a dead worker ----

# What a trade touches.
TRADE_COLUMNS = (
    "last", "size", "open", "high", "low", "volume", "turnover", "trades", "trade_exchange_ns", "trade_sequence",
    "receive_ns", "updated",
)  # fmt: skip


def half_applied(rig: Rig, column: str, value: float) -> bytes:
    """Leave row 2 as a worker does that died while it applied the next record; return the row before."""
    rig.feed([trade(2, 10.0, 1.0, sequence=1), quote(2, 9.0, 1.0, 11.0, 1.0)])
    before = Copy.of(rig.reader, [2])
    rig.arm_undo(2, {name: rig.image(name, 2) for name in TRADE_COLUMNS}, rig.applied())
    rig.put("version", 2, before["version"][0] + 1)
    rig.put(column, 2, value)
    return before.tobytes()


@pytest.mark.parametrize("column", TRADE_COLUMNS)
def test_a_restarted_worker_puts_the_row_back_and_applies_the_record_again(column: str) -> None:
    rig = Rig()
    half_applied(rig, column, 777)
    rig.publish([trade(2, 12.0, 5.0, sequence=2)])
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 1
    assert rig.counter(C_RECOVERED) == 1
    put_back = Copy.of(rig.reader, [2])
    assert put_back["version"][0] == 6, "the next even version: it never goes back"
    assert rig.apply() == 1
    model = oracle(rig)
    model.apply_all([trade(2, 10.0, 1.0, sequence=1), quote(2, 9.0, 1.0, 11.0, 1.0), trade(2, 12.0, 5.0, sequence=2)])
    model.touched[2].version += 2
    model.check(rig.copy())


@pytest.mark.parametrize("column", TRADE_COLUMNS)
def test_a_row_that_was_put_back_is_what_it_was(column: str) -> None:
    rig = Rig()
    before = half_applied(rig, column, 777)
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 1
    after = Copy.of(rig.reader, [2])
    assert after.tobytes()[8:] == before[8:]
    assert after.undone == 0
    # Dying again before the record is applied again, or twice more, changes nothing.
    for _ in range(2):
        rig.applier = rig.restarted()
        rig.applier.recover()
    assert Copy.of(rig.reader, [2]).tobytes()[8:] == before[8:]


def test_a_worker_that_died_after_its_last_store_is_not_undone() -> None:
    rig = Rig()
    records = [trade(2, 10.0, 1.0), trade(2, 11.0, 1.0)]
    rig.feed(records)
    assert rig.undo_word() == 1, "the last record begun is the one at position 1"
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 0
    model = oracle(rig)
    model.apply_all(records)
    model.check(rig.copy())


def test_a_worker_that_died_between_even_and_done_applies_the_record_exactly_once() -> None:
    rig = Rig()
    records = [trade(2, 10.0, 1.0), trade(2, 11.0, 1.0)]
    rig.feed(records)
    # Everything is stored but the counter.
    words.store(rig.rings[0], 384, 1)
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 1
    assert rig.apply() == 1
    model = oracle(rig)
    model.apply_all(records)
    # Put back under one version, applied again under the next.
    model.touched[2].version += 4
    model.check(rig.copy())


def test_a_fresh_worker_has_nothing_to_undo() -> None:
    rig = Rig()
    assert rig.undo_word() == NO_UNDO
    assert rig.applier.recover() == 0
    rig.publish([trade(0, 1.0)])
    assert rig.restarted().recover() == 0


def test_an_undo_word_names_its_ring() -> None:
    rig = Rig(receivers=2)
    rig.feed([trade(0, 1.0)], 0)
    rig.feed([trade(1, 1.0)], 1)
    # Ring 1, position 0. Both rings stand at 1: the word is of a record that is done.
    assert rig.undo_word() == 1 << 56
    assert rig.restarted().recover() == 0
    # The same position of ring 0 would be undone, were the ring not told apart.
    words.store(rig.rings[0], 384, 0)
    assert rig.restarted().recover() == 0
    words.store(rig.rings[1], 384, 0)
    assert rig.restarted().recover() == 1


# ---- counters and latencies ----


def test_latencies_of_a_batch_are_counted_with_their_sign_and_only_where_there_is_a_time() -> None:
    rig = Rig()
    offset = 10**18
    words.store(rig.clock_offset, 0, offset)
    rig.applier = rig.restarted()
    now = words.monotonic_ns() + offset
    hour = 3600 * SECOND
    rig.feed([trade(0, 1.0, receive_ns=at) for at in (now, now, now - hour, now + hour, 0)])
    found = Histogram.read(memoryview(rig.histogram))
    assert found.count == 4
    assert found.negative == 1
    assert hour <= found.maximum < 2 * hour
    assert -hour <= found.minimum < 0


@pytest.mark.parametrize("step", [3600 * SECOND, -3600 * SECOND])
def test_what_was_stamped_before_the_clock_was_stepped_is_not_counted(step: int) -> None:
    rig = Rig()
    offset = 10**18

    def stamped(by: int) -> Record:
        return trade(0, 1.0, receive_ns=words.monotonic_ns() + by)

    words.store(rig.clock_offset, 0, offset)
    rig.applier = rig.restarted()
    rig.feed([stamped(offset)])
    words.store(rig.clock_offset, 0, offset + step)
    # A backlog of the old time in the first look after the step, then mixed, then only the new time.
    rig.feed([stamped(offset), stamped(offset)])
    rig.feed([stamped(offset), stamped(offset + step), stamped(offset)])
    rig.feed([stamped(offset + step)])
    found = Histogram.read(memoryview(rig.histogram))
    assert found.count == 3
    assert 0 <= found.minimum <= found.maximum < 60 * SECOND


def test_batches_are_counted_and_the_longest_backlog_is_remembered() -> None:
    rig = Rig()
    rig.publish([trade(0, 1.0)] * 200)
    assert rig.applier.backlog() == 200
    rig.apply()
    rig.feed([trade(0, 1.0)])
    assert rig.counter(C_MAX_BATCH) == 200
    assert rig.counter(C_BATCHES) == -(-200 // 64) + 1


# ---- misuse ----


def test_an_impossible_worker_is_refused() -> None:
    rig = Rig(workers=2)
    small = memory(64)

    def applier(worker: int = 0, rings: Any = None, bells: Any = None, wait: str = "park") -> Applier:
        return Applier(
            rig.snapshot, worker, rig.rings if rings is None else rings, rig.bell,
            rig.producer_bells if bells is None else bells, rig.counters, rig.histogram, rig.clock_offset, wait,
        )  # fmt: skip

    for worker in (-1, 2):
        with pytest.raises(ValueError, match=f"worker {worker} of 2"):
            applier(worker)
    with pytest.raises(ValueError, match=r"spin, yield, park, adaptive, not 'sleep'"):
        applier(wait="sleep")
    for rings, bells in (([], []), (rig.rings, []), (rig.rings * 17, rig.producer_bells * 17)):
        with pytest.raises(ValueError, match="1 to 16 rings"):
            applier(rings=rings, bells=bells)
    with pytest.raises(ValueError, match="are needed"):
        applier(rings=[small])
    with pytest.raises(ValueError, match="no ring"):
        applier(rings=[memory(ring.size(8))])


def test_records_stay_as_they_were_while_they_are_applied() -> None:
    rig = Rig(capacity=8)
    records = [trade(1, 2.0, 3.0, 4.0, HAS_A), quote(1, 2.0)]
    tap = Tap(rig.rings[0])
    rig.feed(records)
    assert unpack(tap.read()[0]) == records


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_high_and_low_do_not_depend_on_the_order_of_trades(order: tuple[int, ...]) -> None:
    rig = Rig()
    prices = (5.0, 7.0, 3.0)
    rig.feed([trade(0, prices[index]) for index in order])
    row = Copy.of(rig.reader, [0])
    assert (row["high"][0], row["low"][0]) == (7.0, 3.0)
    assert (row["open"][0], row["last"][0]) == (prices[order[0]], prices[order[2]])
    assert struct.pack("<d", row["prev_close"][0]) == struct.pack("<d", math.nan)

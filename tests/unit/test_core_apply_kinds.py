"""Books, tickers, merged trades, sessions, halts and gaps of single rows, as the worker applies them."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corelab.memory import memory
from corelab.oracle import Oracle
from corelab.records import (
    GAP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    LEVEL,
    REPAIR,
    ROW_NONE,
    STATUS,
    TICKER,
    TRADES,
    Record,
    quote,
    trade,
)
from corelab.rig import AT_UNDO, UNDO_BYTES, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import symbols, words
from openbell.core.symbols import SymbolTable
from openbell.record import MarketStatus

FIRST, LAST = 16, 32
MONDAY, TUESDAY, WEDNESDAY = 20260105, 20260106, 20260107
OPEN, BREAK, CLOSED, HALTED = MarketStatus.OPEN, MarketStatus.BREAK, MarketStatus.CLOSED, MarketStatus.HALTED
DISARMED = 1 << 63


def flags(values: list[float | None]) -> int:
    return sum(1 << index for index, value in enumerate(values) if value is not None)


def book(
    row: int, *levels: tuple[float | None, float | None, float | None, float | None], **stamps: int
) -> list[Record]:
    """Return the group of a book; what is absent holds a value that would show if it were used."""
    group = []
    for number, level in enumerate(levels):
        marks = (FIRST if number == 0 else 0) | (LAST if number == len(levels) - 1 else 0)
        a, b, c, d = (-7.0 if value is None else value for value in level)
        group.append(Record(row, LEVEL, number + 1, flags(list(level)) | marks, a=a, b=b, c=c, d=d, **stamps))
    return group


def ticker(row: int, price: float, *more: float | None, **stamps: int) -> Record:
    """Return a ticker with reference price, cumulative volume and turnover; None: absent."""
    values = [price, *more, *[None] * (3 - len(more))]
    a, b, c, d = (-7.0 if value is None else value for value in values)
    return Record(row, TICKER, flags=flags(values), a=a, b=b, c=c, d=d, **stamps)


def merged(
    row: int, last: float, size: float | None, first: float, count: int, high: float, low: float, volume: float,
    turnover: float, **stamps: int,
) -> list[Record]:  # fmt: skip
    """Return trades merged into a group; without a size, none of its prices is a trade's."""
    whole = HAS_A | HAS_B | HAS_C | HAS_D
    head = Record(
        row, TRADES, 0, whole - (size is None) * HAS_B | FIRST, a=last, b=-7.0 if size is None else size, c=first
    )
    packed = head._replace(d=np.int64(count).view(np.float64).item(), **stamps)
    return [packed, Record(row, TRADES, 0, whole | LAST, a=high, b=low, c=volume, d=turnover, **stamps)]


def status(session: int | None, market: int | None, row: int = ROW_NONE) -> Record:
    """Return a status of the whole market, or of one row."""
    return Record(row, STATUS, 0, flags([session, market]), a=session or 0, b=-7 if market is None else market)


def feed(rig: Rig, records: list[Record], receiver: int = 0) -> None:
    """Publish units of records whole, and have them applied."""
    at = 0
    writer = rig.writers[receiver]
    while at < len(records):
        count = 1
        if records[at].flags & FIRST:
            while at + count < len(records) and not records[at + count - 1].flags & LAST:
                count += 1
        data = b"".join(record.pack() for record in records[at : at + count])
        if not writer.append_group(data):
            writer.publish()
            rig.apply()
            assert writer.append_group(data)
        at += count
    writer.publish()
    rig.apply()


def market(tmp_path: Path, names: int = 3, **options: Any) -> Rig:
    """Return worker 0 of a market of two shards, with `names` symbols in rows of its own."""
    buffer = memory(symbols.size(300, 2))
    symbols.format(buffer, 300, 2)
    table = SymbolTable(buffer, str(tmp_path / "lock"))
    rig = Rig(rows=symbols.physical_rows(300, 2), workers=2, table=table, **options)
    add(rig, names)
    return rig


def add(rig: Rig, names: int) -> list[int]:
    """Insert `names` more symbols of worker 0, and return their rows."""
    table = rig.table
    assert table is not None
    rows: list[int] = []
    number = table.count
    while len(rows) < names:
        number += 1
        row = table.insert(f"N{number}".encode())
        if table.shard_of(f"N{number}".encode()) == 0:
            rows.append(row)
    return rows


def own_rows(rig: Rig) -> list[int]:
    """Return all rows in the blocks of worker 0."""
    table = rig.table
    assert table is not None
    blocks = {row // 64 for row, key in table.items() if table.shard_of(key) == 0}
    return [row for block in sorted(blocks) for row in range(64 * block, 64 * block + 64)]


# ---- books ----


def test_a_book_replaces_every_level_of_the_one_before_it() -> None:
    rig = Rig(book_levels=3)
    feed(rig, book(2, (10, 1, 11, 2), (9, 3, 12, 4), (8, 5, 13, 6), sequence=7, exchange_ns=8, receive_ns=9))
    feed(rig, book(2, (10.5, 7, 11.5, 8), (9.5, None, None, None), sequence=17, exchange_ns=18, receive_ns=19))
    copy = rig.copy()
    row = {name: copy[name][2].item() for name, _ in rig.reader.columns}
    assert [row[f"book_bid_{n}"] for n in (1, 2)] == [10.5, 9.5]
    assert [row[f"book_bid_size_{n}"] for n in (1, 2, 3)] == [7, 0, 0]
    assert [row[f"book_ask_size_{n}"] for n in (1, 2, 3)] == [8, 0, 0]
    assert row["book_ask_1"] == 11.5
    assert all(math.isnan(row[name]) for name in ("book_bid_3", "book_ask_2", "book_ask_3"))
    assert (row["bid"], row["bid_size"], row["ask"], row["ask_size"]) == (10.5, 7, 11.5, 8)
    assert (row["quote_sequence"], row["quote_exchange_ns"], row["receive_ns"]) == (17, 18, 19)
    assert (row["updated"], row["extra"], row["version"], row["trades"]) == (5, 3, 4, 0)


@pytest.mark.parametrize("side", [0, 2])
def test_a_side_that_is_absent_is_nan_without_a_size(side: int) -> None:
    rig = Rig(book_levels=1)
    there: list[float | None] = [10.0, 1.0, 11.0, 2.0]
    feed(rig, book(0, (10.0, 1.0, 11.0, 2.0)))
    there[side] = there[side + 1] = None
    feed(rig, book(0, (there[0], there[1], there[2], there[3])))
    copy = rig.copy()
    gone, left = ("bid", "ask") if side == 0 else ("ask", "bid")
    assert (math.isnan(copy[gone][0]), copy[f"{gone}_size"][0]) == (True, 0)
    assert (math.isnan(copy[f"book_{gone}_1"][0]), copy[f"book_{gone}_size_1"][0]) == (True, 0)
    assert copy[left][0] == copy[f"book_{left}_1"][0] == there[2 - side]


def test_a_book_may_be_as_deep_as_there_are_columns_and_lie_across_the_end_of_the_ring() -> None:
    rig = Rig(book_levels=10, capacity=32)
    model = Oracle(rig.rows, rig.feed_row, 10)
    records = []
    for number in range(40):
        depth = 1 + number * 7 % 10
        records += book(number % 3, *((100.0 - n, n + 1.0, 200.0 + n, number + n + 0.5) for n in range(depth)))
    feed(rig, records)
    model.apply_all(records)
    model.check(rig.copy())


CUT = [
    book(1, (1, 1, 2, 1), (1, 1, 2, 1))[:1],
    book(1, (1, 1, 2, 1), (1, 1, 2, 1))[1:],
    book(1, (1, 1, 2, 1), (1, 1, 2, 1))[:1] * 2,
    [*book(1, (1, 1, 2, 1), (1, 1, 2, 1))[:1], *book(3, (1, 1, 2, 1), (1, 1, 2, 1))[1:]],
    merged(1, 1, 1, 1, 5, 1, 1, 1, 1)[:1],
    merged(1, 1, 1, 1, 5, 1, 1, 1, 1)[1:],
    [*book(1, (1, 1, 2, 1), (1, 1, 2, 1))[:1], *merged(1, 1, 1, 1, 5, 1, 1, 1, 1)[1:]],
    [Record(1, TRADES, flags=FIRST | LAST)],
    [Record(1, LEVEL, flags=FIRST), *[Record(1, LEVEL)] * 20, Record(1, LEVEL, flags=LAST)],
]


@pytest.mark.parametrize("records", CUT, ids=range(len(CUT)))
def test_of_what_is_no_whole_group_nothing_is_shown(records: list[Record]) -> None:
    rig = Rig(book_levels=2)
    feed(rig, [quote(1, 5, 6, 7, 8), trade(1, 9.0, 1.0)])
    before = rig.copy()
    rig.publish(records)
    rig.apply()
    after = rig.copy()
    for name, _ in rig.reader.columns:
        if name not in ("version", "updated", "extra"):
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert after["extra"].sum() == len(records), "counted as nothing that happened"
    assert rig.applied() == 2 + len(records)


def test_a_group_that_follows_half_of_one_is_applied_and_the_half_is_not() -> None:
    rig = Rig(book_levels=2)
    half, after = book(1, (1, 1, 2, 1), (1, 1, 2, 1))[:1], book(1, (5, 1, 6, 1))
    rig.publish([*half, *after])
    rig.apply()
    copy = rig.copy()
    assert (copy["book_bid_1"][1], math.isnan(copy["book_bid_2"][1]), copy["extra"][1]) == (5, True, 1)


def test_nothing_beyond_the_head_is_taken_for_the_rest_of_a_group() -> None:
    rig = Rig(book_levels=2)
    first, rest = book(1, (1, 1, 2, 1), (1, 1, 2, 1))
    rig.publish([first])
    assert rig.writers[0].append(rest.pack())
    rig.apply()
    assert rig.applied() == 1
    assert math.isnan(rig.copy()["bid"][1])


# ---- tickers and merged trades ----


def test_a_ticker_assigns_what_it_carries_and_counts_no_trade() -> None:
    rig = Rig()
    feed(
        rig,
        [trade(0, 10.0, 5.0, sequence=3), ticker(0, 8.0, 7.5, 100.0, 900.0, sequence=4, exchange_ns=5, receive_ns=6)],
    )
    feed(rig, [ticker(0, 9.0)])
    copy = rig.copy()
    row = {name: copy[name][0].item() for name, _ in rig.reader.columns}
    assert (row["last"], row["size"], row["open"], row["high"], row["low"]) == (9.0, 5.0, 10.0, 10.0, 8.0)
    assert (row["prev_close"], row["volume"], row["turnover"], row["trades"]) == (7.5, 100.0, 900.0, 1)
    assert (row["trade_sequence"], row["trade_exchange_ns"], row["receive_ns"], row["extra"]) == (0, 0, 0, 0)


def test_merged_trades_are_as_good_as_each_of_them() -> None:
    one, all_of_them = Rig(), Rig()
    trades = [trade(0, price, size, None, n) for n, (price, size) in enumerate([(10, 1), (12, 3), (8, 2), (9, 5)])]
    before = trade(0, 11.0, 1.0)
    for rig, first in ((one, False), (all_of_them, False), (Rig(), True)):
        feed(rig, [before] if not first else [])
    feed(all_of_them, trades)
    feed(one, merged(0, 9.0, 5.0, 10.0, 4, 12.0, 8.0, 11.0, 107.0, sequence=3))
    found, expected = one.copy(), all_of_them.copy()
    for name, _ in one.reader.columns:
        if name not in ("version", "updated", "extra"):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found["extra"][0] == 1


def test_prices_that_are_no_trades_leave_size_and_count() -> None:
    rig = Rig()
    feed(rig, [trade(0, 10.0, 5.0), *merged(0, 11.0, None, 9.0, 0, 12.0, 9.0, 0.0, 0.0)])
    copy = rig.copy()
    assert (copy["last"][0], copy["size"][0], copy["trades"][0], copy["volume"][0]) == (11.0, 5.0, 1, 5.0)
    assert (copy["open"][0], copy["high"][0], copy["low"][0]) == (10.0, 12.0, 9.0)


def test_the_first_merged_trades_of_a_session_open_it() -> None:
    rig = Rig()
    feed(rig, merged(0, 11.0, 1.0, 9.5, 3, 12.0, 9.0, 6.0, 60.0))
    copy = rig.copy()
    assert [copy[name][0] for name in ("open", "high", "low", "last")] == [9.5, 12.0, 9.0, 11.0]


# ---- what is told of one row ----


def test_gaps_and_halts_of_a_row_change_nothing_else_of_it() -> None:
    rig = Rig()
    feed(rig, [trade(3, 10.0, 1.0), quote(3, 9.0), Record(3, GAP, receive_ns=99), status(None, HALTED, 3)])
    feed(rig, [status(TUESDAY, None, 3), Record(3, GAP)])
    copy = rig.copy()
    row = {name: copy[name][3].item() for name, _ in rig.reader.columns}
    assert (row["gaps"], row["status"], row["extra"], row["session"]) == (2, HALTED, 4, 0)
    assert (row["last"], row["bid"], row["trades"], row["receive_ns"]) == (10.0, 9.0, 1, 0)
    assert copy["trades"][rig.feed_row] == 0


# ---- sessions ----


def test_a_session_takes_every_row_of_the_worker_and_no_other(tmp_path: Path) -> None:
    rig = market(tmp_path)
    own = own_rows(rig)
    others = sorted(set(range(rig.rows)) - set(own))
    traded, other = own[1], others[0]
    feed(rig, [trade(traded, 10.0, 2.0), trade(traded, 12.0, 2.0), quote(traded, 9.0), trade(other, 5.0, 1.0)])
    feed(rig, [status(MONDAY, OPEN)])
    copy = rig.copy()
    row = {name: copy[name][traded].item() for name, _ in rig.reader.columns}
    assert (row["prev_close"], row["last"], row["bid"]) == (12.0, 12.0, 9.0)
    assert all(math.isnan(row[name]) for name in ("open", "high", "low"))
    assert (row["size"], row["volume"], row["turnover"], row["trades"]) == (0, 0, 0, 0)
    assert (row["session"], row["status"], row["extra"]) == (MONDAY, OPEN, 0)
    assert set(copy["session"][own]) == {MONDAY}
    assert set(copy["status"][own]) == {OPEN}
    assert not copy["session"][others].any()
    assert not copy["status"][others].any()
    assert copy["volume"][other] == 1.0
    assert (copy["session"][rig.feed_row], copy["status"][rig.feed_row], copy["trades"][rig.feed_row]) == (
        MONDAY,
        OPEN,
        1,
    )


def test_a_session_that_is_told_again_or_is_over_rolls_nothing(tmp_path: Path) -> None:
    rig = market(tmp_path)
    row = own_rows(rig)[0]
    feed(rig, [status(TUESDAY, OPEN), trade(row, 10.0, 2.0)])
    feed(rig, [status(TUESDAY, OPEN), status(TUESDAY, BREAK), status(MONDAY, CLOSED), status(None, OPEN)])
    feed(rig, [status(MONDAY, HALTED)])
    copy = rig.copy()
    assert (copy["volume"][row], copy["open"][row], copy["session"][row], copy["status"][row]) == (2, 10, TUESDAY, OPEN)
    assert (copy["session"][rig.feed_row], copy["status"][rig.feed_row]) == (TUESDAY, OPEN)
    assert math.isnan(copy["prev_close"][row])


def test_a_symbol_that_came_during_the_session_is_not_rolled_into_it(tmp_path: Path) -> None:
    rig = market(tmp_path)
    feed(rig, [status(MONDAY, OPEN)])
    before = set(own_rows(rig))
    late = next(row for row in add(rig, 80) if row not in before)
    feed(rig, [trade(late, 10.0, 2.0), trade(late, 11.0, 2.0)])
    assert rig.copy()["session"][late] == 0
    feed(rig, [status(MONDAY, BREAK)])
    copy = rig.copy()
    assert (copy["session"][late], copy["status"][late]) == (MONDAY, BREAK)
    assert (copy["volume"][late], copy["trades"][late], copy["open"][late]) == (4.0, 2, 10.0)
    assert math.isnan(copy["prev_close"][late])
    feed(rig, [status(TUESDAY, OPEN)])
    assert (rig.copy()["volume"][late], rig.copy()["prev_close"][late]) == (0.0, 11.0)


def test_a_late_symbol_joins_the_session_of_all_though_a_receiver_is_behind(tmp_path: Path) -> None:
    rig = market(tmp_path, receivers=2)
    feed(rig, [status(TUESDAY, OPEN)], 0)
    before = set(own_rows(rig))
    late = next(row for row in add(rig, 80) if row not in before)
    feed(rig, [trade(late, 10.0, 2.0)], 0)
    feed(rig, [status(MONDAY, CLOSED)], 1)
    copy = rig.copy()
    assert (copy["session"][late], copy["status"][late], copy["volume"][late]) == (TUESDAY, 0, 2.0)
    feed(rig, [status(TUESDAY, OPEN)], 1)
    assert rig.copy()["status"][late] == OPEN


def test_what_every_receiver_tells_does_not_lift_the_halt_of_a_symbol_twice(tmp_path: Path) -> None:
    rig = market(tmp_path, receivers=2)
    halted, late = own_rows(rig)[:2]
    feed(rig, [status(MONDAY, OPEN)], 0)
    feed(rig, [status(None, HALTED, halted)], 0)
    feed(rig, [status(MONDAY, OPEN)], 1)
    assert rig.copy()["status"][halted] == HALTED
    feed(rig, [status(MONDAY, BREAK)], 1)
    assert rig.copy()["status"][halted] == BREAK
    assert rig.copy()["status"][late] == BREAK


def test_a_session_leaves_the_position_by_which_a_row_is_followed(tmp_path: Path) -> None:
    """It may be told in another ring than the row's own records come in."""
    rig = market(tmp_path, receivers=2)
    traded, quiet = own_rows(rig)[:2]
    feed(rig, [trade(traded, 1.0)], 0)
    feed(rig, [Record(ROW_NONE, 0)] * 50, 1)
    versions = rig.copy()["version"]
    feed(rig, [status(MONDAY, OPEN), status(MONDAY, BREAK)], 1)
    copy = rig.copy()
    assert (copy["updated"][traded], copy["updated"][quiet]) == (1, 0)
    assert (copy["version"] - versions)[[traded, quiet]].tolist() == [4, 4]


def test_without_a_symbol_table_a_session_is_told_to_the_feed_row_alone() -> None:
    rig = Rig()
    feed(rig, [status(MONDAY, OPEN)])
    copy = rig.copy()
    assert copy["session"].sum() == copy["session"][rig.feed_row] == MONDAY


# ---- everything together ----

ROWS = st.sampled_from([0, 1, 63])
PRICE, SIZE = st.integers(1, 40).map(lambda n: n / 4), st.integers(0, 9).map(float)
MAYBE_PRICE, MAYBE_SIZE = st.one_of(st.none(), PRICE), st.one_of(st.none(), SIZE)
STAMPS: dict[str, Any] = {name: st.integers(0, 99) for name in ("sequence", "exchange_ns", "receive_ns")}
SESSIONS, STATUSES = (
    st.sampled_from([None, MONDAY, TUESDAY, WEDNESDAY]),
    st.sampled_from([None, 0, OPEN, BREAK, CLOSED]),
)
LEVELS_OF_BOOKS = st.lists(st.tuples(MAYBE_PRICE, MAYBE_SIZE, MAYBE_PRICE, MAYBE_SIZE), min_size=1, max_size=5)
UNITS = st.one_of(
    st.builds(lambda *given, **stamps: [trade(*given, **stamps)], ROWS, PRICE, MAYBE_SIZE, MAYBE_SIZE, **STAMPS),
    st.builds(lambda row, levels, **stamps: book(row, *levels, **stamps), ROWS, LEVELS_OF_BOOKS, **STAMPS),
    st.builds(lambda *more, **stamps: [ticker(*more, **stamps)], ROWS, PRICE, MAYBE_PRICE, *[MAYBE_SIZE] * 2, **STAMPS),
    st.builds(merged, ROWS, PRICE, MAYBE_SIZE, PRICE, st.integers(0, 9), PRICE, PRICE, SIZE, SIZE, **STAMPS),
    st.builds(lambda row: [Record(row, GAP, receive_ns=5)], st.one_of(ROWS, st.just(ROW_NONE))),
    st.builds(
        lambda row, at, price, size: [Record(row, REPAIR, 0, 131, at, 3, 4, price, size)],
        ROWS, st.integers(-5, 120), PRICE, SIZE,
    ),
    st.builds(lambda *given: [status(*given)], SESSIONS, STATUSES, st.one_of(ROWS, st.just(ROW_NONE))),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(UNITS, st.integers(0, 1)), max_size=40))
def test_after_records_of_all_kinds_the_snapshot_is_the_models(
    tmp_path_factory: pytest.TempPathFactory, units: list[tuple[list[Record], int]]
) -> None:
    rig = market(tmp_path_factory.getbasetemp(), 1, book_levels=3, receivers=2)
    own = own_rows(rig)
    model = Oracle(rig.rows, rig.feed_row, 3, own)
    positions = [0, 0]
    for unit, receiver in units:
        records = [record if record.row == ROW_NONE else record._replace(row=own[record.row]) for record in unit]
        feed(rig, records, receiver)
        model.apply_all(records, positions[receiver])
        positions[receiver] += len(records)
    model.check(rig.copy())


# ---- taking over from a dead worker ----


def interrupt(rig: Rig, row: int, receiver: int, columns: tuple[str, ...]) -> None:
    """Leave `row` as a worker does that died while it applied the next record of a ring."""
    rig.arm_undo(row, {name: rig.image(name, row) for name in columns}, receiver << 56 | rig.applied(receiver))
    rig.put("version", row, int(rig.copy()["version"][row]) + 1)
    rig.put(columns[0], row, 777)


def test_what_was_put_back_is_not_put_back_again_with_the_images_of_another_record() -> None:
    """Killed in a record of one ring, then again while the images of a record of another ring were half written."""
    rig = Rig(receivers=2)
    feed(rig, [trade(2, 10.0, 1.0), trade(5, 90.0, 9.0)], 0)
    interrupt(rig, 2, 1, ("last", "size", "updated"))
    rig.publish([trade(2, 12.0, 5.0)], 1)
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 1
    # The next record's images, on top of the last one's, and killed before its word.
    rig.arm_undo(2, {"last": rig.image("last", 5)}, rig.undo_word())
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 0
    copy = rig.copy()
    assert (copy["last"][2], copy["size"][2], copy["volume"][2]) == (10.0, 1.0, 1.0)
    rig.apply()
    assert (rig.copy()["last"][2], rig.copy()["volume"][2]) == (12.0, 6.0)


@pytest.mark.parametrize("word", [0, DISARMED], ids=["with images", "between two rows"])
@pytest.mark.parametrize("receiver", [0, 1, 2])
def test_the_record_that_a_dead_worker_was_in_is_applied_before_any_other(receiver: int, word: int) -> None:
    rig = Rig(receivers=3)
    for ring in range(3):
        rig.publish([trade(2, 10.0 + ring, 1.0)], ring)
    rig.arm_undo(2, {"last": rig.image("last", 2)}, receiver << 56 | word)
    rig.applier = rig.restarted()
    assert rig.applier.recover() == (word == 0)
    rig.apply()
    assert rig.copy()["open"][2] == 10.0 + receiver
    assert rig.copy()["volume"][2] == 3.0
    # Once: from then on the rings take turns as ever.
    for ring in range(3):
        rig.publish([trade(4, 10.0 + ring, 1.0)], ring)
    rig.apply()
    assert rig.copy()["open"][4] == 10.0


def test_an_interrupted_roll_is_finished_before_what_other_rings_tell_of_its_rows(tmp_path: Path) -> None:
    rig = market(tmp_path, receivers=2)
    done, next_one, left = own_rows(rig)[:3]
    feed(rig, [status(MONDAY, OPEN)], 0)
    feed(rig, [trade(row, 10.0, 1.0) for row in (done, next_one, left)], 0)
    # Killed after the roll of one row to Tuesday, in the middle of the next.
    rig.publish([status(TUESDAY, CLOSED)], 1)
    for name, value in (("session", TUESDAY), ("status", CLOSED), ("volume", 0), ("trades", 0), ("prev_close", 10)):
        rig.put(name, done, value)
    interrupt(rig, next_one, 1, ("volume", "session", "status", "prev_close", "trades"))
    rig.publish([status(None, HALTED, done), trade(left, 20.0, 5.0)], 0)
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 1
    rig.apply()
    copy = rig.copy()
    assert copy["status"][[done, next_one, left]].tolist() == [HALTED, CLOSED, CLOSED]
    assert copy["volume"][[done, next_one, left]].tolist() == [0, 0, 5]
    assert copy["prev_close"][[done, next_one, left]].tolist() == [10, 10, 10]
    assert set(copy["session"][own_rows(rig)]) == {TUESDAY}


def test_a_restored_row_is_disarmed_and_still_names_the_record_in_flight() -> None:
    rig = Rig(receivers=2)
    interrupt(rig, 2, 1, ("last",))
    rig.publish([trade(2, 1.0)], 1)
    rig.restarted().recover()
    assert rig.undo_word() == DISARMED | 1 << 56
    rig.applier = rig.restarted()
    assert rig.applier.recover() == 0
    rig.apply()
    assert rig.undo_word() == 1 << 56
    words.store(rig.rings[1], 384, 0)
    assert rig.restarted().recover() == 1


def undo_images(rig: Rig) -> tuple[int, dict[str, bytes]]:
    """Return the row that the undo area is of, and its images by column."""
    base = AT_UNDO + rig.worker * UNDO_BYTES
    _, row, mask = struct.unpack_from("<QQQ", rig.snapshot, base)
    # The first column, the version, has no bit.
    columns = list(enumerate(name for name, _ in rig.reader.columns))[1:]
    return row, {name: rig.snapshot[base + 24 + 8 * n : base + 32 + 8 * n] for n, name in columns if mask >> n - 1 & 1}


WHOLE_UNITS = {
    "trade": [trade(1, 2.0, 3.0, 4.0, 5, exchange_ns=6, receive_ns=7)],
    "quote": [quote(1, 2.0, 3.0, 4.0, 5.0, 6, exchange_ns=7, receive_ns=8)],
    "ticker": [ticker(1, 2.0, 3.0, 4.0, 5.0, sequence=6, exchange_ns=7, receive_ns=8)],
    "merged": merged(1, 2.0, 3.0, 4.0, 5, 6.0, 1.0, 7.0, 8.0, sequence=9, exchange_ns=10, receive_ns=11),
    "book": book(
        1, *((float(n), n + 1.0, n + 2.0, n + 3.0) for n in range(1, 11)), sequence=9, exchange_ns=8, receive_ns=7
    ),
    "gap": [Record(1, GAP)],
    "repair": [Record(1, REPAIR, 0, 131, 9, 8, 7, 6.0, 5.0)],
    "halt": [status(None, HALTED, 1)],
    "no group": [Record(1, LEVEL)],
    "feed": [Record(ROW_NONE, GAP, receive_ns=5)],
    "session": [status(MONDAY, OPEN)],
}


@pytest.mark.parametrize("kind", WHOLE_UNITS)
def test_the_undo_has_an_image_of_whatever_a_unit_changes(kind: str) -> None:
    rig = Rig(book_levels=10)
    before = rig.copy()
    feed(rig, WHOLE_UNITS[kind])
    after = rig.copy()
    row, images = undo_images(rig)
    assert row == (rig.feed_row if kind in ("feed", "session") else 1)
    changed = {name for name, _ in rig.reader.columns if after[name][row].tobytes() != before[name][row].tobytes()}
    assert changed - {"version"} <= images.keys()
    assert {name: before[name][row].tobytes() for name in images} == images
    # Taken back, it is as if it had never been.
    words.store(rig.rings[0], 384, 0)
    rig.restarted().recover()
    copy = rig.copy()
    assert [copy[name].tobytes() for name, _ in rig.reader.columns[1:]] == [
        before[name].tobytes() for name, _ in rig.reader.columns[1:]
    ]


def test_the_undo_has_an_image_of_whatever_a_roll_changes(tmp_path: Path) -> None:
    rig = market(tmp_path)
    last = own_rows(rig)[-1]
    feed(rig, [trade(last, 2.0, 3.0), quote(last, 1.0)])
    before = rig.copy()
    feed(rig, [status(MONDAY, OPEN)])
    after = rig.copy()
    base = AT_UNDO
    # As its worker left it, had it died behind the last row: the area holds that row's images until the count's.
    changed = {name for name, _ in rig.reader.columns if after[name][last].tobytes() != before[name][last].tobytes()}
    rolled = {
        "version",
        "prev_close",
        "size",
        "open",
        "high",
        "low",
        "volume",
        "turnover",
        "trades",
        "session",
        "status",
    }
    assert changed == rolled
    image = rig.snapshot[base + 24 : base + 24 + 64 * 8]
    names = [name for name, _ in rig.reader.columns]
    for name in rolled - {"version", "trades", "session", "status"}:
        at = 8 * names.index(name)
        assert image[at : at + 8] == before[name][last].tobytes(), f"an image of {name}, left by the last row"

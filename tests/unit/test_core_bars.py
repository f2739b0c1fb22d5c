"""One-minute bars, as the worker keeps them and as readers copy them."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from corelab.memory import memory
from corelab.minutes import MINUTE, Minutes, check, copied
from corelab.oracle import Oracle
from corelab.records import GAP, LEVEL, REPAIR, ROW_NONE, STATUS, TICKER, TRADES, Record, quote, trade
from corelab.rig import AT_APPLIED, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import bars as core
from openbell.core import words
from openbell.core.bars import BarsReader

DAY = 29_394_720 * MINUTE
"""Some midnight: minutes are counted from the epoch."""
FIRST, LAST = 16, 32
SECOND = 1_000_000_000


def at(minute: float) -> int:
    """Return the time `minute` minutes into the day."""
    return DAY + int(minute * MINUTE)


def ticker(row: int, price: float, volume: float | None, turnover: float | None, minute: float) -> Record:
    """Return a vendor's running figures."""
    flags = 1 | (4 if volume is not None else 0) | (8 if turnover is not None else 0)
    return Record(row, TICKER, 0, flags, at(minute), a=price, c=volume or 0.0, d=turnover or 0.0)


def merged(
    row: int, prices: tuple[float, float, float, float], volume: float, trades: int, minute: float
) -> list[Record]:
    """Return the group of merged trades: first, highest, lowest and last price."""
    (count,) = struct.unpack("<d", struct.pack("<q", trades))
    first, high, low, last = prices
    return [
        Record(row, TRADES, 0, 15 | FIRST, at(minute), a=last, b=1.0, c=first, d=count),
        Record(row, TRADES, 0, 15 | LAST, at(minute), a=high, b=low, c=volume, d=volume * last),
    ]


def reader_of(rig: Rig) -> BarsReader:
    assert rig.bars is not None
    return BarsReader(rig.bars, rig.snapshot)


def bars_of(rig: Rig, row: int = 3, most: int | None = None) -> list[tuple[Any, ...]]:
    """Return the bars of a row, oldest first, their starts as minutes of the day."""
    lines, counts = copied(reader_of(rig), [row], most)
    shown = lines[0, lines.shape[1] - counts[0, 0] :]
    return [((start - DAY) // MINUTE, *rest) for start, *rest in shown.tolist()]


def late_of(rig: Rig, row: int = 3) -> int:
    return int(copied(reader_of(rig), [row])[1][0, 1])


def model_of(rig: Rig, kept: int) -> Oracle:
    return Oracle(rig.rows, rig.feed_row, owned=[], bars=kept)


def test_the_trades_of_a_minute_make_one_bar() -> None:
    rig = Rig(bars=5)
    assert bars_of(rig) == []
    minutes = (1, 1.2, 1.5, 1.9999)
    prices = ((10.0, 2.0, None), (12.0, 1.0, 11.5), (9.0, None, None), (11.0, 4.0, None))
    rig.feed([trade(3, *price, exchange_ns=at(minute)) for minute, price in zip(minutes, prices, strict=True)])
    assert bars_of(rig) == [(1, 10.0, 12.0, 9.0, 11.0, 7.0, 20.0 + 11.5 + 44.0, 4)]
    assert bars_of(rig, 4) == []


def test_the_last_bars_are_kept_oldest_first() -> None:
    rig = Rig(bars=4)
    for minute in range(1, 12):
        rig.feed([trade(3, float(minute), 1.0, exchange_ns=at(minute))])
        assert [bar[0] for bar in bars_of(rig)] == list(range(max(1, minute - 3), minute + 1))
        assert [bar[4] for bar in bars_of(rig, most=2)] == [float(m) for m in range(max(1, minute - 1), minute + 1)]


def test_a_minute_without_a_trade_has_no_bar() -> None:
    rig = Rig(bars=4)
    rig.feed([trade(3, 1.0, 1.0, exchange_ns=at(minute)) for minute in (1, 2, 7, 600)])
    assert [bar[0] for bar in bars_of(rig)] == [1, 2, 7, 600]


def test_one_bar_is_the_present_one_and_an_older_trade_is_late() -> None:
    rig = Rig(bars=1)
    rig.feed([trade(3, 1.0, 1.0, exchange_ns=at(minute)) for minute in (1, 1.5, 2, 1.7, 3, 3.5)])
    assert bars_of(rig) == [(3, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2)]
    assert late_of(rig) == 1


def test_a_late_trade_goes_into_the_bar_of_its_own_minute() -> None:
    rig = Rig(bars=3)
    rig.feed([trade(3, 10.0, 1.0, exchange_ns=at(minute)) for minute in (1, 2, 3, 4)])
    rig.feed([trade(3, 12.0, 5.0, exchange_ns=at(2.5)), trade(3, 7.0, 6.0, exchange_ns=at(3.5))])
    assert [(bar[0], *bar[1:6]) for bar in bars_of(rig)] == [
        (2, 10.0, 12.0, 10.0, 12.0, 6.0),
        (3, 10.0, 10.0, 7.0, 7.0, 7.0),
        (4, 10.0, 10.0, 10.0, 10.0, 1.0),
    ]
    assert late_of(rig) == 0


@pytest.mark.parametrize("minute", [0.5, 1.5, 4.5], ids=["before them all", "no longer kept", "never begun"])
def test_a_late_trade_whose_minute_has_no_bar_is_counted(minute: float) -> None:
    rig = Rig(bars=3)
    rig.feed([trade(3, 10.0, 1.0, exchange_ns=at(one)) for one in (1, 2, 3, 5)])
    before = bars_of(rig)
    rig.feed([trade(3, 99.0, 5.0, exchange_ns=at(minute))])
    assert bars_of(rig) == before
    assert late_of(rig) == reader_of(rig).late() == 1


@pytest.mark.parametrize(
    ("exchange", "received", "minute"),
    [(0.0, 7.0, 7), (9.5, 7.0, 7), (7.9, 7.0, 7), (8.0, 7.0, 8), (2.0, 7.0, 2), (9.5, 0.0, 9)],
    ids=["no time", "far ahead", "same minute", "a minute ahead", "behind", "ours is unknown"],
)
def test_a_trade_is_of_the_minute_of_the_venues_time_unless_that_cannot_be(
    exchange: float, received: float, minute: int
) -> None:
    rig = Rig(bars=3)
    stamps = {"exchange_ns": at(exchange) if exchange else 0, "receive_ns": at(received) if received else 0}
    rig.feed([trade(3, 1.0, 1.0, **stamps)])
    assert [bar[0] for bar in bars_of(rig)] == [minute]


def test_a_trade_without_any_time_is_in_no_bar() -> None:
    rig = Rig(bars=3)
    rig.feed([trade(3, 1.0, 1.0), trade(3, 1.0, 1.0, exchange_ns=at(2)), trade(3, 1.0, 1.0, exchange_ns=5)])
    assert [bar[0] for bar in bars_of(rig)] == [2]
    assert late_of(rig) == 2


def test_merged_trades_are_in_the_bar_of_the_last_one() -> None:
    rig = Rig(bars=3)
    rig.feed([trade(3, 10.0, 1.0, exchange_ns=at(1)), *merged(3, (11.0, 13.0, 8.0, 9.0), 20.0, 6, 1.5)])
    rig.feed(merged(3, (11.0, 13.0, 8.0, 9.0), 20.0, 6, 2.0))
    assert bars_of(rig) == [
        (1, 10.0, 13.0, 8.0, 9.0, 21.0, 190.0, 7),
        (2, 11.0, 13.0, 8.0, 9.0, 20.0, 180.0, 6),
    ]


def test_running_sums_are_in_the_bars_by_what_they_grew_and_never_shrink_one() -> None:
    rig = Rig(bars=4)
    # What was traded before the first one nobody knows.
    rig.feed([ticker(3, 10.0, 5000.0, 50000.0, 1.0)])
    assert bars_of(rig) == []
    rig.feed([ticker(3, 10.0, 5000.0, 50000.0, 1.1)])
    assert bars_of(rig) == []
    rig.feed([ticker(3, 11.0, 5100.0, 51100.0, 1.2), ticker(3, 10.5, 5100.0, None, 1.4)])
    rig.feed([ticker(3, 10.5, 5090.0, 51000.0, 2.0)])
    assert bars_of(rig) == [(1, 11.0, 11.0, 10.5, 10.5, 100.0, 1100.0, 0)]
    rig.feed([ticker(3, 10.5, 5095.0, 51060.0, 2.5)])
    assert bars_of(rig)[1:] == [(2, 10.5, 10.5, 10.5, 10.5, 5.0, 60.0, 0)]


def test_prices_without_sums_make_bars_without_volume() -> None:
    rig = Rig(bars=4)
    rig.feed([ticker(3, 10.0, None, None, 1.0), ticker(3, 10.0, None, None, 2.0), ticker(3, 11.0, None, None, 3.0)])
    assert bars_of(rig) == [(1, 10.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0), (3, 11.0, 11.0, 11.0, 11.0, 0.0, 0.0, 0)]


def test_trades_between_running_sums_are_not_counted_twice() -> None:
    rig = Rig(bars=4)
    rig.feed([ticker(3, 10.0, 5000.0, 50000.0, 1.0), trade(3, 10.0, 30.0, 300.0, exchange_ns=at(1.1))])
    rig.feed([ticker(3, 10.0, 5040.0, 50400.0, 1.2)])
    assert bars_of(rig) == [(1, 10.0, 10.0, 10.0, 10.0, 40.0, 400.0, 1)]


def test_what_is_no_trade_is_in_no_bar() -> None:
    rig = Rig(bars=4, book_levels=1)
    time = at(1)
    rig.feed(
        [
            quote(3, 1.0, 2.0, 3.0, 4.0, exchange_ns=time),
            Record(3, LEVEL, 1, 15 | FIRST | LAST, time, a=1.0, b=1.0, c=2.0, d=1.0),
            Record(3, REPAIR, 0, 131, time, at(1.1), a=10.0, b=5.0),
            Record(3, GAP),
            Record(3, STATUS, 0, 2, time, b=1),
            Record(ROW_NONE, GAP),
            Record(3, TRADES, 0, 15 | FIRST, time, a=1.0),
        ]
    )
    assert not copied(reader_of(rig), list(range(rig.rows)))[1].any()


def test_a_new_session_leaves_the_bars_and_begins_the_running_sums_anew() -> None:
    from openbell.core import symbols

    buffer = memory(symbols.size(64, 1))
    symbols.format(buffer, 64, 1)
    table = symbols.SymbolTable(buffer)
    rig = Rig(bars=4, table=table)
    before = [ticker(3, 10.0, 100.0, None, 1.0), ticker(3, 10.0, 150.0, None, 1.1)]
    rig.feed([*before, Record(ROW_NONE, STATUS, 0, 1, a=20260105), ticker(3, 10.0, 150.0, None, 1.2)])
    # The vendor still told of the session before; its own new day is no trade.
    rig.feed([ticker(3, 10.0, 20.0, None, 2.0), ticker(3, 10.0, 25.0, None, 2.1)])
    assert [(bar[0], bar[5]) for bar in bars_of(rig)] == [(1, 50.0), (2, 5.0)]


# ---- everything at once, against the model ----

RECORDS = st.one_of(
    st.builds(
        lambda row, price, size, turnover, minute: [trade(row, price, size, turnover, exchange_ns=at(minute))],
        st.integers(0, 2),
        st.sampled_from([1.0, 2.5, 7.0, 9.25]),
        st.sampled_from([None, 1.0, 3.5]),
        st.sampled_from([None, 10.0]),
        st.sampled_from([1, 2, 2.5, 3, 4, 5, 6, 7, 9]),
    ),
    st.builds(
        lambda row, price, volume, turnover, minute: [ticker(row, price, volume, turnover, minute)],
        st.integers(0, 2),
        st.sampled_from([1.0, 2.5, 7.0]),
        st.sampled_from([None, 1.0, 3.5, 8.0, 100.0]),
        st.sampled_from([None, 10.0, 40.0]),
        st.sampled_from([1, 2, 3, 5, 8]),
    ),
    st.builds(
        lambda row, low, trades, minute: merged(row, (low[1], low[3], low[0], low[2]), 6.0, trades, minute),
        st.integers(0, 2),
        st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=4, max_size=4).map(sorted),
        st.integers(0, 9),
        st.sampled_from([1, 2, 4, 6]),
    ),
    st.builds(
        lambda row, exchange, receive: [trade(row, 5.0, 1.0, exchange_ns=exchange, receive_ns=receive)],
        st.integers(0, 2),
        st.sampled_from([0, 7, at(3), at(50)]),
        st.sampled_from([0, at(3), at(4), at(48)]),
    ),
    st.just([quote(1, 1.0, 1.0, 2.0, 2.0)]),
    st.just([Record(1, REPAIR, 0, 131, at(9), at(9), a=3.0, b=5.0)]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS, max_size=40), st.sampled_from([1, 2, 3, 8]))
def test_bars_are_those_of_the_model_whatever_comes(groups: list[list[Record]], kept: int) -> None:
    rig, model = Rig(bars=kept), model_of(Rig(), kept)
    records = [record for group in groups for record in group]
    for group in groups:
        rig.writers[0].append_group(b"".join(record.pack() for record in group))
    rig.writers[0].publish()
    rig.apply()
    model.apply_all(records)
    model.check(rig.copy())
    check(reader_of(rig), model.minutes)


# ---- rows whose worker died, and its successor ----

TOUCHES: dict[str, list[Record]] = {
    "the present bar": [trade(3, 50.0, 5.0, exchange_ns=at(6.5))],
    "a new bar": [trade(3, 50.0, 5.0, exchange_ns=at(7))],
    "an older bar": [trade(3, 50.0, 5.0, exchange_ns=at(4.5))],
    "no bar": [trade(3, 50.0, 5.0, exchange_ns=at(0.5))],
    "merged trades": merged(3, (11.0, 13.0, 8.0, 9.0), 20.0, 6, 7.5),
    "the first running sum": [ticker(3, 9.0, 1000.0, 1.0, 6.5)],
    "a quote": [quote(3, 1.0, 2.0, exchange_ns=at(7))],
}


def interrupted(name: str) -> tuple[Rig, list[Any], list[Any]]:
    """Return a rig whose worker was killed behind the last store into a row; and what is known of it before, after."""
    rig = Rig(bars=3)
    rig.feed([trade(3, 10.0, 1.0, exchange_ns=at(minute)) for minute in (1, 2, 4, 5, 6)])

    def known() -> list[Any]:
        return [bars_of(rig), late_of(rig)]

    before = known()
    group = TOUCHES[name]
    rig.writers[0].append_group(b"".join(record.pack() for record in group))
    rig.writers[0].publish()
    rig.apply()
    after = known()
    version = rig.reader.column_offset("version") + 3 * 8
    words.store(rig.snapshot, version, words.load(rig.snapshot, version) - 1)
    return rig, before, after


@pytest.mark.parametrize("name", TOUCHES)
def test_readers_of_a_row_whose_worker_died_are_given_the_bars_from_before(name: str) -> None:
    rig, before, after = interrupted(name)
    assert [bars_of(rig), late_of(rig)] == before
    assert (before != after) is (name not in ("a quote", "the first running sum"))


@pytest.mark.parametrize("name", TOUCHES)
def test_a_successor_puts_the_bars_back_and_does_the_record_again(name: str) -> None:
    rig, before, after = interrupted(name)
    words.store(rig.rings[0], AT_APPLIED, rig.applied() - len(TOUCHES[name]))
    counts = bytes(rig.bars or b"")
    successor = rig.restarted()
    assert successor.recover() == 1
    assert [bars_of(rig), late_of(rig)] == before
    successor.run(SECOND // 100)
    assert [bars_of(rig), late_of(rig)] == after
    assert bytes(rig.bars or b"") == counts


# ---- the reader ----


def test_volumes_are_laid_out_on_one_axis_of_minutes() -> None:
    rig = Rig(bars=5)
    for row, minutes in ((3, (1, 2, 5)), (4, (4,)), (5, (9,)), (7, (1, 2, 3, 4, 5, 6))):
        rig.feed([trade(row, 1.0, float(minute), exchange_ns=at(minute)) for minute in minutes])
    rows = np.array([3, 4, 5, 6, 7], np.intp)
    volumes, known = np.full((5, 5), math.nan), np.full(5, -1, np.int64)
    reader_of(rig).volumes(rows.data, at(6), volumes.data, known.data)
    assert volumes.T.tolist() == [[2, 0, 0, 5, 0], [0, 0, 4, 0, 0], [0] * 5, [0] * 5, [2, 3, 4, 5, 6]]
    assert known.tolist() == [5, 3, 0, 0, 5]


def test_a_copy_that_has_no_place_or_no_row_is_refused() -> None:
    rig = Rig(bars=3)
    reader = reader_of(rig)
    assert (reader.rows, reader.kept) == (64, 3)
    counts = memoryview(bytearray(16))
    one = np.array([3], np.intp)
    with pytest.raises(ValueError, match="not 256 bytes"):
        reader.copy_rows(one.data, bytearray(4 * 64), counts)
    with pytest.raises(ValueError, match="1 to 3 bars of 64 bytes for each of 1 rows, not 96 bytes"):
        reader.copy_rows(one.data, bytearray(96), counts)
    with pytest.raises(IndexError, match="row 64 of 64"):
        reader.copy_rows(np.array([64], np.intp).data, bytearray(64), counts)
    with pytest.raises(IndexError, match="row -1 of 64"):
        reader.volumes(np.array([-1], np.intp).data, at(1), bytearray(8), bytearray(8))


def test_what_holds_no_bars_is_refused() -> None:
    rig = Rig(bars=3)
    assert rig.bars is not None
    with pytest.raises(ValueError, match="no bars of this layout"):
        BarsReader(bytes(4096), rig.snapshot)
    with pytest.raises(ValueError, match="shorter"):
        BarsReader(bytes(rig.bars)[:2048], rig.snapshot)
    with pytest.raises(ValueError, match="64 rows beside a snapshot of 128"):
        BarsReader(rig.bars, Rig(rows=128).snapshot)


@pytest.mark.parametrize(("rows", "kept"), [(63, 1), (0, 1), (64, 0), (64, 1441)])
def test_sizes_that_cannot_be_are_refused(rows: int, kept: int) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        core.size(rows, kept)


def test_minutes_without_a_bar_are_no_bar_of_the_model() -> None:
    # The model is compared with what is written out here, so that both cannot be wrong in the same way.
    minutes = Minutes()
    for minute, price in ((1, 2.0), (3, 4.0), (1, 1.0)):
        minutes.trade(3, trade(0, price, 1.0, exchange_ns=at(minute)))
    assert [(bar["start_ns"], bar["open"], bar["low"], bar["close"], bar["trades"]) for bar in minutes.bars] == [
        (at(1), 2.0, 1.0, 1.0, 2),
        (at(3), 4.0, 4.0, 4.0, 1),
    ]

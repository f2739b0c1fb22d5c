"""The policies for a full ring: what is conflated ends where it would have ended anyway; what is dropped is counted."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from corelab.records import GAP, LEVEL, QUOTE, STATUS, TRADE, TRADES, Record, unpack
from corelab.rig import Rig
from corelab.wire import C_EVENTS, C_LOST, C_RECORDS, Receiver
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core.snapshot import SnapshotReader
from openbell.reasons import Reason
from openbell.record import GapReason, Kind, MarketStatus
from openbell.vendors.plan import Field, Op, Route

SYMBOLS = [f"S{number}" for number in range(6)]


class Level(msgspec.Struct):
    """A level of a book."""

    p: float | None = None
    v: float | None = None


class Event(msgspec.Struct):
    """Any event; what it is shows in the route that takes it."""

    s: str
    n: int = 0
    p: float | None = None
    q: float | None = None
    b: float | None = None
    B: float | None = None
    a: float | None = None
    A: float | None = None
    bids: list[Level] | None = None
    asks: list[Level] | None = None


class Trades(msgspec.Struct):
    """Many trades."""

    trades: list[Event]


class Quotes(msgspec.Struct):
    """Many quotes."""

    quotes: list[Event]


class Books(msgspec.Struct):
    """Many books."""

    books: list[Event]


SYMBOL, NUMBER = Field("s", Op.SYMBOL), Field("n", Op.SEQUENCE)
TRADE_FIELDS = (SYMBOL, NUMBER, Field("p", Op.PRICE, target="a"), Field("q", Op.SIZE, target="b"))
QUOTE_FIELDS = (
    *(SYMBOL, NUMBER, Field("b", Op.PRICE, target="a"), Field("B", Op.SIZE, target="b")),
    *(Field("a", Op.PRICE, target="c"), Field("A", Op.SIZE, target="d")),
)
TICKER_FIELDS = (
    *(SYMBOL, NUMBER, Field("p", Op.PRICE, target="a"), Field("b", Op.PRICE, target="b")),
    *(Field("q", Op.AMOUNT, target="c"), Field("A", Op.AMOUNT, target="d")),
)
BOOK_FIELDS = (SYMBOL, NUMBER, Field("bids", Op.BIDS, level=("p", "v")), Field("asks", Op.ASKS, level=("p", "v")))
PLAN = (
    Route("trades", Kind.TRADE, Trades, Event, "trades", True, TRADE_FIELDS, b'{"trades"'),
    Route("quotes", Kind.QUOTE, Quotes, Event, "quotes", True, QUOTE_FIELDS, b'{"quotes"'),
    Route("books", Kind.LEVEL, Books, Event, "books", True, BOOK_FIELDS, b'{"books"'),
    Route("tickers", Kind.TICKER, list[Event], Event, "", True, TICKER_FIELDS, b"[{"),
    Route("book", Kind.LEVEL, Event, Event, "", False, BOOK_FIELDS, b'{"s"'),
)
LEVELS = 3


def receiver_of(tmp_path: Path, overflow: str = "block", **options: Any) -> Receiver:
    known = [symbol.encode() for symbol in SYMBOLS]
    given_options = {"shards": 1, "capacity": 16, "book_levels": LEVELS, **options}
    return Receiver(tmp_path, PLAN, known=known, overflow=overflow, **given_options)


def frame(kind: str, *events: dict[str, Any]) -> bytes:
    return msgspec.json.encode({kind: list(events)})


def trades(first: int, count: int, symbol: str = "S0") -> bytes:
    numbered = range(first, first + count)
    return frame("trades", *({"s": symbol, "n": n, "p": 10 + n % 7, "q": n} for n in numbered))


def book(symbol: str, number: int, bids: int, asks: int) -> dict[str, Any]:
    """Return a book whose prices say which one it is."""
    return {
        "s": symbol,
        "n": number,
        "bids": [{"p": 100 + number - level, "v": level} for level in range(bids)],
        "asks": [{"p": 200 + number + level, "v": level} for level in range(asks)],
    }


# ---- books ----


def test_a_book_is_a_group_of_one_record_a_level(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path)
    receiver.send(frame("books", book("S1", 7, 3, 2)))
    records = receiver.records()
    assert [(record.kind, record.side, record.sequence) for record in records] == [(LEVEL, n, 7) for n in (1, 2, 3)]
    assert [record.flags for record in records] == [15 + 16, 15, 3 + 32]
    assert [(record.a, record.c) for record in records] == [(107, 207), (106, 208), (105, 0)]
    assert (receiver.counter(C_EVENTS), receiver.counter(C_RECORDS)) == (1, 1)


@pytest.mark.parametrize(("bids", "asks", "count"), [(0, 0, 1), (0, 2, 2), (1, 0, 1), (9, 9, 3)])
def test_a_book_has_as_many_records_as_levels_that_are_kept(tmp_path: Path, bids: int, asks: int, count: int) -> None:
    receiver = receiver_of(tmp_path)
    receiver.send(msgspec.json.encode(book("S1", 1, bids, asks)))
    records = receiver.records()
    assert len(records) == count
    assert records[0].flags & 16
    assert records[-1].flags & 32
    assert bool(records[0].flags & 1) == (bids > 0)
    assert bool(records[0].flags & 4) == (asks > 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bids": [{"p": 1, "v": 1}, {"p": 0}]}, Reason.PRICE_NOT_POSITIVE),
        ({"asks": [{"p": "nan"}]}, Reason.PRICE_NOT_FINITE),
        ({"asks": [{"v": 3}]}, Reason.PRICE_MISSING),
        ({"asks": [{"p": 1, "v": -1}]}, Reason.SIZE_NEGATIVE),
        ({"asks": [{"p": 1, "v": "inf"}]}, Reason.SIZE_NOT_FINITE),
        ({"s": "unknown"}, Reason.SYMBOL_NOT_ASKED),
        ({"s": ""}, Reason.SYMBOL_EMPTY),
        ({"n": 1 << 63}, Reason.SEQUENCE_OUT_OF_RANGE),
    ],
)
def test_one_bad_level_refuses_the_whole_book_and_no_other(
    tmp_path: Path, change: dict[str, Any], reason: Reason
) -> None:
    receiver = receiver_of(tmp_path)
    receiver.send(frame("books", book("S0", 1, 3, 3) | change, book("S1", 2, 1, 1)))
    assert receiver.counted() == {reason: 1}
    assert [record.sequence for record in receiver.records()] == [2]
    assert receiver.balanced()


def test_a_frame_may_be_an_array_of_events(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path)
    receiver.send(b'[{"s":"S0","n":1,"p":5,"q":70},{"s":"S1","n":2},{"s":"S2","n":3,"p":6}]')
    assert [(record.kind, record.sequence) for record in receiver.records()] == [(Kind.TICKER, 1), (Kind.TICKER, 3)]
    assert receiver.counted() == {Reason.PRICE_MISSING: 1}


@pytest.mark.parametrize("overflow", ["block", "conflate", "drop"])
def test_a_group_is_never_shown_in_part(tmp_path: Path, overflow: str) -> None:
    receiver = receiver_of(tmp_path, overflow, capacity=8)
    generator = random.Random(3)
    found: list[Record] = []
    for number in range(400):
        symbol = generator.choice(SYMBOLS)
        receiver.send(frame("books", book(symbol, number, generator.randint(0, 3), generator.randint(1, 3))))
        if generator.random() < 0.3:
            poll = receiver.readers[0].poll(1 << 20)
            taken = unpack(poll)
            # Whatever the worker finds ends with the end of a group.
            assert not taken or taken[-1].kind == GAP or taken[-1].flags & 32
            found += taken
        assert receiver.balanced()
    for _ in range(1000):
        left = receiver.listener.drain()
        taken = receiver.records()
        assert not taken or taken[-1].kind == GAP or taken[-1].flags & 32
        found += taken
        if not left:
            break
    books = [record for record in found if record.kind == LEVEL]
    inside = False
    for record in books:
        assert bool(record.flags & 16) != inside
        inside = not record.flags & 32
    assert not inside


@pytest.mark.parametrize("capacity", [8, 16])
def test_a_book_that_no_ring_could_ever_take_is_refused_at_once(tmp_path: Path, capacity: int) -> None:
    with pytest.raises(ValueError, match="does not fit a ring of"):
        receiver_of(tmp_path, capacity=capacity, book_levels=capacity // 2 + 1)


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="block, conflate, drop"):
        receiver_of(tmp_path, "hope")


# ---- drop ----


def told(records: list[Record]) -> int:
    """Return how many losses the GAP records tell."""
    return int(sum(record.b for record in records if record.kind == GAP and record.a == GapReason.OVERFLOW))


def test_what_is_dropped_is_counted_and_told_once_there_is_room(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "drop")
    receiver.send(trades(0, 50))
    assert receiver.pressed == 1
    assert receiver.counted() == {Reason.DROPPED: 34}
    assert receiver.counter(C_LOST) == 34
    assert not receiver.listener.holds_reading
    assert receiver.listener.drain() == receiver.listener.pending == 1
    first = receiver.records()
    assert [record.sequence for record in first] == list(range(16))
    assert receiver.listener.drain() == 0
    receiver.send(trades(50, 2))
    after = receiver.records()
    assert [record.kind for record in after] == [GAP, TRADE, TRADE]
    assert told(after) == 34
    assert [record.sequence for record in after[1:]] == [50, 51]
    assert receiver.balanced()


def test_a_bad_event_is_not_counted_as_dropped(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "drop")
    receiver.send(trades(0, 16), frame("trades", {"s": "S0", "p": -1}, {"s": "S0", "p": 1}))
    assert receiver.counted() == {Reason.PRICE_NOT_POSITIVE: 1, Reason.DROPPED: 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["send", "poll", "drain"]), st.integers(0, 30)), max_size=40))
def test_under_drop_every_event_is_a_record_or_a_loss_that_was_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    receiver = receiver_of(tmp_path_factory.getbasetemp(), "drop")
    found: list[Record] = []
    sent = 0
    for step, count in steps:
        if step == "send":
            receiver.send(trades(sent, count))
            sent += count
        elif step == "poll":
            found += unpack(receiver.readers[0].poll(count + 1))
        else:
            receiver.listener.drain()
        assert receiver.balanced()
    for _ in range(10):
        receiver.listener.drain()
        found += receiver.records()
    sequences = [record.sequence for record in found if record.kind == TRADE]
    assert sequences == sorted(set(sequences))
    assert len(sequences) + told(found) == sent
    assert told(found) == receiver.counter(C_LOST)
    # Each gap stands where the losses were: between the record before it and the one behind it.
    expected = 0
    for record in found:
        if record.kind == GAP:
            expected += int(record.b)
        else:
            assert record.sequence == expected
            expected += 1


# ---- conflate ----


def snapshot_after(records: list[Record]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of a snapshot to which `records` were applied."""
    rig = Rig(rows=64, capacity=4096, book_levels=LEVELS)
    data = b"".join(record.pack() for record in records)
    at = 0
    while at < len(records):
        n = 1
        while records[at].flags & 16 and not records[at + n - 1].flags & 32:
            n += 1
        if not rig.writers[0].append_group(data[at * 64 : (at + n) * 64]):
            rig.writers[0].publish()
            rig.apply()
            continue
        at += n
    rig.writers[0].publish()
    rig.apply()
    return columns_of(rig.reader)


def columns_of(reader: SnapshotReader) -> dict[str, np.ndarray[Any, Any]]:
    bits = np.empty((len(reader.columns), reader.rows), np.uint64)
    reader.copy_all(bits)
    return {name: bits[i].view(f"<{kind}") for i, (name, kind) in enumerate(reader.columns)}


def random_frames(seed: int, count: int) -> list[bytes]:
    generator = random.Random(seed)
    frames = []
    for number in range(count):
        symbol = generator.choice(SYMBOLS)
        price, size = generator.randint(1, 50) / 4, generator.randint(0, 9)
        kind = generator.choice(["trades", "trades", "quotes", "books", "partial", "tickers"])
        event: dict[str, Any]
        if kind == "trades":
            event = {"s": symbol, "n": number, "p": price, "q": size}
        elif kind == "quotes":
            event = {"s": symbol, "n": number, "b": price, "B": size, "a": price + 1, "A": size}
        elif kind == "tickers":
            # Sums on and off: what a ticker does not say goes on from what came before it.
            event = {"s": symbol, "n": number, "p": price} | {
                name: size + 50.0 for name in "bqA" if generator.random() < 0.5
            }
            frames.append(msgspec.json.encode([event]))
            continue
        elif kind == "partial":
            kind, event = "quotes", {"s": symbol, "n": number, generator.choice("ba"): price}
        else:
            event = book(symbol, number, generator.randint(0, 4), generator.randint(0, 4))
        frames.append(frame(kind, event))
    return frames


EVENTUALLY = (
    "last", "size", "open", "high", "low", "prev_close", "trades", "trade_sequence", "bid", "bid_size", "ask",
    "ask_size", "quote_sequence", "gaps", "session", "status",
)  # fmt: skip
BOOK = [f"book_{part}_{n}" for part in ("bid", "bid_size", "ask", "ask_size") for n in range(1, LEVELS + 1)]


def assert_ends_alike(found: list[Record], expected: list[Record]) -> None:
    """Assert that two streams leave the same snapshot: sums to 1e-9, all else to the bit."""
    columns, wanted = snapshot_after(found), snapshot_after(expected)
    for name in (*EVENTUALLY, *BOOK):
        np.testing.assert_array_equal(columns[name][:64], wanted[name][:64], err_msg=name)
    for name in ("volume", "turnover"):
        np.testing.assert_allclose(columns[name], wanted[name], rtol=1e-9, err_msg=name)
    # The worker stamps nothing itself, and the last event of all is the last one here.
    latest = [
        max(record.receive_ns for record in records if record.row == row)
        for records in (found, expected)
        for row in sorted({record.row for record in records if record.row < 64})
    ]
    assert columns["receive_ns"][:64][columns["receive_ns"][:64] > 0].tolist() == latest[: len(latest) // 2]


def emptied(receiver: Receiver, found: list[Record]) -> list[Record]:
    """Drain until nothing waits; return `found` and what came."""
    for _ in range(1000):
        left = receiver.listener.drain()
        assert left == receiver.listener.pending
        found += receiver.records()
        if not left:
            return found
    raise AssertionError("something waits for ever")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shards", [1, 2])
def test_what_is_conflated_ends_with_every_last_value_and_every_sum(tmp_path: Path, seed: int, shards: int) -> None:
    """A worker that takes a few records now and then, against one that is never behind."""
    frames = random_frames(seed, 600)
    whole = receiver_of(tmp_path, capacity=4096, shards=shards)
    whole.send(*frames)
    receiver = receiver_of(tmp_path, "conflate", capacity=16, shards=shards)
    generator = random.Random(seed)
    found: list[Record] = []
    most = 0
    for payload in frames:
        receiver.send(payload)
        most = max(most, receiver.listener.pending)
        if generator.random() < 0.1:
            found += receiver.records()
        assert receiver.balanced()
    emptied(receiver, found)
    assert most <= (len(SYMBOLS) + shards) * 5, "bounded by the symbols, however long it lasts"
    assert receiver.counted().keys() == {Reason.CONFLATED}
    assert receiver.counter(C_LOST) == 0
    assert any(record.kind == TRADES for record in found)
    units = sum(not (record.kind in (LEVEL, TRADES) and not record.flags & 16) for record in found)
    assert units == receiver.counter(C_RECORDS)
    assert_ends_alike(found, whole.records())


PARTS = {
    "t": lambda number: frame("trades", {"s": "S0", "n": number, "p": 10 + number * 3 % 7, "q": number + 1}),
    "k": lambda number: msgspec.json.encode([{"s": "S0", "n": number, "p": 8 + number * 5 % 11}]),
    "K": lambda number: msgspec.json.encode([{"s": "S0", "n": number, "p": 8 + number * 5 % 11, "q": 500, "A": 7000}]),
    "q": lambda number: frame("quotes", {"s": "S0", "n": number, "b": 5 + number}),
    "b": lambda number: frame("books", book("S0", number, 2, number % 3)),
}


MIXED = ["".join(order) for n in (2, 3) for order in itertools.product("tkK", repeat=n)]
MIXED += ["t", "k", "ttKKtt", "KtktKkt", "ktktKt", "tKttkk"]


@pytest.mark.parametrize("before", ["", "K"])
@pytest.mark.parametrize("order", MIXED)
def test_trades_and_tickers_of_one_symbol_merge_as_they_came(tmp_path: Path, order: str, before: str) -> None:
    """High, low and open of every price; sums that a ticker assigns, and sums that go on from there."""
    payloads = [PARTS[part](number) for number, part in enumerate(order)]
    first = [PARTS[part](77) for part in before]
    whole = receiver_of(tmp_path)
    whole.send(*first, *payloads)
    receiver = receiver_of(tmp_path, "conflate")
    receiver.send(*first, trades(0, 16 - len(first), "S5"))
    receiver.send(*payloads)
    waiting = receiver.listener.pending
    assert waiting <= 3
    assert waiting + receiver.counted().get(Reason.CONFLATED, 0) == len(order)
    assert receiver.balanced()
    found = [record for record in emptied(receiver, receiver.records()) if record.row == receiver.table.lookup(b"S0")]
    assert_ends_alike(found, whole.records())


def test_what_waits_of_a_symbol_leaves_in_the_order_in_which_it_was_last_changed(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "conflate")
    receiver.send(trades(0, 16, "S5"))
    receiver.send(*(PARTS[part](100 + number) for number, part in enumerate("tqbqtKqt")))
    records = emptied(receiver, receiver.records())[16:]
    firsts = [record.sequence for record in records if record.kind != LEVEL or record.flags & 16]
    assert [record.kind for record in records if record.sequence in (102, 106)] == [LEVEL, LEVEL, QUOTE]
    assert sorted(set(firsts), key=firsts.index) == [102, 104, 105, 106, 107]


def test_a_symbol_that_never_rests_does_not_keep_the_others_out(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "conflate")
    receiver.send(trades(0, 16, "S5"))
    receiver.send(PARTS["t"](0), PARTS["q"](1), trades(50, 1, "S1"))
    seen: list[Record] = []
    for number in range(2, 10):
        # Room for one record; and more of the busy one before there is room again.
        seen += unpack(receiver.readers[0].poll(1))
        receiver.listener.drain()
        receiver.send(PARTS["tq"[number % 2]](number), PARTS["qt"[number % 2]](number))
    seen += unpack(receiver.readers[0].poll(100))
    rows = [record.row for record in seen[16:]]
    assert rows.index(receiver.table.lookup(b"S1")) == 2


def test_conflated_symbols_leave_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "conflate")
    receiver.send(trades(0, 16), *(trades(100 + n, 3, symbol) for n, symbol in enumerate(["S3", "S1", "S2"])))
    receiver.records()
    assert receiver.listener.drain() == 0
    rows = [record.row for record in receiver.records()[::2]]
    assert rows == [receiver.table.lookup(symbol) for symbol in (b"S3", b"S1", b"S2")]


def test_what_is_given_up_while_it_waits_is_counted_as_lost(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "conflate")
    receiver.send(trades(0, 16), trades(16, 5), trades(21, 5, "S1"))
    assert receiver.listener.abandon() == 2
    assert receiver.counted() == {Reason.CONFLATED: 8, Reason.SIDE_QUEUE_FULL: 2}
    assert receiver.balanced()
    assert receiver.listener.pending == receiver.listener.drain() == 0


def test_a_book_that_is_given_up_while_it_waits_is_one_event(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "block")
    receiver.send(trades(0, 16), *(frame("books", book("S1", number, 3, 3)) for number in range(4)), trades(20, 1))
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    assert receiver.listener.pending == 4 * 3 + 1 + 1
    assert receiver.listener.abandon() == 5
    assert receiver.counted() == {Reason.SIDE_QUEUE_FULL: 5}
    assert receiver.balanced()


@pytest.mark.parametrize("side_queue", [4, 1 << 20])
@pytest.mark.parametrize("overflow", ["block", "conflate", "drop"])
def test_gaps_and_sessions_are_never_lost_to_a_full_ring(tmp_path: Path, overflow: str, side_queue: int) -> None:
    receiver = receiver_of(tmp_path, overflow, side_queue_records=side_queue)
    receiver.send(trades(0, 30))
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    receiver.listener.publish_status(20260105, MarketStatus.OPEN)
    found = emptied(receiver, [])
    assert receiver.balanced()
    kinds = [record.kind for record in found if record.kind in (GAP, STATUS) and record.a != GapReason.OVERFLOW]
    assert kinds == [GAP, STATUS]


@pytest.mark.parametrize("overflow", ["block", "conflate", "drop"])
@pytest.mark.parametrize("room", [0, 1, 5])
def test_what_comes_behind_a_session_is_applied_behind_it(tmp_path: Path, overflow: str, room: int) -> None:
    """However full the ring is: neither passed by, nor merged with what came before."""
    receiver = receiver_of(tmp_path, overflow)
    one = "S1"
    receiver.send(trades(0, 20, one))
    receiver.listener.publish_status(20260105, MarketStatus.OPEN)
    found = unpack(receiver.readers[0].poll(room))
    receiver.send(trades(100, 5, one))
    receiver.listener.drain()
    receiver.send(trades(200, 30, one))
    emptied(receiver, found)
    receiver.send(trades(300, 1, one))
    emptied(receiver, found)
    own = [record for record in found if record.kind != GAP]
    rolled = [record.kind for record in own].index(STATUS)
    assert all(record.sequence < 100 for record in own[:rolled])
    after = own[rolled + 1 :]
    assert all(record.sequence >= 100 for record in after)
    assert after[-1].sequence == 300
    if overflow == "conflate":
        counts = [
            1 if record.kind == TRADE else int(np.float64(record.d).view(np.int64))
            for record in after
            if record.kind == TRADE or record.flags & 16
        ]
        assert sum(counts) == 36
    assert receiver.balanced()


@pytest.mark.parametrize("overflow", ["block", "conflate", "drop"])
def test_a_gap_that_waits_alone_is_waited_for(tmp_path: Path, overflow: str) -> None:
    receiver = receiver_of(tmp_path, overflow)
    receiver.send(trades(0, 16))
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    assert receiver.pressed == 1
    assert receiver.listener.pending == receiver.listener.drain() == 1
    receiver.records()
    assert receiver.listener.drain() == receiver.listener.pending == 0
    assert [record.kind for record in receiver.records()] == [GAP]


def test_what_was_dropped_behind_a_session_is_told(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "drop")
    receiver.send(trades(0, 16))
    receiver.listener.publish_status(20260105, MarketStatus.OPEN)
    receiver.send(trades(16, 4))
    found = emptied(receiver, [])
    receiver.send(trades(20, 1))
    found += receiver.records()
    assert [record.kind for record in found[16:]] == [GAP, STATUS, TRADE]
    assert told(found) == receiver.counter(C_LOST) == 4


def test_under_drop_room_that_comes_while_a_session_waits_is_for_the_session_first(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, "drop")
    receiver.send(trades(0, 16))
    receiver.listener.publish_status(20260105, MarketStatus.OPEN)
    found = receiver.records()
    receiver.send(trades(16, 2), trades(18, 1))
    found += receiver.records()
    assert [record.kind for record in found[16:]] == [GAP, STATUS, TRADE]
    assert told(found) == receiver.counter(C_LOST) == 2


def test_two_listeners_of_a_receiver_share_rings_and_counters_and_keep_every_order(tmp_path: Path) -> None:
    """Each with symbols of its own and a queue of its own, of different policies."""
    one = receiver_of(tmp_path, "block", shards=2)
    other = receiver_of(tmp_path, "conflate", shards=2, beside=one)
    generator = random.Random(5)
    found: list[Record] = []
    sent = dict.fromkeys(SYMBOLS, 0)
    for number in range(300):
        index = generator.randrange(len(SYMBOLS))
        symbol = SYMBOLS[index]
        (one if index % 2 else other).send(frame("trades", {"s": symbol, "n": number, "p": 1, "q": 1}))
        sent[symbol] += 1
        if generator.random() < 0.2:
            found += [record for reader in one.readers for record in unpack(reader.poll(generator.randrange(9)))]
        if generator.random() < 0.2:
            (one if number % 2 else other).listener.drain()
        assert one.balanced()
    for _ in range(100):
        left = one.listener.drain() + other.listener.drain()
        found += one.records()
        if not left:
            break
    for index, symbol in enumerate(SYMBOLS):
        row = one.table.lookup(symbol.encode())
        own = [record for record in found if record.row == row and (record.kind != TRADES or record.flags & 16)]
        sequences = [record.sequence for record in own]
        assert sequences == sorted(set(sequences))
        counts = [1 if record.kind == TRADE else int(np.float64(record.d).view(np.int64)) for record in own]
        assert sum(counts) == sent[symbol]
        assert index % 2 == 0 or all(record.kind == TRADE for record in own)


def test_a_gap_of_some_symbols_is_told_to_each_of_them(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path)
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1, [b"S1", b"S4", b"nobody"])
    records = receiver.records()
    assert [record.row for record in records[:2]] == [receiver.table.lookup(b"S1"), receiver.table.lookup(b"S4")]
    assert [record.side for record in records] == [0, 0, 1]
    columns = snapshot_after(records)
    assert columns["gaps"].sum() == 2
    rig_feed_row = 64
    assert (columns["gaps"][rig_feed_row], columns["extra"][rig_feed_row]) == (0, 1)

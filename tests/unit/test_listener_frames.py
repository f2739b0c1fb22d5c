"""From frames to records: what is published when, what goes to the slow path, and what is counted."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from corelab.memory import memory
from corelab.records import GAP, HAS_A, HAS_B, ROW_NONE, Record
from corelab.wire import (
    C_BYTES,
    C_CONTROL,
    C_EVENTS,
    C_FRAMES,
    C_MAX_FRAMES,
    C_PUBLISHES,
    C_READS,
    C_RECORDS,
    PLAN,
    SYMBOLS,
    Loose,
    Receiver,
    frame,
    text_frame,
)
from picows import WSMsgType

from openbell.core import ring, symbols, words
from openbell.core.listener import FrameListener
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.reasons import Reason
from openbell.record import GapReason, Kind
from openbell.vendors.plan import Why


def tick(symbol: str = "AAA", price: object = 10, **more: Any) -> bytes:
    return json.dumps({"symbol": symbol, "price": price, **more}, separators=(",", ":")).encode()


def ticks(*events: dict[str, Any], cmd: int = 1) -> bytes:
    return json.dumps({"cmd": cmd, "ticks": events}, separators=(",", ":")).encode()


# ---- what is published when ----


def test_a_frame_that_ends_its_read_is_published_at_once(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(tick())
    (record,) = receiver.records()
    assert (record.row, record.kind, record.a) == (receiver.table.lookup(b"AAA"), Kind.TRADE, 10.0)


def test_frames_of_one_read_are_published_with_its_last(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    for number in range(100):
        receiver.receive(text_frame(tick(sequence=number), last=False))
    assert receiver.records() == []
    receiver.receive(text_frame(b"nothing of interest"))
    assert [record.sequence for record in receiver.records()] == list(range(100))


@pytest.mark.parametrize("every", [1, 3, 256])
def test_a_long_read_is_published_every_so_many_frames(tmp_path: Path, every: int) -> None:
    # A large ring: a chunk of a small one would be published before.
    receiver = Receiver(tmp_path, publish_every=every, capacity=1 << 14)
    seen = 0
    for number in range(1, 600):
        receiver.receive(text_frame(tick(sequence=number), last=False))
        seen += len(receiver.records())
        assert seen == number // every * every
    # Publishing by hand shows the rest.
    receiver.listener.publish()
    assert seen + len(receiver.records()) == 599


def test_only_rings_that_were_written_to_are_published(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=3)
    receiver.send(tick("AAA"))
    assert receiver.counter(C_PUBLISHES) == 1
    receiver.send(b"[]")
    assert receiver.counter(C_PUBLISHES) == 1
    by_shard = [len(records) for records in receiver.taken()]
    assert by_shard[receiver.shard(b"AAA")] == 1 == sum(by_shard)


def test_a_symbol_goes_to_the_ring_of_its_shard_and_stays_in_order(tmp_path: Path) -> None:
    known = [f"S{number}".encode() for number in range(40)]
    receiver = Receiver(tmp_path, shards=3, known=known)
    for number in range(400):
        receiver.send(tick(f"S{number * 7 % 40}", sequence=number))
    for shard, records in enumerate(receiver.taken()):
        assert {receiver.shard(receiver.table.key(record.row)) for record in records} <= {shard}
        assert [record.sequence for record in records] == sorted(record.sequence for record in records)


def test_a_read_has_one_time_of_arrival(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    words.store(receiver.clock_offset, 0, 10**18)
    before = words.monotonic_ns() + 10**18
    receiver.send(tick(), tick(), tick(), together=True)
    between = words.monotonic_ns() + 10**18
    receiver.send(tick())
    first, *same, later = [record.receive_ns for record in receiver.records()]
    assert same == [first, first]
    assert before <= first <= between <= later <= words.monotonic_ns() + 10**18


def test_a_clock_that_was_stepped_counts_from_the_next_read_on(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    hour = 3_600_000_000_000
    words.store(receiver.clock_offset, 0, hour)
    receiver.send(tick())
    words.store(receiver.clock_offset, 0, -hour)
    receiver.send(tick())
    early, late = [record.receive_ns for record in receiver.records()]
    assert -2 * hour <= late - early < -2 * hour + hour // 2


def test_frames_bytes_and_reads_are_counted(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    payloads = [tick(), b"", b"x" * 5000]
    receiver.send(*payloads, together=True)
    receiver.send(tick())
    receiver.receive(frame(WSMsgType.PING, b"are you there"))
    receiver.receive(frame(WSMsgType.PONG, b""))
    counted = {index: receiver.counter(index) for index in (C_FRAMES, C_BYTES, C_READS, C_MAX_FRAMES, C_CONTROL)}
    assert counted == {
        C_FRAMES: 6, C_BYTES: sum(map(len, payloads)) + len(tick()) + 13, C_READS: 4, C_MAX_FRAMES: 3, C_CONTROL: 2,
    }  # fmt: skip


# ---- the events of a frame ----


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 32, 33, 100, 1000])
def test_a_list_of_any_length_is_published_whole_and_in_order(tmp_path: Path, count: int) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=1024)
    receiver.send(ticks(*({"s": "AAA", "p": 1.5, "n": number} for number in range(count))))
    assert [record.sequence for record in receiver.records()] == list(range(count))
    assert receiver.counter(C_EVENTS) == receiver.counter(C_RECORDS) == receiver.listener.records_published == count


@pytest.mark.parametrize("padding", [0, 900, 1100, 100_000])
def test_a_message_of_any_size_is_read_and_nothing_of_it_is_kept(tmp_path: Path, padding: int) -> None:
    # Above 1 KiB the payload is decoded in place; picows reuses that memory at once.
    receiver = Receiver(tmp_path, open_symbols=True)
    payload = bytearray(ticks({"s": "NEW", "p": "1.25", "q": 3}) + b" " * padding)
    made = text_frame(bytes(payload))
    receiver.receive(made)
    del made
    (record,) = receiver.records()
    assert (receiver.table.key(record.row), record.a, record.b) == (b"NEW", 1.25, 3.0)


def test_numbers_may_come_as_text_and_the_sequence_and_time_too(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(ticks({"s": "AAA", "p": "1e2", "q": "0.5", "t": "50", "n": "9", "T": "1700000000", "d": "1"}))
    (record,) = receiver.records()
    assert (record.a, record.b, record.c, record.sequence, record.exchange_ns, record.side) == (
        100.0, 0.5, 50.0, 9, 1_700_000_000 * 10**9, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ('"nan"', Reason.PRICE_NOT_FINITE), ('"inf"', Reason.PRICE_NOT_FINITE), ('"-inf"', Reason.PRICE_NOT_FINITE),
        ("0", Reason.PRICE_NOT_POSITIVE), ("-0.01", Reason.PRICE_NOT_POSITIVE), ('"0"', Reason.PRICE_NOT_POSITIVE),
    ],
)  # fmt: skip
def test_what_a_lax_decoder_lets_through_meets_the_guards(tmp_path: Path, price: str, reason: Reason) -> None:
    receiver = Receiver(tmp_path)
    good = '{"s":"AAA","p":5}'
    receiver.send(f'{{"ticks":[{good},{{"s":"AAA","p":{price}}},{good}]}}'.encode())
    assert [record.a for record in receiver.records()] == [5.0, 5.0]
    assert receiver.counted() == {reason: 1}
    assert receiver.unclaimed == []


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ('"n":9223372036854775808', Reason.SEQUENCE_OUT_OF_RANGE),
        ('"n":"1000000000000000000000000000000"', Reason.SEQUENCE_OUT_OF_RANGE),
        ('"T":18446744073709551616', Reason.TIME_OUT_OF_RANGE), ('"T":12345', Reason.TIME_OUT_OF_RANGE),
        ('"d":18446744073709551616', Reason.SIDE_WRONG_TYPE), ('"d":3', Reason.SIDE_WRONG_TYPE),
        ('"q":"inf"', Reason.SIZE_NOT_FINITE), ('"q":-1', Reason.SIZE_NEGATIVE), ('"t":-1', Reason.AMOUNT_NEGATIVE),
        ('"t":"nan"', Reason.AMOUNT_NOT_FINITE),
    ],
)  # fmt: skip
def test_numbers_of_any_size_decode_and_are_refused(tmp_path: Path, member: str, reason: Reason) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(f'{{"ticks":[{{"s":"AAA","p":1,{member}}}]}}'.encode())
    assert receiver.counted() == {reason: 1}
    assert receiver.records() == []


# ---- what goes to the slow path ----

UNDECODABLE = {
    "not JSON": b'{"ticks":[nonsense]}',
    "cut short": b'{"ticks":[{"s":"AAA","p":1',
    "trailing bytes": b'{"ticks":[]} {}',
    "bad UTF-8 in a value": b'{"ticks":[{"s":"A\xff","p":1}]}',
    "bad UTF-8 outside": b'{"ticks":[]}\xff',
    "a byte order mark": b'\xef\xbb\xbf{"ticks":[]}',
    "a lone surrogate": b'{"ticks":[{"s":"\\ud800","p":1}]}',
    "NaN": b'{"ticks":[{"s":"AAA","p":NaN}]}',
    "Infinity": b'{"ticks":[{"s":"AAA","p":Infinity}]}',
    "1e400": b'{"ticks":[{"s":"AAA","p":1e400}]}',
    "1e400 as text": b'{"ticks":[{"s":"AAA","p":"1e400"}]}',
    "an endless whole number": b'{"ticks":[{"s":"AAA","p":' + b"9" * 5000 + b"}]}",
    "a null price": b'{"ticks":[{"s":"AAA","p":null}]}',
    "no price": b'{"ticks":[{"s":"AAA"}]}',
    "a null symbol": b'{"ticks":[{"s":null,"p":1}]}',
    "a number for a symbol": b'{"ticks":[{"s":5,"p":1}]}',
    "a word for a price": b'{"ticks":[{"s":"AAA","p":"ten"}]}',
    "true for a price": b'{"ticks":[{"s":"AAA","p":true}]}',
    "a null event": b'{"ticks":[null]}',
    "one event for a list": b'{"ticks":{"s":"AAA","p":1}}',
    "half a sequence": b'{"ticks":[{"s":"AAA","p":1,"n":1.5}]}',
    "deep nesting in an event": b'{"ticks":[{"s":"AAA","p":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    "deep nesting, unfinished": b'{"ticks":' + b"[" * 100_000,
    "deep objects": b'{"ticks":[],"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    "a zero byte": b'{"ticks":[]}\0',
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_what_does_not_decode_goes_to_the_slow_path_as_it_came(tmp_path: Path, name: str) -> None:
    payload = UNDECODABLE[name]
    receiver = Receiver(tmp_path)
    receiver.send(payload, payload, ticks({"s": "AAA", "p": 1}))
    assert receiver.unclaimed == [(payload, Why.NOT_DECODED)] * 2
    assert len(receiver.records()) == 1, "the next message is read as if nothing had been"
    # What becomes of it is for the slow path to count.
    assert receiver.counter(C_EVENTS) == 1
    assert receiver.counted() == {}


@pytest.mark.parametrize("payload", [b"", b"x", b"null", b'{"cmd":1}', b"\xff\xfe", b"[" * 100_000, b"\0" * 500])
def test_what_no_marker_claims_goes_to_the_slow_path_as_it_came(tmp_path: Path, payload: bytes) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(payload)
    assert receiver.unclaimed == [(payload, Why.NO_ROUTE)]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"cmd":2,"ticks":[{"s":"AAA","p":1}]}', b'{"cmd":18446744073709551617,"ticks":[]}', b'{"ticks":null}',
        b'{"one":{"symbol":"AAA","price":1},"tag":"1"}', b'{"one":{"symbol":"AAA","price":1},"tag":true}',
        b'{"one":{"symbol":"AAA","price":1},"tag":1.0}', b'{"one":null}',
    ],
)  # fmt: skip
def test_a_frame_that_turns_out_to_be_another_message_goes_to_the_slow_path(tmp_path: Path, payload: bytes) -> None:
    receiver = Receiver(tmp_path)
    receiver.send(payload)
    assert receiver.unclaimed == [(payload, Why.FRAME_DIFFERS)]
    assert receiver.records() == []


def test_the_slow_path_can_publish_and_count_within_the_frame(tmp_path: Path) -> None:
    def fallback(listener: FrameListener, payload: bytes, why: int) -> None:
        found = msgspec.json.decode(payload)
        listener.publish_event(0, wire_event(found))
        listener.count(Reason.WRONG_SHAPE)
        listener.count_control()

    receiver = Receiver(tmp_path, fallback=fallback)
    receiver.send(b'{"price":3,"symbol":"BBB"}', tick("AAA"), b'{"price":4,"symbol":"BBB"}', together=True)
    found = {record.a: record.receive_ns for record in receiver.records()}
    assert set(found) == {3.0, 10.0, 4.0}
    assert len(set(found.values())) == 1, "they came with the same read"
    assert receiver.counted() == {Reason.WRONG_SHAPE: 2}
    assert receiver.counter(C_CONTROL) == 2
    assert receiver.balanced()


def wire_event(found: dict[str, Any]) -> Any:
    return Loose(found["symbol"], found["price"])


# ---- fragments ----


def fragments(payload: bytes, *cuts: int) -> list[Any]:
    """Return the frames of a message cut at `cuts`."""
    edges = [0, *cuts, len(payload)]
    parts = [payload[start:end] for start, end in itertools.pairwise(edges)]
    return [
        frame(WSMsgType.TEXT if index == 0 else WSMsgType.CONTINUATION, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]


@pytest.mark.parametrize("cuts", [(1,), (0,), (5, 5, 9), tuple(range(1, 26)), (26,)])
def test_a_message_in_fragments_is_read_as_one(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    receiver = Receiver(tmp_path)
    payload = tick("BBB", 7)
    assert len(payload) == 26
    for made in fragments(payload, *cuts):
        assert receiver.records() == []
        receiver.receive(made)
    (record,) = receiver.records()
    assert (receiver.table.key(record.row), record.a) == (b"BBB", 7.0)
    assert receiver.unclaimed == []


def test_a_control_frame_may_come_between_fragments(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    first, last = fragments(tick(), 9)
    receiver.receive(first)
    receiver.receive(frame(WSMsgType.PING, b"hello"))
    receiver.receive(last)
    assert len(receiver.records()) == 1


def test_a_message_in_fragments_that_no_route_takes_goes_to_the_slow_path_whole(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    for made in fragments(b"nobody knows", 3, 6):
        receiver.receive(made)
    assert receiver.unclaimed == [(b"nobody knows", Why.NO_ROUTE)]


def test_a_message_in_fragments_up_to_the_bound_is_read(tmp_path: Path) -> None:
    payload = tick()
    receiver = Receiver(tmp_path, max_message_bytes=len(payload))
    for made in fragments(payload, *range(1, len(payload))):
        receiver.receive(made)
    assert len(receiver.records()) == 1
    assert receiver.counted() == {}


def test_a_message_that_begins_anew_drops_the_one_that_did_not_end(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.receive(fragments(tick("AAA", 1), 9)[0])
    for made in fragments(tick("BBB", 2), 9):
        receiver.receive(made)
    assert [record.a for record in receiver.records()] == [2.0]
    assert receiver.unclaimed == []


def test_binary_messages_are_read_like_text(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.receive(frame(WSMsgType.BINARY, tick()))
    assert len(receiver.records()) == 1


# ---- symbols ----


def test_an_open_source_gives_new_symbols_a_row_once(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, open_symbols=True, known=())
    receiver.send(tick("NEW"), tick("ÜBER"), ticks(*[{"s": "LIST", "p": 1}] * 20), tick("NEW"))
    assert {key for _, key in receiver.table.items()} == {b"NEW", "ÜBER".encode(), b"LIST"}
    rows = [record.row for record in receiver.records()]
    assert len(rows) == 23
    assert set(rows) == {row for row, _ in receiver.table.items()}
    assert receiver.counted() == {}


def test_an_open_source_with_a_full_table_counts_what_has_no_place(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, open_symbols=True, known=(), symbols_capacity=3)
    receiver.send(*(tick(f"S{number}") for number in range(5)))
    receiver.send(ticks(*({"s": f"S{number}", "p": 1} for number in range(5))))
    assert receiver.counted() == {Reason.TABLE_FULL: 4}
    assert {receiver.table.key(record.row) for record in receiver.records()} == {b"S0", b"S1", b"S2"}
    assert receiver.table.count == 3
    assert receiver.balanced()


def test_an_open_source_takes_no_symbol_with_a_zero_byte(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, open_symbols=True, known=())
    receiver.send(tick("A\0"), tick("\0"), tick("A" * 32))
    assert receiver.counted() == {Reason.SYMBOL_NUL: 2, Reason.SYMBOL_TOO_LONG: 1}
    assert receiver.table.count == 0


def test_a_prefix_stands_before_every_symbol(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, prefix="usdm:é".encode(), known=["usdm:éAAA".encode(), b"AAA"])
    receiver.send(tick("AAA"), tick("BBB"), ticks({"s": "AAA", "p": 1}, {"s": "usdm:éAAA", "p": 1}))
    assert {receiver.table.key(record.row) for record in receiver.records()} == {"usdm:éAAA".encode()}
    assert receiver.counted() == {Reason.SYMBOL_NOT_ASCII: 2}, "behind the prefix they are not plain"


@pytest.mark.parametrize("prefix", [1, 15, 30])
def test_a_prefix_counts_for_the_length_of_a_symbol(tmp_path: Path, prefix: int) -> None:
    receiver = Receiver(tmp_path, prefix=b"p" * prefix, known=(), open_symbols=True)
    receiver.send(tick("s" * (31 - prefix)), tick("s" * (32 - prefix)), tick(""))
    assert [key for _, key in receiver.table.items()] == [b"p" * prefix + b"s" * (31 - prefix)]
    assert receiver.counted() == {Reason.SYMBOL_TOO_LONG: 1, Reason.SYMBOL_EMPTY: 1}


# ---- gaps, and the end ----


@pytest.mark.parametrize("shards", [1, 3])
def test_a_gap_is_told_to_every_consumer_behind_what_came_before_it(tmp_path: Path, shards: int) -> None:
    receiver = Receiver(tmp_path, shards=shards)
    receiver.receive(text_frame(tick(), last=False))
    before = words.monotonic_ns()
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1)
    for shard, records in enumerate(receiver.taken()):
        *data, gap = records
        assert len(data) == (shard == receiver.shard(b"AAA"))
        assert before <= gap.receive_ns <= words.monotonic_ns()
        assert gap == Record(ROW_NONE, GAP, 0, HAS_A | HAS_B, 0, gap.receive_ns, 0, GapReason.DISCONNECT, -1)
    assert receiver.listener.records_published == 1, "a gap is no data"
    assert receiver.balanced()


def test_a_connection_that_is_gone_leaves_nothing_unpublished(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.listener.on_ws_connected(None)  # type: ignore[arg-type]
    assert receiver.connected == [None]
    receiver.receive(text_frame(tick(), last=False))
    receiver.listener.on_ws_disconnected(None)  # type: ignore[arg-type]
    assert len(receiver.records()) == 1
    assert receiver.disconnected == [(1006, "")]


# ---- misuse ----


def listener(tmp_path: Path, **options: Any) -> FrameListener:
    table = memory(symbols.size(8, 2))
    symbols.format(table, 8, 2)
    writers = []
    for index in range(2):
        body = memory(ring.size(8))
        ring.format(body, 8, index)
        writers.append(RingWriter(body, memory(64), memory(64)))
    if options.pop("recovered", True):
        for writer in writers:
            writer.recover()
    values: dict[str, Any] = {
        "plan": PLAN, "symbols": SymbolTable(table), "rings": writers, "counters": memory(1024),
        "clock_offset": memory(64), **options,
    }  # fmt: skip
    if "count" in values:
        values["rings"] = values["rings"][: values.pop("count")]
    nothing: Any = print
    return FrameListener(
        *values.values(), fallback=nothing, on_connected=nothing, on_disconnected=nothing, on_pressure=nothing
    )


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"count": 1}, ValueError, "1 rings for a symbol table of 2 shards"),
        ({"rings": []}, ValueError, "0 rings for a symbol table of 2 shards"),
        ({"rings": [1, 2]}, TypeError, "rings must be RingWriters"),
        ({"recovered": False}, ValueError, "call recover"),
        ({"counters": bytearray(1016)}, ValueError, "are needed"),
        ({"counters": bytes(1024)}, BufferError, "not writable"),
        ({"clock_offset": b""}, ValueError, "are needed"),
        ({"symbols": None}, TypeError, "symbols"),
        ({"rings": None}, TypeError, "rings"),
        ({"plan": ()}, ValueError, "1 to 16 entries"),
    ],
)
def test_an_impossible_listener_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        listener(tmp_path, **options)


def test_symbols_of_these_tests_fall_to_both_shards(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    assert {receiver.shard(symbol) for symbol in SYMBOLS} == {0, 1}

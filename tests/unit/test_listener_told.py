"""What a listener tells that no frame brought: gaps with their times, repairs; and symbols that nobody asks for."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from corelab.records import GAP, REPAIR, ROW_NONE
from corelab.wire import C_CONTROL, Receiver, frame
from picows import WSMsgType

from openbell.reasons import Reason
from openbell.record import Flag, GapReason


def tick(symbol: str = "AAA", price: object = 10, sequence: int = 1) -> bytes:
    return json.dumps({"symbol": symbol, "price": price, "sequence": sequence}, separators=(",", ":")).encode()


def ticks(*symbols: str) -> bytes:
    events = [{"symbol": symbol, "price": 10} for symbol in symbols]
    return json.dumps({"events": events}, separators=(",", ":")).encode()


# ---- symbols that nobody asks for any more ----


@pytest.mark.parametrize("message", [tick("AAA"), ticks("AAA")], ids=["alone", "in a list"])
def test_a_late_event_of_a_muted_symbol_is_dropped_and_counted(tmp_path: Path, message: bytes) -> None:
    receiver = Receiver(tmp_path)
    assert receiver.table.mute(b"AAA")
    assert receiver.table.muted(b"AAA")
    receiver.send(message, tick("BBB"))
    assert [record.row for record in receiver.records()] == [receiver.table.lookup(b"BBB")]
    assert receiver.counted() == {Reason.IGNORED_LATE: 1}
    assert receiver.table.unmute(b"AAA")
    receiver.send(message)
    assert [record.row for record in receiver.records()] == [receiver.table.lookup(b"AAA")]
    assert receiver.balanced()


def test_a_bad_event_of_a_muted_symbol_is_counted_as_bad(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.table.mute(b"AAA")
    receiver.send(tick("AAA", -1))
    assert receiver.counted() == {Reason.PRICE_NOT_POSITIVE: 1}


def test_a_symbol_without_a_row_cannot_be_muted(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    assert not receiver.table.mute(b"NOBODY")
    assert not receiver.table.mute(b"")
    assert not receiver.table.muted(b"NOBODY")


# ---- repairs ----


def test_a_repair_is_a_record_of_its_own_kind_and_no_event(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    assert receiver.listener.publish_repair(b"AAA", 10.5, 3.0, 1_700_000_000_000_000_000, 77)
    (record,) = receiver.records()
    assert (record.row, record.kind) == (receiver.table.lookup(b"AAA"), REPAIR)
    assert (record.a, record.b, record.exchange_ns, record.sequence) == (10.5, 3.0, 1_700_000_000_000_000_000, 77)
    assert record.flags & Flag.REPAIRED
    assert receiver.listener.records_published == 0
    assert receiver.balanced()


@pytest.mark.parametrize("key", [b"NOBODY", b"", b"A" * 32])
def test_a_repair_of_an_unknown_symbol_is_not_told(tmp_path: Path, key: bytes) -> None:
    receiver = Receiver(tmp_path)
    assert not receiver.listener.publish_repair(key, 10.5, 3.0, 1)
    assert receiver.records() == []


@pytest.mark.parametrize(
    ("price", "size", "exchange_ns"),
    [(0.0, 1.0, 1), (-1.0, 1.0, 1), (float("nan"), 1.0, 1), (float("inf"), 1.0, 1), (1.0, -1.0, 1), (1.0, 1.0, 0)],
)
def test_a_repair_with_values_that_no_trade_has_is_refused(
    tmp_path: Path, price: float, size: float, exchange_ns: int
) -> None:
    with pytest.raises(ValueError, match="positive price"):
        Receiver(tmp_path).listener.publish_repair(b"AAA", price, size, exchange_ns)


def test_a_repair_that_waits_for_room_is_not_counted_as_lost(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=8)
    receiver.send(*(tick(sequence=number) for number in range(10)))
    waiting = receiver.listener.pending
    receiver.listener.publish_repair(b"AAA", 10.5, 3.0, 5)
    assert receiver.listener.pending == waiting + 1
    assert receiver.listener.abandon() == waiting


# ---- gaps ----


def test_a_gap_says_from_when_to_when(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1)
    receiver.listener.publish_gap(GapReason.DISCONNECT, -1, [b"AAA"], 1000, 2000)
    told = receiver.records()
    assert [record.row for record in told] == [receiver.table.lookup(b"AAA"), ROW_NONE]
    for record in told:
        assert (record.kind, record.flags) == (GAP, 15)
        assert struct.unpack("<4q", record.pack()[32:]) == (GapReason.DISCONNECT, -1, 1000, 2000)


def test_a_gap_whose_times_are_unknown_has_none(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1)
    receiver.listener.publish_gap(GapReason.DISCONNECT, 3)
    (record,) = receiver.records()
    assert record.flags == 3


# ---- signs of life ----


def test_each_pong_is_told(tmp_path: Path) -> None:
    pongs: list[int] = []
    receiver = Receiver(tmp_path, on_pong=lambda: pongs.append(1))
    receiver.receive(frame(WSMsgType.PONG, b"1"))
    receiver.receive(frame(WSMsgType.PING, b"1"))
    assert len(pongs) == 1
    assert receiver.counter(C_CONTROL) == 2


def test_whole_messages_are_counted_however_they_come(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, max_message_bytes=1024)
    assert receiver.listener.messages == 0
    receiver.send(tick(), b'{"answer":1}', b"nonsense")
    receiver.receive(frame(WSMsgType.TEXT, tick()[:10], fin=False))
    receiver.receive(frame(WSMsgType.PONG, b""))
    assert receiver.listener.messages == 3
    receiver.receive(frame(WSMsgType.CONTINUATION, tick()[10:]))
    assert receiver.listener.messages == 4
    assert receiver.listener.last_read_ns > 0

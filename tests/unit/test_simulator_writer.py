"""Made-up events as frames, each against a message written the slow way."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from openbell.simulator import SimulatorOptions
from openbell.simulator.frames import text_frame
from openbell.simulator.parts import Framing, Number, Part, Repeat, Text
from openbell.simulator.stocks import StockVenue
from openbell.simulator.trading import TradeBlock
from openbell.simulator.writer import Writer


def payloads(frames: bytes) -> list[bytes]:
    """Cut a run of unmasked frames by the lengths in their headers, which must be as short as they can."""
    found = []
    position = 0
    while position < len(frames):
        assert frames[position] == 0x81
        size, head = frames[position + 1], 2
        if size == 126:
            size, head = int.from_bytes(frames[position + 2 : position + 4], "big"), 4
            assert size > 125
        elif size == 127:
            size, head = int.from_bytes(frames[position + 2 : position + 10], "big"), 10
            assert size > 65_535
        found.append(frames[position + head : position + head + size])
        position += head + size
    assert position == len(frames)
    return found


def decimal(value: int, decimals: int) -> str:
    return f"{value // 10**decimals}.{value % 10**decimals:0{decimals}d}"


def push(venue: StockVenue, decimals: int, block: TradeBlock, i: int) -> bytes:
    """Write AllTick's push 22998, keys in the order of the vendor's documents."""
    data = {
        "code": venue.symbols[block.symbol[i]],
        "seq": int(block.sequence[i]),
        "tick_time": int(venue.clock.told(block.intended_ns)[i]),
        "price": decimal(int(block.price[i]), decimals),
        "volume": str(int(block.volume[i])),
        "turnover": decimal(int(block.turnover[i]), decimals),
        "trade_direction": int(block.side[i]),
    }
    return json.dumps({"cmd_id": 22998, "data": data}, separators=(",", ":")).encode()


def tick(venue: StockVenue, decimals: int, block: TradeBlock, i: int) -> bytes:
    return (
        f'{{"symbol":"{venue.symbols[block.symbol[i]]}","price":{decimal(int(block.price[i]), decimals)},'
        f'"volume":{block.volume[i]},"turnover":{decimal(int(block.turnover[i]), decimals)},'
        f'"time":{venue.clock.told(block.intended_ns)[i]},"seq":{block.sequence[i]},"side":{block.side[i]}}}'
    ).encode()


def encoded(venue: StockVenue, block: Any, chosen: Any) -> tuple[bytes, Any]:
    return venue.lanes[0].encode(block, np.asarray(chosen, dtype=np.intp), np.ones(len(venue.symbols), dtype=np.int16))


@pytest.mark.parametrize(("universe", "decimals"), [("cn", 2), ("hk", 3), ("us", 4)])
@pytest.mark.parametrize("stamp", [False, True])
def test_alltick_frames_are_byte_for_byte_what_the_vendor_documents(universe: str, decimals: int, stamp: bool) -> None:
    venue = StockVenue(SimulatorOptions(universe=universe, symbols=700, stamp_ns=stamp))
    for _ in range(3):
        (block,) = venue.next_block()
        assert isinstance(block, TradeBlock)
        frames, offsets = encoded(venue, block, np.arange(len(block)))
        expected = [push(venue, decimals, block, i) for i in range(len(block))]
        assert payloads(frames) == expected
        assert [payloads(frames[a:b]) for a, b in itertools.pairwise(offsets)] == [[each] for each in expected]
        assert len(json.loads(expected[0])["data"]["code"]) <= 9
        assert len(str(json.loads(expected[0])["data"]["tick_time"])) == (19 if stamp else 13)


@pytest.mark.parametrize("group", [1, 7, 1000])
def test_ticks_share_frames_by_the_group_and_only_those_asked_for_are_in_them(group: int) -> None:
    venue = StockVenue(SimulatorOptions(universe="us", symbols=900, dialect="ticks", frame_ticks=group))
    for _ in range(3):
        (block,) = venue.next_block()
        assert isinstance(block, TradeBlock)
        chosen = np.flatnonzero(block.symbol % 3 == 0)
        frames, offsets = encoded(venue, block, chosen)
        expected = [
            b'{"ticks":[' + b",".join(tick(venue, 4, block, i) for i in members) + b"]}"
            for _, members in itertools.groupby(chosen.tolist(), lambda i: i // group)
        ]
        assert payloads(frames) == expected
        starts = [0, *(k for k in range(1, len(chosen)) if chosen[k] // group != chosen[k - 1] // group), len(chosen)]
        pieces = [payloads(frames[offsets[a] : offsets[b]]) for a, b in itertools.pairwise(starts)]
        assert pieces == [[each] for each in expected]
        shared = [block.intended_ns[a : a + group] for a in range(0, len(block), group)]
        assert all((times == times[-1]).all() for times in shared)


def test_pushes_can_be_joined_by_newlines() -> None:
    venue = StockVenue(SimulatorOptions(symbols=100, join=4))
    (block,) = venue.next_block()
    assert isinstance(block, TradeBlock)
    messages = [push(venue, 2, block, i) for i in range(len(block))]
    frames, _ = encoded(venue, block, np.arange(len(block)))
    assert payloads(frames) == [b"\n".join(messages[i : i + 4]) for i in range(0, len(messages), 4)]


def test_nothing_chosen_is_nothing_written() -> None:
    venue = StockVenue(SimulatorOptions(symbols=10))
    (block,) = venue.next_block()
    frames, offsets = encoded(venue, block, [])
    assert frames == b""
    assert offsets.tolist() == [0]


def written(parts: tuple[Part, ...], columns: dict[str, Any], framing: Framing | None = None) -> list[bytes]:
    count = len(next(iter(columns.values())))
    arrays = {name: np.array(values, dtype=np.int64) for name, values in columns.items()}
    return payloads(Writer(parts, framing or Framing()).frames(arrays, np.arange(count))[0])


def test_numbers_of_every_width_are_written_right() -> None:
    values = [0, *(10**k + d for k in range(1, 19) for d in (-1, 0, 1)), 9, 11, 99, 101, 907, 2**63 - 1]
    assert written((Number("a"),), {"a": values}) == [str(value).encode() for value in values]
    for decimals in (1, 2, 3, 4, 8, 18):
        expected = [decimal(value, decimals).encode() for value in values]
        assert written((Number("a", decimals),), {"a": values}) == expected


def test_parts_can_repeat() -> None:
    parts = (b"[", Repeat("n", (b"(", Number("p", 1), b" ", Number("v"), b")")), b"]", Number("n"))
    columns = {"n": [0, 1, 3], "p": [[1, 2, 3], [14, 5, 6], [7, 80, 9]], "v": [[0, 0, 0], [1, 2, 3], [4, 55, 6]]}
    assert written(parts, columns) == [b"[]0", b"[(1.4 1)]1", b"[(0.7 4),(8.0 55),(0.9 6)]3"]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_of_any_length_has_the_right_header(size: int) -> None:
    text = b"x" * size
    assert payloads(text_frame(text) + text_frame(b"next")) == [text, b"next"]
    assert written((Text("a", [text, b"next"]),), {"a": [0, 1, 0]}) == [text, b"next", text]
    assert written((text,), {"a": [0]} | {}, Framing(b"<", b"|", b">")) == [b"<" + text + b">"]
    joined = written((Text("a", [text, b"n"]),), {"a": [0, 1, 1]}, Framing(b"<", b"|", b">", 2))
    assert joined == [b"<" + text + b"|n>", b"<n>"]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({}, KeyError),
        ({"n": [1], "t": [0]}, KeyError),
        ({"n": [-1], "t": [0], "p": [[1]]}, ValueError),
        ({"n": [2], "t": [0], "p": [[1]]}, ValueError),
        ({"n": [1], "t": [1], "p": [[1]]}, ValueError),
        ({"n": [1], "t": [-1], "p": [[1]]}, ValueError),
        ({"n": [1], "t": [0], "p": [[-1]]}, ValueError),
        ({"n": [1], "t": [], "p": [[1]]}, ValueError),
        ({"n": np.ones(1, dtype=np.float64), "t": [0], "p": [[1]]}, TypeError),
        ({"n": np.ones(1, dtype=np.int32), "t": [0], "p": [[1]]}, TypeError),
    ],
)
def test_impossible_columns_are_an_error_and_not_a_wrong_frame(columns: dict[str, Any], error: type[Exception]) -> None:
    writer = Writer((Text("t", [b"text"]), Repeat("n", (Number("p"),))), Framing())
    arrays = {name: v if isinstance(v, np.ndarray) else np.array(v, dtype=np.int64) for name, v in columns.items()}
    with pytest.raises(error):
        writer.frames(arrays, np.arange(1))


def test_what_repeats_more_often_than_there_are_values_is_refused_before_it_is_written() -> None:
    # Far more than the room there is: written first and refused then, this would not survive.
    writer = Writer((Repeat("n", (b"x" * 50_000_000, Number("p"))),), Framing())
    with pytest.raises(ValueError, match="event 0"):
        writer.frames({"n": np.array([20]), "p": np.array([[1]])}, np.arange(1))


@pytest.mark.parametrize("chosen", [[-1], [3], [1, 5, 2], [2, -1, 2]])
def test_events_that_are_not_there_are_an_error(chosen: list[int]) -> None:
    with pytest.raises(ValueError, match="event"):
        Writer((Number("a"),), Framing()).frames({"a": np.zeros(3, dtype=np.int64)}, np.array(chosen))


@pytest.mark.parametrize(
    ("parts", "framing"),
    [
        ((b"",) * 65, Framing()),
        ((Number("a", 19),), Framing()),
        ((Text("a", []),), Framing()),
        ((), Framing(group=0)),
        ((Repeat("n", (b"text",)),), Framing()),
        ((Repeat("n", (Number("a"), Text("b", [b"text"]))),), Framing()),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_declaration_is_refused(parts: tuple[Part, ...], framing: Framing) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Writer(parts, framing)

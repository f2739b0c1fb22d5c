"""The frame listener on a real connection: many frames in a read, fragments, and the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from corelab.wire import C_EVENTS, C_FRAMES, C_MAX_FRAMES, C_READS, C_RECORDS, Receiver
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

from openbell.reasons import Reason


class Server(WSListener):
    """Does one thing when somebody connects."""

    def __init__(self, act: Callable[[WSTransport], None]) -> None:
        self.act = act
        self.answers: list[object] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.act(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.answers.append(frame.get_close_code())
            transport.disconnect()


def talk(receiver: Receiver, act: Callable[[WSTransport], None]) -> Server:
    """Connect `receiver` to a server that does `act`, and wait for the end of the connection."""

    async def main() -> Server:
        side = Server(act)

        def accept(request: WSUpgradeRequest) -> WSListener:
            return side

        server = await ws_create_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with asyncio.timeout(20):
                transport, _ = await ws_connect(lambda: receiver.listener, f"ws://127.0.0.1:{port}/")
                await transport.wait_disconnected()
                # The server's side of the closing handshake.
                await asyncio.sleep(0.02)
        finally:
            server.close()
            await server.wait_closed()
        return side

    return asyncio.run(main())


def tick(number: int) -> bytes:
    return b'{"symbol":"AAA","price":1,"sequence":%d}' % number


def test_frames_that_arrive_together_are_read_together_and_none_is_lost(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, shards=1, capacity=1 << 14)
    count = 5000

    def flood(transport: WSTransport) -> None:
        for number in range(count):
            transport.send(WSMsgType.TEXT, tick(number))
        transport.disconnect()

    talk(receiver, flood)
    assert [record.sequence for record in receiver.records()] == list(range(count))
    assert receiver.counter(C_FRAMES) == receiver.counter(C_RECORDS) == receiver.counter(C_EVENTS) == count
    assert receiver.counter(C_MAX_FRAMES) > 1
    assert receiver.counter(C_READS) < count
    assert len(receiver.connected) == 1
    assert receiver.disconnected == [(1006, "")], "nobody said good-bye"


def test_fragments_and_control_frames_arrive_as_they_were_sent(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, max_message_bytes=1000)

    def pieces(transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, tick(1)[:10], fin=False)
        transport.send_pong(b"unasked")
        transport.send(WSMsgType.CONTINUATION, tick(1)[10:20], fin=False)
        transport.send(WSMsgType.CONTINUATION, tick(1)[20:], fin=True)
        transport.send(WSMsgType.TEXT, tick(2))
        transport.disconnect()

    talk(receiver, pieces)
    assert sorted(record.sequence for record in receiver.records()) == [1, 2]
    assert receiver.balanced()


def test_a_message_in_fragments_that_is_too_large_ends_the_connection_with_1009(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, max_message_bytes=1000)

    def pieces(transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, tick(1))
        transport.send(WSMsgType.TEXT, tick(2) + b" " * 990, fin=False)
        for _ in range(10):
            transport.send(WSMsgType.CONTINUATION, b" " * 5000, fin=False)

    talk(receiver, pieces)
    assert [record.sequence for record in receiver.records()] == [1]
    assert receiver.counted() == {Reason.TOO_LARGE: 1}
    assert [code for code, _ in receiver.disconnected] == [1009]
    assert receiver.balanced()


def test_a_message_in_more_fragments_than_anybody_makes_ends_the_connection_too(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)

    def pieces(transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"x", fin=False)
        for _ in range(70_000):
            transport.send(WSMsgType.CONTINUATION, b"x", fin=False)

    talk(receiver, pieces)
    assert receiver.counted() == {Reason.TOO_LARGE: 1}
    assert [code for code, _ in receiver.disconnected] == [1009]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (WSCloseCode.OK, b"see you", (1000, "see you")),
        (WSCloseCode.GOING_AWAY, "übermorgen".encode(), (1001, "übermorgen")),
        (WSCloseCode.POLICY_VIOLATION, b"", (1008, "")),
        (WSCloseCode.INTERNAL_ERROR, b"bad \xff bytes", (1011, "")),
    ],
)
def test_a_close_is_answered_and_its_code_and_reason_are_passed_on(
    tmp_path: Path, code: WSCloseCode, message: bytes, expected: tuple[int, str]
) -> None:
    receiver = Receiver(tmp_path)

    def leave(transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, tick(1))
        transport.send_close(code, message)

    server = talk(receiver, leave)
    assert receiver.disconnected == [expected]
    assert server.answers == [expected[0]]
    assert len(receiver.records()) == 1


def test_a_close_without_a_code_is_answered_with_one(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    server = talk(receiver, lambda transport: transport.send(WSMsgType.CLOSE, b""))
    assert receiver.disconnected == [(0, "")]
    assert server.answers == [WSCloseCode.OK.value]


def test_an_error_of_the_slow_path_ends_the_connection_and_loses_no_record(tmp_path: Path) -> None:
    def broken(listener: object, payload: bytes, why: int) -> None:
        raise RuntimeError("a mistake of ours")

    receiver = Receiver(tmp_path, fallback=broken)

    def upset(transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, tick(1))
        transport.send(WSMsgType.TEXT, b"unknown")
        transport.send(WSMsgType.TEXT, tick(2))

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        talk(receiver, upset)
    # picows hands out what it had read already, and then hangs up.
    assert [record.sequence for record in receiver.records()] in ([1], [1, 2])
    assert len(receiver.disconnected) == 1

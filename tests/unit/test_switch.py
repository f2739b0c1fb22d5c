"""Replacing a socket beside which another one runs already: when all goes well, and when either of them does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
import pytest
from picows import WSUpgradeResponse
from test_connection import QUICK, Run, Scene, ToyVendor, Visitor, run, state_names

from openbell.config import Source
from openbell.core.overlap import Overlap
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason
from openbell.receiver.timing import Timing
from openbell.record import GapReason
from openbell.vendors import Control, Notice, Semantics

__all__ = ["run"]

SOON = msgspec.structs.replace(QUICK, replace_after_s=0.3, overlap_s=0.1)


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(autouse=True)
def all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


class Twin(ToyVendor):
    """A vendor that allows a second connection beside one that is about to end, and says when one is."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.semantics = Semantics(overlaps=True)

    def control(self, payload: bytes) -> Control | None:
        return Notice("leaving", leaving=True) if b"leaving" in payload else super().control(payload)


def scene_of(liveness: object = SOON) -> Scene:
    scene = Scene(liveness)  # type: ignore[arg-type]
    scene.vendor = Twin
    scene.spacing = {"make_overlap": lambda: Overlap(64)}
    return scene


def reasons(scene: Scene) -> Sequence[EndReason]:
    return [life.why for life in scene.history.lives()]


def test_the_old_socket_ends_when_the_new_one_has_run_beside_it(run: Run) -> None:
    scene = scene_of()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("switches", 0) >= 2, "two switches")

    run(scene.play(act))
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"], "nobody sees a break"
    assert [listener.gaps for listener in scene.made[:2]] == [[], []]
    assert "gaps" not in scene.block.added
    assert "disconnects" not in scene.block.added
    first, second = scene.made[:2]
    assert "note" in first.calls and "park" not in first.calls
    assert second.calls.index("park") < second.calls.index("release")
    assert scene.server.visitors[0].closed == (1001, "")
    (began, _), (later, _) = scene.server.requests[:2]
    assert later - began >= 0.29
    assert reasons(scene)[:2] == [EndReason.REPLACED] * 2


def test_an_announcement_is_enough(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, replace_after_s=0))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        await asyncio.sleep(0.3)
        assert len(scene.server.visitors) == 1
        scene.server.visitors[0].say('{"notice":"leaving"}')
        await scene.until(lambda: scene.block.added.get("switches"), "a switch")
        await asyncio.sleep(0.3)

    run(scene.play(act))
    assert scene.block.added["switches"] == 1, "it was meant for the old one"


def test_a_successor_that_cannot_be_had_costs_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = scene_of()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        scene.server.refusal = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE, b"")
        await scene.until(lambda: len(scene.server.requests) >= 3, "two attempts")
        assert scene.connection.state is ConnectionState.LIVE
        assert scene.server.visitors[0].closed is None
        scene.server.refusal = None
        await scene.until(lambda: scene.block.added.get("switches"), "a switch")

    run(scene.play(act))
    assert "cannot connect its successor: the handshake was refused: HTTP 503" in caplog.text
    assert "gaps" not in scene.block.added


def test_a_successor_that_ends_at_once_is_tried_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = scene_of()

    def visit(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 2:
            visitor.transport.disconnect(graceful=False)

    scene.server.on_connect = visit

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("switches"), "a switch")

    run(scene.play(act))
    assert "its successor ended at once" in caplog.text or "cannot connect its successor" in caplog.text
    assert state_names(scene.block) == ["CONNECTING", "SUBSCRIBING", "LIVE", "DOWN"]
    assert "gaps" not in scene.block.added


def test_an_old_socket_that_ends_too_early_leaves_one_gap_and_its_successor(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = scene_of()
    held: list[tuple[Visitor, bytes]] = []

    def answer(visitor: Visitor, payload: bytes) -> None:
        if len(scene.server.visitors) == 1:
            scene.server.acknowledge(visitor, payload)
            return
        # The successor asks, and is not answered before the old one is gone.
        held.append((visitor, payload))
        scene.server.visitors[0].transport.disconnect(graceful=False)

    scene.server.on_message = answer

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        await scene.until(lambda: scene.block.added.get("switches"), "the successor")
        assert scene.connection.state is ConnectionState.SUBSCRIBING
        for visitor, payload in held[:1]:
            scene.server.acknowledge(visitor, payload)
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE again")

    run(scene.play(act))
    assert scene.made[0].gaps == [(GapReason.DISCONNECT, -1)]
    assert scene.block.added["gaps"] == 1
    first, second = list(scene.history.lives())[:2]
    assert (first.why, first.told) == (EndReason.CUT, True)
    assert first.gap_ns is not None
    assert second.began_ns < first.ended_ns  # type: ignore[operator]
    assert "it ended before its successor was ready" in caplog.text


def test_a_stop_in_the_middle_ends_both(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, overlap_s=30))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.visitors) == 2, "the successor")
        await asyncio.sleep(0.05)

    run(scene.play(act))
    assert "switches" not in scene.block.added
    assert scene.server.visitors[0].closed == (1001, "")


def test_a_stop_between_the_end_of_the_old_one_and_the_release_loses_nothing_that_was_kept(run: Run) -> None:
    scene = scene_of()
    scene.timing = Timing(stop_s=0.2)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.made) == 2, "the successor")
        # What the old one has read finds no room in the rings: it is at its end, and not done with.
        scene.made[0].waiting = 10**9
        await scene.until(lambda: scene.server.visitors[0].closed, "the end of the old one")
        await asyncio.sleep(0.1)
        assert "release" not in scene.made[1].calls

    run(scene.play(act))
    assert "release" in scene.made[1].calls
    assert "switches" not in scene.block.added


def test_where_the_vendor_allows_no_second_one_nothing_is_replaced(run: Run) -> None:
    scene = scene_of()
    scene.vendor = ToyVendor

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        await asyncio.sleep(0.5)

    run(scene.play(act))
    assert len(scene.server.requests) == 1


def test_a_stop_in_the_middle_is_no_disconnect_and_no_fault(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, overlap_s=30))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.visitors) == 2, "the successor")
        await asyncio.sleep(0.1)

    run(scene.play(act))
    assert "disconnects" not in scene.block.added
    assert reasons(scene) == [EndReason.STOPPED] * 2
    assert scene.server.visitors[1].closed == (1001, "")


def test_an_old_socket_that_ends_after_its_successor_did_comes_back_by_itself(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, backoff_first_s=0.3, backoff_longest_s=0.3))

    def visit(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 2:
            # No more than one is let in, and then the first one goes, too.
            asyncio.get_running_loop().call_later(0.03, end_first)
            visitor.transport.disconnect(graceful=False)

    def end_first() -> None:
        scene.server.visitors[0].transport.disconnect(graceful=False)

    scene.server.on_connect = visit

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("gaps"), "the gap")
        await scene.until(lambda: len(scene.server.visitors) >= 3, "the way back")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))


def test_both_sockets_that_end_at_once_leave_one_gap_and_come_back(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, overlap_s=30))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.visitors) == 2, "the successor")
        await asyncio.sleep(0.05)
        for visitor in scene.server.visitors[:2]:
            visitor.transport.disconnect(graceful=False)
        await scene.until(lambda: len(scene.server.visitors) >= 3, "the way back")
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    assert scene.block.added["gaps"] == 1


def test_the_gap_of_an_old_socket_is_over_when_its_successor_was_live_before(run: Run) -> None:
    scene = scene_of(msgspec.structs.replace(SOON, overlap_s=30))

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.visitors) == 2, "the successor")
        await asyncio.sleep(0.1)
        scene.server.visitors[0].transport.disconnect(graceful=False)
        await scene.until(lambda: scene.block.added.get("switches"), "the switch")
        await asyncio.sleep(0.05)
        assert scene.connection.state is ConnectionState.LIVE

    run(scene.play(act))
    first = next(iter(scene.history.lives()))
    assert (first.why, first.told) == (EndReason.CUT, True)
    assert first.gap_ns is not None


def test_a_vendor_that_refuses_the_successor_is_left_alone_for_as_long_as_it_asks(run: Run) -> None:
    scene = scene_of()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
        headers = {"Retry-After": "0.6"}
        scene.server.refusal = WSUpgradeResponse.create_error_response(HTTPStatus.TOO_MANY_REQUESTS, b"", headers)
        await scene.until(lambda: len(scene.server.requests) >= 2, "an attempt")
        # Nor is it asked for another one when the old one ends.
        scene.server.visitors[0].transport.disconnect(graceful=False)
        await scene.until(lambda: len(scene.server.requests) >= 3, "the next one")

    run(scene.play(act))
    (_, _), (refused, _), (later, _) = scene.server.requests[:3]
    assert later - refused >= 0.59

"""Looking after single symbols: seen in a column, judged, flagged, asked for again; and a request that was cut off."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest
import uvloop

from openbell.config import Liveness, Source
from openbell.monitor import subscriptions
from openbell.monitor.subscriptions import Subscriptions, SubscriptionState
from openbell.receiver.sampling import Granted, Sampler, Stamps
from openbell.vendors import Vendor, create

ROWS = 64


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Subscriber:
    """What is wanted, and who was asked for again."""

    def __init__(self, names: Sequence[str]) -> None:
        self.keys: Mapping[str, bytes] = {name: name.encode() for name in names}
        self.again: list[Sequence[str]] = []

    def resubscribe(self, symbols: Sequence[str]) -> None:
        self.again.append(tuple(symbols))


class Block:
    silent = kept = 0


class Scene:
    """A connection's symbols in rows 1, 3, 5 ... of a small feed, all granted, and a sampler that looks often."""

    def __init__(self, count: int, silence_s: float = 0.2, vendor: str = "alltick") -> None:
        self.names = tuple(f"{number}.HK" for number in range(count))
        self.rows = {name.encode(): 2 * at + 1 for at, name in enumerate(self.names)}
        self.column = array("q", bytes(8 * ROWS))
        body = memoryview(bytearray(subscriptions.size(ROWS)))
        self.view = Subscriptions(body)
        self.subscriber = Subscriber(self.names)
        self.block = Block()
        liveness = Liveness(symbol_silence_s=silence_s, silence_times=2)
        source = Source(vendor=vendor, symbols=self.names, url="ws://127.0.0.1:1/x", liveness=liveness)
        stamps = Stamps(memoryview(self.column), lambda key: self.rows.get(key, -1))
        for name in self.names:
            self.grant(name)
        made: Vendor = create(source)
        asked = Granted(self.view, body, 4, self.subscriber, stamps)
        self.sampler = Sampler(source, made, asked, self.block, stamps)
        self.moving = True

    def grant(self, name: str, state: SubscriptionState = SubscriptionState.CONFIRMED) -> None:
        self.view.write(self.rows[name.encode()], state, 4)

    def tick(self, *names: str) -> None:
        for name in names or self.names:
            self.column[self.rows[name.encode()]] += 1

    def silent(self) -> list[str]:
        return [name for name in self.names if self.view.read(self.rows[name.encode()]).silent]

    async def ticking(self, names: Collection[str], until: Callable[[], object], what: str) -> None:
        """Let some symbols tick until something is so, for 10 s at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 10
        while not until():
            assert loop.time() < deadline, f"waited in vain for {what}"
            self.tick(*names)
            await asyncio.sleep(0.005)

    def play(self, act: Callable[[], object]) -> None:
        async def run() -> None:
            looking = asyncio.create_task(self.sampler.run(lambda: self.moving))
            try:
                await asyncio.wait_for(act(), 20)  # type: ignore[arg-type]
                assert not looking.done()
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

        uvloop.run(run())


def test_a_symbol_that_falls_silent_is_flagged_counted_and_asked_for_again_and_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(4)
    others = scene.names[:3]

    async def act() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await scene.ticking(scene.names, lambda: loop.time() - began > 0.5, "a rate")
        assert scene.silent() == []
        await scene.ticking(others, lambda: scene.silent(), "silence")
        assert scene.silent() == ["3.HK"]
        assert scene.subscriber.again == [("3.HK",)]
        assert scene.block.silent == 1
        # It is granted once more, and still says nothing.
        scene.grant("3.HK")
        assert scene.silent() == []
        await scene.ticking(others, lambda: scene.silent(), "the flag")
        await scene.ticking(scene.names, lambda: not scene.silent(), "its return")
        assert scene.block.silent == 0

    scene.play(act)
    assert "silent, and never so long before: 3.HK; asking for it once more" in caplog.text


def test_nobody_is_missed_while_the_connection_or_the_market_stands_still() -> None:
    scene = Scene(4)

    async def act() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await scene.ticking(scene.names, lambda: loop.time() - began > 0.5, "a rate")
        scene.moving = False
        await asyncio.sleep(1.0)
        assert scene.silent() == []

    scene.play(act)
    assert scene.subscriber.again == []


def test_one_that_is_asked_for_again_keeps_what_is_known_of_it_and_is_not_missed_before_it_is_granted() -> None:
    scene = Scene(3)
    others = scene.names[:2]

    async def act() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await scene.ticking(scene.names, lambda: loop.time() - began > 0.5, "a rate")
        scene.grant("2.HK", SubscriptionState.ASKED)
        began = loop.time()
        await scene.ticking(others, lambda: loop.time() - began > 0.8, "time")
        assert scene.silent() == []
        scene.grant("2.HK")
        await scene.ticking(others, lambda: scene.subscriber.again, "an alarm")

    scene.play(act)
    assert scene.subscriber.again == [("2.HK",)], "its rate is still known"


def test_a_request_that_was_cut_off_is_told_with_the_number_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(20)

    async def act() -> None:
        await scene.ticking(scene.names[:12], lambda: scene.block.kept, "the cut")
        assert scene.block.kept == 12
        assert scene.silent() == list(scene.names[12:])
        # The vendor's plan is changed.
        await scene.ticking(scene.names, lambda: not scene.block.kept, "all of them")

    scene.play(act)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    text = record.getMessage()
    assert "granted 20 symbols and sends only the first 12: nothing after 11.HK in the list" in text
    assert "max_streams = 12 and connections = 2" in text
    assert scene.subscriber.again == [], "asking again would not help"


def test_quiet_symbols_are_listed_without_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(10)

    async def act() -> None:
        await scene.ticking(scene.names[1:], lambda: scene.silent(), "the list")

    scene.play(act)
    assert scene.silent() == ["0.HK"]
    assert scene.subscriber.again == []
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_vendor_that_never_answers_has_its_symbols_looked_after_as_well() -> None:
    body = memoryview(bytearray(subscriptions.size(8)))
    view = Subscriptions(body)
    view.write(1, SubscriptionState.ASKED, 4)
    view.write(2, SubscriptionState.CONFIRMED, 4)
    view.write(3, SubscriptionState.CONFIRMED, 5)
    rows = {b"A": 1, b"B": 2, b"C": 3}
    stamps = Stamps(memoryview(array("q", bytes(64))), lambda key: rows.get(key, -1))
    for acknowledges, expected in ((True, {"B"}), (False, {"A", "B"})):
        asked = Granted(view, body, 4, Subscriber("ABCD"), stamps, acknowledges=acknowledges)
        assert list(asked.rows()) == ["A", "B", "C"], "D has no row"
        assert asked.confirmed() == expected, "C is another connection's"

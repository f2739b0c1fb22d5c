"""A feed whose list of symbols comes from an address and changes while it runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from command_line import Command, last_object, run, started
from list_server import ListServer, Page, list_server

import openbell
from openbell.control import FeedControl
from openbell.errors import FeedError
from openbell.monitor.subscriptions import SubscriptionState
from openbell.simulator import a_shares

pytestmark = pytest.mark.timeout(120)

CODES = a_shares(20)
TOKEN = "c0ffee-secret-of-the-list"


def page(codes: Iterable[str], halted: Iterable[str] = ()) -> Page:
    """Return a list as an address serves it: bare digits, and whether they are traded."""
    stopped = set(halted)
    stocks = [{"code": code[:6], "status": "halted" if code in stopped else "normal"} for code in codes]
    return Page(json.dumps({"data": {"list": stocks}}).encode())


@dataclass
class Scene:
    """An exchange, a list, and a feed that takes what the list says."""

    server: ListServer
    config: Path
    feed_name: str

    def state(self, symbol: str) -> SubscriptionState:
        """Return how far the subscription of a symbol is."""
        with FeedControl(self.feed_name) as control:
            found = {each.symbol: each.subscription.state for each in control.subscriptions()}
        return found.get(symbol, SubscriptionState.NONE)

    def traded(self, *symbols: str) -> bool:
        """Return whether all `symbols` have traded."""
        try:
            with openbell.attach(self.feed_name) as market:
                return all(symbol in market and market[symbol].trades > 0 for symbol in symbols)
        except FeedError:
            return False


@pytest.fixture
def scene(tmp_path: Path, feed_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("LIST_TOKEN", TOKEN)
    simulator = ("simulate", "--port", "0", "--symbols", str(len(CODES)), "--rate", "2000", "--json")
    with list_server() as server, started(*simulator) as exchange:
        exchange.until(lambda: "\n" in exchange.out)
        url = json.loads(exchange.out.splitlines()[0])["url"]
        file = tmp_path / "feed.toml"
        file.write_text(
            f"""
            [feed]
            name = "{feed_name}"
            workers = 1
            [source]
            vendor = "alltick"
            url = "{url}"
            symbols_url = "{server.at("/list.json", page(CODES[:10], CODES[2:4]))}"
            [source.universe]
            field = "data.list[].code"
            suffix = "by-code"
            leave_out = {{ status = ["halted"] }}
            token_env = "LIST_TOKEN"
            refresh_minutes = 0.005
            """,
            "utf-8",
        )
        yield Scene(server, file, feed_name)


def test_a_list_that_changes_changes_the_subscriptions_and_one_that_is_wrong_does_not(scene: Scene) -> None:
    server = scene.server
    with started("run", str(scene.config)) as feed:
        feed.until(lambda: scene.traded(*CODES[:2], *CODES[4:10]))
        assert scene.state(CODES[2]) is SubscriptionState.NONE

        # One is halted, two are traded again, three are new.
        server.at("/list.json", page(CODES[:13], CODES[4:5]))
        feed.until(lambda: scene.traded(*CODES[2:4], *CODES[10:13]))
        feed.until(lambda: scene.state(CODES[4]) is SubscriptionState.UNSUBSCRIBED)
        new = ", ".join(sorted([*CODES[2:4], *CODES[10:13]]))
        feed.until(partial(_said, feed, f"5 new ({new}), 1 gone ({CODES[4]}), 12 symbols now"))

        for wrong, said in (
            (Page(status=404), "HTTP 404 Not Found; there is no such page; check the address; the 12 symbols from"),
            (page([]), "lists no symbol; the 12 symbols from before stay"),
            (page(CODES[:3]), "of 12 symbols are in the list no more"),
        ):
            server.at("/list.json", wrong)
            feed.until(partial(_said, feed, said))
        assert scene.state(CODES[5]) is SubscriptionState.CONFIRMED

        server.at("/list.json", page(CODES[:14]))
        feed.until(lambda: scene.traded(CODES[13]))
        feed.until(lambda: scene.state(CODES[4]) is SubscriptionState.CONFIRMED)
        shown = last_object(run("status", scene.feed_name, "--json").stdout)["feeds"][0]
        (connection,) = shown["connections"]
        assert (connection["connects"], connection["disconnects"]) == (1, 0)

        # What is being fetched when the feed is stopped holds nothing up, and leaves nothing behind.
        asked = len(server.requests)
        server.at("/list.json", Page(b" " * 1000, chunk=1, pause_s=0.1))
        feed.until(lambda: len(server.requests) > asked)
        feed.send(signal.SIGTERM)
        assert feed.end() == 0
    assert TOKEN not in feed.err + feed.out
    assert {request["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}


def _said(feed: Command, said: str) -> bool:
    return said in feed.err


def test_the_list_is_shown_before_anything_runs_and_a_wrong_one_starts_nothing(scene: Scene) -> None:
    shown = last_object(run("symbols", str(scene.config), "--json").stdout)
    assert shown["connections"][0]["symbols"] == [*CODES[:2], *CODES[4:10]]
    assert shown["sources"][0]["left_out"] == [
        {"reason": "whose status is 'halted' (leave_out)", "count": 2, "examples": CODES[2:4]}
    ]
    scene.server.at("/list.json", Page(b"{}"))
    for verb in ("symbols", "run"):
        done = run(verb, str(scene.config))
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"openbell: {scene.config}: source.symbols_url: {scene.server.url}/list.json: the document has no 'data'"
        )

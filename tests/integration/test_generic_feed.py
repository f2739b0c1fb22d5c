"""Feeds of the generic vendor, running: what a server grants, refuses and no longer sends, symbol by symbol."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, started
from simulator_client import Process

import openbell
from openbell.control import Fate
from openbell.errors import FeedError
from openbell.market import Market
from openbell.monitor.subscriptions import SubscriptionState

# Dialect, the symbols of the feed, the keys beside the profile; the last symbol is none of the simulator's.
FEEDS = {
    "symbol-array": (("00700.HK", "09988.HK", "99999.HK"), 'volume_is = "cumulative"\nacknowledges = true'),
    "symbol-text": (("000001", "600519", "999999"), ""),
    "command-code": (("NASDAQ:AAPL", "NASDAQ:MSFT", "NASDAQ:NONE"), "acknowledges = true"),
    "symbol-query": (("000001", "600519", "999999"), ""),
}
MORE = {"symbol-array": "00005.HK", "symbol-text": "600036", "command-code": "NASDAQ:NVDA", "symbol-query": "600036"}


def attached(feed: str, running: Command) -> Market:
    found: list[Market] = []

    def look() -> bool:
        with contextlib.suppress(FeedError):
            found.append(openbell.attach(feed))
        return bool(found)

    running.until(look)
    return found[0]


@pytest.fixture
def feeds(tmp_path: Path, feed_name: str) -> Iterator[dict[str, tuple[Market, Command]]]:
    """Run a feed for each dialect, all at once."""
    with contextlib.ExitStack() as stack:
        exchanges = {
            dialect: stack.enter_context(Process("--dialect", dialect, "--symbols", "200", "--rate", "4000"))
            for dialect in FEEDS
        }
        running = {}
        for dialect, exchange in exchanges.items():
            symbols, keys = FEEDS[dialect]
            file = tmp_path / f"{dialect}.toml"
            file.write_text(
                f'[feed]\nname = "{feed_name}-{dialect}"\nworkers = 1\n[source]\nvendor = "generic"\n'
                f'url = "{exchange.event("ready")["url"]}"\nsymbols = {list(symbols)}\n'
                f'[source.generic]\nprofile = "{dialect}"\n{keys}\n'
            )
            running[dialect] = stack.enter_context(started("run", str(file)))
        yield {
            dialect: (stack.enter_context(attached(f"{feed_name}-{dialect}", command)), command)
            for dialect, command in running.items()
        }


def states(market: Market) -> dict[str, SubscriptionState]:
    return {each.symbol: each.subscription.state for each in market.subscriptions()}


def test_every_symbol_is_granted_refused_or_changed_by_itself(feeds: dict[str, tuple[Market, Command]]) -> None:
    for dialect, (market, command) in feeds.items():
        (one, two, none), _ = FEEDS[dialect]
        granted = SubscriptionState.ASKED if dialect == "symbol-text" else SubscriptionState.CONFIRMED
        command.until(
            lambda market=market, one=one, two=two, none=none, granted=granted: (  # type: ignore[misc]
                states(market) == {one: granted, two: granted, none: SubscriptionState.REFUSED}
            )
        )
        command.until(lambda market=market, one=one: market[one].last > 0)  # type: ignore[misc]
        (change,) = market.subscribe([MORE[dialect]])
        if dialect == "symbol-query":
            assert change.fate is Fate.REFUSED and "part of the address" in change.why
            continue
        assert change.fate is (Fate.ASKED if dialect == "symbol-text" else Fate.SUBSCRIBED)
        command.until(lambda market=market, dialect=dialect: market[MORE[dialect]].last > 0)  # type: ignore[misc]
        if dialect == "command-code":
            # Alone it is an error, with a number.
            (change,) = market.subscribe(["NASDAQ:NOPE"])
            assert change.fate is Fate.REFUSED and "unknown symbol NASDAQ:NOPE" in change.why
            (refused,) = [each for each in market.subscriptions() if each.symbol == "NASDAQ:NOPE"]
            assert refused.subscription.code == 600
        (change,) = market.unsubscribe([two])
        assert change.fate is Fate.UNSUBSCRIBED
        assert states(market)[two] is SubscriptionState.UNSUBSCRIBED
        assert (market.status().invalid, command.err.count("Traceback")) == (0, 0)

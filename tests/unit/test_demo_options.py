"""What a demonstration is asked to do: what it asks of the simulator, what it makes of a feed, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openbell import vendors
from openbell.demo import DemoError, DemoOptions
from openbell.demo.exchange import Event, Lists
from openbell.demo.feed import configure
from openbell.errors import ConfigError
from openbell.simulator import UNIVERSES


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def arguments(**options: Any) -> dict[str, str]:
    """Return what the simulator is told, by option; a flag is "". Files and processes are left out."""
    words = DemoOptions(**options).simulator_arguments(Path("o"), Path("s"))
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            name = word
        found[name] = "" if word == name else word
    return {name: value for name, value in found.items() if name not in ("--oracle", "--symbols-file", "--parent")}


def test_the_simulator_is_told_what_was_asked_for_and_has_its_own_defaults_for_the_rest() -> None:
    plain = {"--symbols": "0", "--seed": "1", "--rate": "20000.0", "--seconds": "20.0"}
    assert arguments() == plain
    asked = arguments(universe="hk", dialect="alltick", profile="open", scale=5.0, books=True, book_levels=3)
    assert asked == plain | {
        "--universe": "hk",
        "--dialect": "alltick",
        "--profile": "open",
        "--scale": "5.0",
        "--books": "",
        "--book-levels": "3",
    }
    assert arguments(dialect="ticks", frame_ticks=100)["--frame-ticks"] == "100"


def test_a_capture_is_not_told_about_made_up_markets(tmp_path: Path) -> None:
    assert arguments(capture=tmp_path) == {"--symbols": "0", "--capture": str(tmp_path), "--speed": "1.0"}


@pytest.mark.parametrize(
    ("options", "market"),
    [({}, "cn"), ({"dialect": "ticks"}, "cn"), ({"dialect": "binance"}, "crypto"), ({"universe": "us"}, "us")],
)
def test_a_market_that_is_not_named_is_the_dialects_own(options: dict[str, Any], market: str) -> None:
    assert DemoOptions(**options).market == market


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"universe": "mars"}, "no simulated universe 'mars'"),
        ({"symbols": 10**6}, "the cn universe has at most"),
        ({"universe": "hk", "symbols": 10**6}, "the hk universe has at most"),
        ({"dialect": "ticks", "books": True}, "has trades alone"),
        ({"frame_ticks": 10}, "frame_ticks is for the dialect 'ticks'"),
        ({"book_levels": 3}, "add books"),
        ({"universe": "crypto", "profile": "open"}, "has no opening"),
        ({"speed": 2.0}, "a made-up market has its own pace"),
        ({"receivers": 2}, "add --connections 2"),
        ({"capture": Path("x"), "books": True}, "books: a capture is played as it was recorded"),
        ({"capture": Path("x"), "universe": "us"}, "universe: a capture is played as it was recorded"),
        ({"capture": Path("x"), "connections": 2}, "a capture is played over one connection"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DemoOptions(**options)


def test_the_feed_takes_all_that_is_played_and_keeps_every_level_of_it() -> None:
    lists = Lists(symbols=["600519.SH", "000001.SZ"], streams=["600519.SH", "book:600519.SH"])
    ready = Event(event="ready", url="ws://127.0.0.1:1/quote-stock-b-ws-api", vendor="alltick")
    config = configure(DemoOptions(books=True, connections=2, receivers=2, workers=4, overflow="drop"), ready, lists)
    assert (config.source.streams, config.source.connections) == (("trade", "book"), 2)
    assert (config.feed.book_levels, config.feed.receivers, config.feed.workers) == (5, 2, 4)
    assert (config.feed.overflow, config.feed.worker_rate_limit) == ("drop", 0)
    for universe, levels in (("hk", 10), ("us", 1)):
        assert configure(DemoOptions(books=True, universe=universe), ready, lists).feed.book_levels == levels
    assert configure(DemoOptions(books=True, book_levels=3), ready, lists).feed.book_levels == 3
    no_books = Lists(symbols=["600519.SH"], streams=["600519.SH"])
    assert configure(DemoOptions(), ready, no_books).feed.book_levels == 0
    assert configure(DemoOptions(), ready, no_books).source.streams == ("trade",)
    assert configure(DemoOptions(capture=Path("x")), ready, lists).feed.book_levels == 10


def test_best_bids_and_offers_have_no_levels() -> None:
    lists = Lists(symbols=["BTCUSDT"], streams=["btcusdt@trade", "btcusdt@bookTicker"])
    ready = Event(event="ready", url="ws://127.0.0.1:1/stream", vendor="binance")
    config = configure(DemoOptions(dialect="binance", books=True), ready, lists)
    assert (config.source.streams, config.feed.book_levels) == (("bookTicker", "trade"), 0)


def test_a_capture_of_which_the_oracle_says_too_little_is_refused() -> None:
    ready = Event(event="ready", url="ws://127.0.0.1:1/stream", vendor="binance")
    options = DemoOptions(capture=Path("x"))
    with pytest.raises(DemoError, match="arrays of a whole market"):
        configure(options, ready, Lists(["BTCUSDT"], ["btcusdt@trade", "!miniTicker@arr"]))
    with pytest.raises(ConfigError, match="volume of a whole day"):
        vendors.create(configure(options, ready, Lists(["BTCUSDT"], ["btcusdt@trade", "btcusdt@miniTicker"])).source)


def test_held_back_workers_have_small_rings_and_buffers_which_fill_at_once() -> None:
    lists = Lists(symbols=["600519.SH"], streams=["600519.SH"])
    ready = Event(event="ready", url="ws://127.0.0.1:1/ticks", vendor="ticks")
    quick, slow = (configure(DemoOptions(slow_worker=n), ready, lists) for n in (0, 500))
    assert (quick.feed.worker_rate_limit, slow.feed.worker_rate_limit) == (0, 500)
    assert slow.feed.ring_capacity < quick.feed.ring_capacity
    assert quick.source.receive_buffer_bytes == 0 < slow.source.receive_buffer_bytes


def test_every_universe_has_room_in_the_symbol_table() -> None:
    ready = Event(event="ready", url="ws://127.0.0.1:1/ticks", vendor="ticks")
    for universe in UNIVERSES.values():
        symbols = universe.symbols(0)
        feed = configure(DemoOptions(universe=universe.name), ready, Lists(symbols, symbols)).feed
        assert feed.symbols_capacity >= 2 * len(symbols)

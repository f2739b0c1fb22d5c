"""The descriptions of relays in docs/adding-a-vendor.md are complete: each runs against the simulator speaking it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import REPOSITORY, Command, last_object, run, started
from simulator_client import Process

import openbell
from openbell import config
from openbell.errors import FeedError

PAGE = (REPOSITORY / "docs" / "adding-a-vendor.md").read_text("utf-8")
DIALECTS = ("symbol-array", "symbol-text", "command-code")


def documented(name: str) -> str:
    """Return a file of the page."""
    (text,) = re.findall(rf"^```toml file={re.escape(name)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(text, str)
    return text


def applied(feed_name: str) -> int:
    try:
        with openbell.attach(feed_name) as market:
            return market.status().applied
    except FeedError:
        return 0


@pytest.fixture
def feeds(tmp_path: Path, feed_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[Path, Command]]]:
    """Start a simulator and a feed for each dialect, all at once: waiting for one costs as much as for three."""
    monkeypatch.setenv("RELAY_TOKEN", "not-a-real-one")
    (tmp_path / "token.txt").write_text("not-a-real-one\n")
    with contextlib.ExitStack() as stack:
        exchanges = {
            name: stack.enter_context(Process("--dialect", name, "--symbols", "200", "--rate", "2000"))
            for name in DIALECTS
        }
        found = {}
        for name, exchange in exchanges.items():
            url = exchange.event("ready")["url"]
            text = documented(f"{name}.toml")
            text = re.sub(r'^name = ".*"$', f'name = "{feed_name}-{name}"', text, flags=re.MULTILINE)
            assert "wss://relay.example/feed" in text
            file = tmp_path / f"{name}.toml"
            file.write_text(text.replace("wss://relay.example/feed", url))
            found[name] = file, stack.enter_context(started("run", str(file)))
        yield found


def test_every_documented_description_runs_as_it_stands(feeds: dict[str, tuple[Path, Command]], feed_name: str) -> None:
    for name, (file, running) in feeds.items():
        feed, wanted = f"{feed_name}-{name}", config.load(file).source.symbols
        running.until(lambda feed=feed: applied(feed) > 50)  # type: ignore[misc]
        (connection,) = last_object(run("status", feed, "--json").stdout)["feeds"][0]["connections"]
        assert connection["state"] == "live" and connection["errors"] == 0, running.err
        with openbell.attach(feed) as market:
            status, snapshot = market.status(), market.snapshot()
            # What it asked for, and nothing else; all that came is understood.
            assert set(snapshot.symbols) == set(wanted)
            assert status.invalid == status.ignored == 0, status.reasons
            row = market[wanted[0]]
        assert row.last > 0
        assert (row.volume > 0, row.trade_exchange_ns > 0, row.prev_close > 0) == (
            name == "symbol-array",
            name == "symbol-text",
            name == "command-code",
        )
        assert "not-a-real-one" not in running.out + running.err

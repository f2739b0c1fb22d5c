"""Symbols that have not traded in their session, kept out of a scan."""

from __future__ import annotations

from collections.abc import Iterator

import command_line
import msgspec
import numpy as np
import pytest
from feed_driver import Driver, configure

import openbell
from openbell.config import Config, Feed, Source
from openbell.errors import ConfigError
from openbell.market.traded import Asked
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

SYMBOLS = 40


@pytest.fixture
def market(feed_name: str) -> Iterator[openbell.Market]:
    """A feed of which some symbols have traded, and which is configured to show no others."""
    config = configure(feed_name)
    sources = (msgspec.structs.replace(config.source, only_traded=True),)
    with Supervisor(msgspec.structs.replace(config, sources=sources), receivers=False) as supervisor:
        supervisor.start()
        driver = Driver(supervisor, SYMBOLS)
        with openbell.attach(feed_name) as attached:
            driver.trade(20)
            driver.await_applied(attached)
            yield attached


def test_a_scan_holds_what_has_traded_unless_it_asks_for_all(market: openbell.Market, feed_name: str) -> None:
    everything = market.snapshot(only_traded=False)
    assert len(everything.symbols) == SYMBOLS
    traded = everything.trades > 0
    assert 0 < np.count_nonzero(traded) < SYMBOLS
    for taken in (market.snapshot(), market.snapshot(only_traded=True)):
        assert taken.symbols == tuple(np.array(everything.symbols)[traded])
        assert list(taken.rows) == list(everything.rows[traded])
        for name in taken:
            assert np.array_equal(taken[name], everything[name][traded], equal_nan=taken[name].dtype.kind == "f")
        assert taken.row(taken.symbols[0]).last == everything.row(taken.symbols[0]).last

    shown = command_line.last_object(command_line.run("snapshot", feed_name, "--json").stdout)
    assert sorted(shown["rows"]) == sorted(market.snapshot().symbols)
    shown = command_line.last_object(command_line.run("snapshot", feed_name, "--all", "--json").stdout)
    assert len(shown["rows"]) == SYMBOLS


def test_a_symbol_that_is_named_is_shown_whether_it_has_traded_or_not(market: openbell.Market, feed_name: str) -> None:
    silent = sorted(set(market.symbols) - set(market.snapshot().symbols))[0]
    done = command_line.run("snapshot", feed_name, silent)
    assert (done.returncode, silent in done.stdout) == (0, True)
    said = command_line.run("snapshot", feed_name).stdout
    assert f"{SYMBOLS - len(market.snapshot().symbols)} more symbols have not traded in their session; --all" in said
    assert silent not in said


def test_each_source_has_an_answer_of_its_own_by_its_prefix() -> None:
    sources = (
        Source(vendor="binance", symbols=("A",), only_traded=True),
        Source(vendor="binance", symbols=("A",), prefix="usdm:"),
        Source(vendor="binance", symbols=("A",), prefix="usdm:x:", only_traded=True),
    )
    asked = Asked(Config(feed=Feed(name="x"), sources=sources).to_json())
    assert asked.anywhere
    symbols = ("A", "usdm:A", "usdm:x:A", "us")
    assert asked.of(symbols).tolist() == [True, False, True, True]
    assert asked.of((*symbols, "usdm:B")).tolist() == [True, False, True, True, False]
    assert not Asked(Config(feed=Feed(name="x"), sources=sources[1:2]).to_json()).anywhere


def test_sources_with_one_prefix_have_one_answer() -> None:
    sources = (Source(vendor="binance", symbols=("A",), only_traded=True), Source(vendor="binance", symbols=("B",)))
    with pytest.raises(ConfigError, match=r"source\.only_traded: sources with one prefix \(''\) have one answer"):
        Config(feed=Feed(name="x"), sources=sources)

"""Whom an interruption of a connection concerns."""

from __future__ import annotations

import logging

import pytest

from openbell.config import Source
from openbell.receiver.concerned import concerned_symbols
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.subscriber import Subscriber
from openbell.vendors import create


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Block:
    """A connection's words, which nobody reads here."""

    symbols = confirmed = refused = unconfirmed = 0

    def add(self, name: str, count: int = 1) -> None:
        """Count nothing."""

    def set_time(self, name: str) -> None:
        """Note nothing."""


class Table:
    """Symbols that a feed knows."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    def items(self) -> list[tuple[int, bytes]]:
        return [(row, key.encode()) for row, key in enumerate(self.keys)]


def concerned(table: Table, prefixes: set[str], *, symbols: tuple[str, ...], prefix: str, opened: bool) -> list[str]:
    streams = ("miniTicker",) if opened else ("trade",)
    source = Source(vendor="binance", symbols=symbols, prefix=prefix, open=opened, streams=streams)
    asked = Subscriber(source, create(source), Block(), RateLimitedLog(logging.getLogger("test")))
    return [key.decode() for key in concerned_symbols(source, asked, prefixes, table)()]


def test_a_connection_brings_what_it_asked_for_as_it_arrives() -> None:
    table = Table("BTCUSDT", "x:BTCUSDT", "x:ETHUSDT")
    assert concerned(table, {"", "x:"}, symbols=("btcusdt",), prefix="x:", opened=False) == ["x:BTCUSDT"]


@pytest.mark.parametrize(
    ("prefix", "symbols", "came"),
    [
        ("all:", (), ["all:BTCUSDT", "all:ETHUSDT"]),
        ("all:", ("solusdt", "btcusdt"), ["all:SOLUSDT", "all:BTCUSDT", "all:ETHUSDT"]),
        ("", (), ["BTCUSDT"]),
    ],
)
def test_an_open_connection_brings_what_has_its_prefix_and_no_longer_one(
    prefix: str, symbols: tuple[str, ...], came: list[str]
) -> None:
    table = Table("BTCUSDT", "all:BTCUSDT", "all:ETHUSDT")
    assert concerned(table, {"", "all:"}, symbols=symbols, prefix=prefix, opened=True) == came


def test_an_open_connection_is_asked_when_it_matters() -> None:
    table = Table()
    source = Source(vendor="binance", open=True, streams=("miniTicker",))
    asked = Subscriber(source, create(source), Block(), RateLimitedLog(logging.getLogger("test")))
    keys = concerned_symbols(source, asked, {""}, table)
    assert list(keys()) == []
    table.keys.append("NEWUSDT")
    assert list(keys()) == [b"NEWUSDT"]

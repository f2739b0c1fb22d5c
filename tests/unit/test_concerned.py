"""Whom an interruption of a connection concerns."""

from __future__ import annotations

import pytest

from openbell.config import Source
from openbell.receiver.concerned import concerned_symbols
from openbell.vendors import create


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Table:
    """Symbols that a feed knows."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    def items(self) -> list[tuple[int, bytes]]:
        return [(row, key.encode()) for row, key in enumerate(self.keys)]


def concerned(table: Table, prefixes: set[str], *, symbols: tuple[str, ...], prefix: str, opened: bool) -> list[str]:
    streams = ("miniTicker",) if opened else ("trade",)
    source = Source(vendor="binance", symbols=symbols, prefix=prefix, open=opened, streams=streams)
    return [key.decode() for key in concerned_symbols(source, create(source), prefixes, table)()]


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
    keys = concerned_symbols(source, create(source), {""}, table)
    assert list(keys()) == []
    table.keys.append("NEWUSDT")
    assert list(keys()) == [b"NEWUSDT"]

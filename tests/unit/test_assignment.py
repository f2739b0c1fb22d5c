"""Which connection has which symbol, and which receiver has which connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.assignment import assign
from openbell.config import Config, Feed, Source


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def source(symbols: int, connections: int, prefix: str = "") -> Source:
    names = tuple(f"S{number}" for number in range(symbols))
    return Source(vendor="binance", symbols=names, connections=connections, prefix=prefix)


def test_symbols_are_dealt_out_in_turn_and_connections_to_receivers_in_turn() -> None:
    config = Config(feed=Feed(name="x", receivers=2), sources=(source(5, 2), source(3, 1, "b:")))
    found = [(each.index, each.receiver, each.number, each.place, each.source.symbols) for each in assign(config)]
    assert found == [
        (0, 0, 1, 0, ("S0", "S2", "S4")),
        (1, 1, 1, 1, ("S1", "S3")),
        (2, 0, 2, 0, ("S0", "S1", "S2")),
    ]
    assert [each.label("binance") for each in assign(config)] == ["binance 1/2", "binance 2/2", "b:binance"]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=5), st.integers(1, 16))
def test_every_symbol_has_one_connection_and_every_receiver_has_work(
    sizes: list[tuple[int, int]], receivers: int
) -> None:
    sources = tuple(
        source(symbols, min(symbols, connections), f"{number}:") for number, (symbols, connections) in enumerate(sizes)
    )
    receivers = min(receivers, sum(each.connections for each in sources))
    config = Config(feed=Feed(name="x", receivers=receivers), sources=sources)
    found = assign(config)
    assert [each.index for each in found] == list(range(config.connections))
    assert {each.receiver for each in found} == set(range(receivers))
    asked = sorted(each.source.prefix + symbol for each in found for symbol in each.source.symbols)
    assert asked == sorted(each.prefix + symbol for each in sources for symbol in each.symbols)
    assert all(each.source.symbols and each.source.connections == 1 for each in found)
    loads = [len(each.source.symbols) for each in found if each.number == 1]
    assert max(loads) - min(loads) <= 1
    # The same after any restart, and in whichever process it is asked.
    assert assign(Config.from_json(config.to_json())) == found


def test_all_else_is_the_same_on_every_connection_of_a_source() -> None:
    whole = Source(vendor="binance", symbols=("A", "B"), streams=("trade", "bookTicker"), connections=2, prefix="p:")
    for each in assign(Config(feed=Feed(name="x"), sources=(whole,))):
        assert (each.source.streams, each.source.prefix, each.source.vendor) == (whole.streams, "p:", "binance")

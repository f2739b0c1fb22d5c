"""Whether a vendor can know a symbol, what was probably meant, and how many connections a list needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell import config, vendors
from openbell.assignment import assign
from openbell.config import Source, Universe
from openbell.errors import ConfigError
from openbell.simulator.codes import cn_codes, crypto_codes, hk_codes, us_codes
from openbell.vendors.alltick import AllTick
from openbell.vendors.base import Vendor
from openbell.vendors.binance import Binance

LOCAL = "ws://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def alltick(market: str = "stock") -> Vendor:
    return AllTick(Source(vendor="alltick", symbols=("A",), market=market, url=LOCAL))


def binance() -> Vendor:
    return Binance(Source(vendor="binance", symbols=("A",)))


def generic(**described: object) -> Vendor:
    table = {"profile": "command-code"} | described
    source = {"vendor": "generic", "url": LOCAL, "symbols": ["NASDAQ:AAPL"], "generic": table}
    return vendors.create(loaded({"source": source}).source)


def loaded(tables: dict[str, Any], directory: Path | None = None) -> config.Config:
    """Return a configuration of one source, as if read from a file."""
    from openbell.config.file import Account, _build

    return _build({"feed": {"name": "x"}} | tables, directory or Path("/"), Account())


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("00700.HK", "700.HK"),
        ("700.hk", "700.HK"),
        ("700", "700.HK"),
        ("00700", "700.HK"),
        ("HK-1288", "1288.HK"),
        ("HK.00700", "700.HK"),
        ("HKEX:700", "700.HK"),
        ("600519", "600519.SH"),
        ("000001", "000001.SZ"),
        ("600519.SS", "600519.SH"),
        ("600519.sh", "600519.SH"),
        ("sh600519", "600519.SH"),
        ("SSE:600519", "600519.SH"),
        ("SZSE:000001", "000001.SZ"),
        ("000001.XSHE", "000001.SZ"),
        ("1.SZ", "000001.SZ"),
        ("AAPL", "AAPL.US"),
        ("aapl.us", "AAPL.US"),
        ("NASDAQ:AAPL", "AAPL.US"),
        ("AAPL$US", "AAPL.US"),
        ("AAPL.O", "AAPL.US"),
        ("BRK.B", "BRK.B.US"),
    ],
)
def test_alltick_is_asked_for_a_stock_as_it_writes_it(code: str, meant: str) -> None:
    assert alltick().symbol_fault(code) == f"{code!r} is no code of alltick; did you mean {meant!r}?"
    assert alltick().symbol_fault(meant) is None


@pytest.mark.parametrize("code", ["!", "700.HK.US.X", "700001", "0.HK", "123456.HK", "6005190.SH", "60051.9SH", "-.US"])
def test_a_stock_that_resembles_nothing_is_told_what_codes_look_like(code: str) -> None:
    said = alltick().symbol_fault(code)
    assert said == f"{code!r} is no code of alltick; it writes them like '700.HK', '600519.SH' or 'AAPL.US'"


@pytest.mark.parametrize("code", ["HSI.HK", ".DJI.US", "000001.SH", "399001.SZ", "BRK.B.US", "BF-B.US", "920002.BJ"])
def test_indices_and_classes_of_shares_are_codes_too(code: str) -> None:
    assert alltick().symbol_fault(code) is None


@pytest.mark.parametrize(
    ("market", "code", "said"),
    [
        ("stock", "BTCUSDT", "'BTCUSDT' is no stock; alltick has forex, metals and crypto under market = \"fx\""),
        ("stock", "EUR/USD", "'EUR/USD' is no stock; alltick has forex, metals and crypto under market = \"fx\""),
        ("fx", "700.HK", "'700.HK' is a stock; alltick has those under market = \"stock\""),
        ("fx", "btcusdt", "'btcusdt' is no code of alltick; did you mean 'BTCUSDT'?"),
        ("fx", "EUR/USD", "'EUR/USD' is no code of alltick; did you mean 'EURUSD'?"),
        ("fx", "BINANCE:BTC-USDT", "'BINANCE:BTC-USDT' is no code of alltick; did you mean 'BTCUSDT'?"),
        ("fx", "?", "'?' is no code of alltick; it writes them like 'USDJPY', 'GOLD' or 'BTCUSDT'"),
    ],
)
def test_the_other_market_of_alltick_is_named(market: str, code: str, said: str) -> None:
    assert alltick(market).symbol_fault(code) == said


@pytest.mark.parametrize("code", ["USDJPY", "GOLD", "Silver", "BTCUSDT", "1000PEPEUSDT", "US500"])
def test_pairs_metals_and_coins_are_codes_of_the_fx_market(code: str) -> None:
    assert alltick("fx").symbol_fault(code) is None


@pytest.mark.parametrize(
    ("symbol", "said"),
    [
        ("BTC-USDT", "'BTC-USDT' is no pair of binance; did you mean 'BTCUSDT'?"),
        ("btc/usdt", "'btc/usdt' is no pair of binance; did you mean 'btcusdt'?"),
        ("BTC_USDT", "'BTC_USDT' is no pair of binance; did you mean 'BTCUSDT'?"),
        ("BINANCE:BTCUSDT", "'BINANCE:BTCUSDT' is no pair of binance; did you mean 'BTCUSDT'?"),
        ("BTCUSDT.P", "'BTCUSDT.P' is no pair of binance; did you mean 'BTCUSDT'?"),
        ("600519.SH", "'600519.SH' is no pair of binance; it writes them like 'BTCUSDT'"),
        ("btcusdt@trade", "'btcusdt@trade' is a stream; write the symbol 'btcusdt', and streams = [\"trade\"]"),
        (
            "btcusdt@depth@100ms",
            "'btcusdt@depth@100ms' is a stream; write the symbol 'btcusdt', and streams = [\"depth@100ms\"]",
        ),
    ],
)
def test_binance_is_asked_for_pairs(symbol: str, said: str) -> None:
    assert binance().symbol_fault(symbol) == said


@pytest.mark.parametrize("symbol", ["btcusdt", "BTCUSDT", "1000SATSUSDT", "BTCUSDT_260327", "币安人生USDT"])
def test_binance_has_letters_and_digits_of_all_kinds(symbol: str) -> None:
    assert binance().symbol_fault(symbol) is None


def test_the_simulated_markets_are_written_as_their_vendors_do() -> None:
    stocks, pairs = alltick(), alltick("fx")
    assert not [code for code in (*cn_codes(), *hk_codes(), *us_codes()) if stocks.symbol_fault(code)]
    assert not [code for code in crypto_codes() if pairs.symbol_fault(code) or binance().symbol_fault(code)]


@given(st.text(min_size=1, max_size=12) | st.from_regex(r"[A-Z0-9.:/@_-]{1,12}", fullmatch=True))
def test_what_is_suggested_can_be_asked_for(code: str) -> None:
    for vendor in (alltick(), alltick("fx"), binance()):
        said = vendor.symbol_fault(code)
        assert said is None or said.startswith(f"{code!r} ")
        if said is not None and "did you mean" in said:
            meant = said.rpartition("did you mean ")[2].removesuffix("?")[1:-1]
            assert vendor.symbol_fault(meant) is None


def test_the_plain_profile_with_exchanges_wants_the_exchange() -> None:
    assert generic().symbol_fault("NASDAQ:AAPL") is None
    said = generic().symbol_fault("AAPL")
    assert said is not None
    assert "'NASDAQ:AAPL'" in said


def source_table(symbols: list[str], **more: object) -> dict[str, dict[str, object]]:
    return {"source": {"vendor": "alltick", "url": LOCAL, "symbols": symbols} | more}


def test_a_configuration_with_codes_that_cannot_be_is_refused_with_the_first_few() -> None:
    codes = [f"{number:05d}.HK" for number in range(1, 9)]
    with pytest.raises(ConfigError) as caught:
        vendors.check(loaded(source_table([*codes, "9988.HK"], connections=2)), "feed.toml")
    assert str(caught.value) == (
        "feed.toml: source.symbols: 8 of 9 cannot be asked for: "
        + "; ".join(f"'{number:05d}.HK' is no code of alltick; did you mean '{number}.HK'?" for number in range(1, 6))
        + '; and 3 more; correct them, or write faulty = "leave_out" in [source.universe]'
    )


def test_codes_that_cannot_be_are_left_out_where_that_is_said() -> None:
    table = source_table(["00700.HK", "9988.HK", "A B", "X" * 40], universe={"faulty": "leave_out"})
    found = loaded(table)
    assert found.source.symbols == ("9988.HK",)
    assert found.notes == (
        "source.universe: of 4 symbols left out: 1 that contains white space (A B); 1 that takes 40 bytes with its "
        f"prefix; 31 is the most ({'X' * 40}); 1 that the vendor cannot know ('00700.HK' is no code of alltick; did "
        "you mean '700.HK'?)",
    )
    vendors.check(found, "feed.toml")
    with pytest.raises(ConfigError, match=r"source\.symbols: none of the 1 can be asked for: '00700\.HK'"):
        loaded(source_table(["00700.HK"], universe={"faulty": "leave_out"}))


def test_codes_that_cannot_be_are_asked_for_where_that_is_said() -> None:
    found = loaded(source_table(["00700.HK"], universe={"faulty": "ask"}))
    assert [vendor.source.symbols for vendor in vendors.check(found, "feed.toml")] == [("00700.HK",)]


@pytest.mark.parametrize(
    ("codes", "count", "connections"),
    [(cn_codes(), 5_200, 2), (hk_codes(), 3_000, 1), (us_codes(), 11_000, 4), (us_codes(), 3_001, 2)],
)
def test_a_market_takes_as_many_connections_as_the_vendors_limit_needs(
    codes: list[str], count: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", "a-token")
    table = {"vendor": "alltick", "token_env": "ALLTICK_TOKEN", "symbols": codes[:count], "connections": "auto"}
    found = loaded({"source": table})
    assert found.connections == connections
    parts = [assigned.source.symbols for assigned in assign(found)]
    assert max(map(len, parts)) <= 3_000
    assert sorted(symbol for part in parts for symbol in part) == sorted(codes[:count])


@pytest.mark.parametrize(
    ("more", "connections"),
    [
        ({"max_streams": 4}, 3),
        ({"max_streams": 100}, 1),
        ({}, 1),
        ({"vendor": "binance", "streams": ["trade", "bookTicker"], "max_streams": 4}, 5),
        ({"vendor": "binance", "streams": ["miniTicker"], "open": True, "max_streams": 4, "symbols": []}, 1),
    ],
)
def test_the_limit_may_be_ones_own_and_counts_streams_where_the_vendor_does(
    more: dict[str, object], connections: int
) -> None:
    codes = [f"{number}{'' if 'vendor' in more else '.HK'}" for number in range(1, 11)]
    found = loaded({"source": source_table(codes, connections="auto")["source"] | more})
    assert found.connections == connections
    vendors.check(found, "feed.toml")


def test_connections_that_were_not_counted_run_nowhere() -> None:
    source = Source(vendor="alltick", symbols=("700.HK",), url=LOCAL, connections=0)
    with pytest.raises(ConfigError, match='"auto" is not settled'):
        config.Config(feed=config.Feed(name="x"), sources=(source,))
    assert vendors.settle(source)[0].connections == 1


def test_the_place_of_a_fault_is_named_among_several_sources() -> None:
    two = [
        {"vendor": "alltick", "url": LOCAL, "symbols": ["700.HK"]},
        {"vendor": "binance", "symbols": ["BTC-USDT"], "prefix": "b:"},
    ]
    with pytest.raises(ConfigError, match=r"^f: \[\[source\]\] 2 of 2: source\.symbols: 1 of 1 cannot be asked for: "):
        vendors.check(loaded({"source": two}), "f")


def test_a_source_made_by_hand_is_checked_as_well() -> None:
    source = Source(vendor="binance", symbols=("BTC-USDT",), universe=Universe())
    made = config.Config(feed=config.Feed(name="x"), sources=(source,))
    with pytest.raises(ConfigError, match="did you mean 'BTCUSDT'"):
        vendors.check(made, "by hand")

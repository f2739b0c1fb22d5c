"""feed.toml: what is accepted, and what a mistake gets told."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from openbell import config, vendors
from openbell.config import Config, Feed, Liveness, Network, Source
from openbell.errors import ConfigError
from openbell.secret import Secret
from openbell.universe import gathering
from openbell.universe.fetching import Fetched

TOKEN = "c0ffee-very-secret-c-app"

MINIMAL = """
[feed]
name = "cn"
workers = 2

[source]
vendor = "alltick"
token_env = "ALLTICK_TOKEN"
symbols = ["600519.SH", "000001.SZ", "700.HK"]
"""


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "feed.toml"
    file.write_text(text, "utf-8")
    return file


def refusal(tmp_path: Path, text: str) -> str:
    """Return the message with which a configuration is refused; it names the file and nothing secret."""
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        vendors.create(config.load(file).source)
    message = str(caught.value)
    assert TOKEN not in message
    assert caught.value.__cause__ is None
    return message.removeprefix(f"{file}: ")


def test_a_ten_line_alltick_feed_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    loaded = config.load(write(tmp_path, MINIMAL))
    assert loaded.feed == Feed(name="cn", workers=2)
    assert (loaded.feed.symbols_capacity, loaded.feed.ring_capacity) == (16384, 65536)
    assert (loaded.feed.wait, loaded.feed.overflow, loaded.feed.receivers) == ("adaptive", "block", 1)
    assert loaded.source.symbols == ("600519.SH", "000001.SZ", "700.HK")
    assert loaded.source.streams == ("trade",)
    assert loaded.notes == ()
    assert vendors.create(loaded.source).name == "alltick"


def test_a_binance_feed_needs_no_token(tmp_path: Path) -> None:
    text = (
        '[feed]\nname = "x"\n[[source]]\nvendor = "binance"\nsymbols = ["BTCUSDT"]\nstreams = ["trade", "bookTicker"]\n'
    )
    loaded = config.load(write(tmp_path, text))
    assert vendors.create(loaded.source).name == "binance"


def test_symbols_come_from_a_text_file_with_comments(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("# the index\n600519.SH  # Moutai\n\n  000001.SZ\n600519.SH\n", "utf-8")
    text = '[feed]\nname = "x"\n[source]\nvendor = "binance"\nsymbols = ["700.HK"]\nsymbols_file = "codes.txt"\n'
    loaded = config.load(write(tmp_path, text))
    assert loaded.source.symbols == ("700.HK", "600519.SH", "000001.SZ")
    assert loaded.notes == ("source.symbols: 1 duplicate dropped, 3 symbols left",)


def test_symbols_come_from_the_first_column_of_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text('code,name\n"600519.SH","A, B"\n#000002.SZ,x\n000001.SZ,y\n', "utf-8-sig")
    text = '[feed]\nname = "x"\n[source]\nvendor = "binance"\nsymbols_file = "codes.csv"\n'
    assert config.load(write(tmp_path, text)).source.symbols == ("600519.SH", "000001.SZ")


def test_files_are_looked_for_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(f"  {TOKEN}\n", "utf-8")
    file = write(tmp_path, MINIMAL.replace('token_env = "ALLTICK_TOKEN"', 'token_file = "token"'))
    monkeypatch.chdir("/")
    found = config.load(os.path.relpath(file, "/")).source.token()
    assert found is not None
    assert found.reveal() == TOKEN


def test_a_configuration_travels_as_json_without_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    loaded = config.load(write(tmp_path, MINIMAL))
    vendors.create(loaded.source)
    assert TOKEN.encode() not in loaded.to_json()
    assert TOKEN not in repr(loaded)
    assert Config.from_json(loaded.to_json()) == loaded


CASES = {
    "a misspelt key": (
        MINIMAL.replace("workers", "worker"),
        "feed.worker: there is no such key; did you mean 'workers'?",
    ),
    "a misspelt source key": (
        MINIMAL.replace("symbols =", "symbol ="),
        "source.symbol: there is no such key; did you mean 'symbols'?",
    ),
    "a key far from any": (MINIMAL + "zzz = 1\n", "source.zzz: there is no such key; the keys are "),
    "a misspelt table": (MINIMAL.replace("[feed]", "[fed]"), "fed: there is no such key; did you mean 'feed'?"),
    "a key in the other table": (MINIMAL + "workers = 3\n", "source.workers: this key belongs in the [feed] table"),
    "no feed": (MINIMAL[MINIMAL.index("[source]") :], "feed: the table is missing; begin with [feed]"),
    "no source": (MINIMAL[: MINIMAL.index("[source]")], "source: the table is missing; add [[source]]"),
    "no name": (MINIMAL.replace('name = "cn"\n', ""), "feed.name: this key is required"),
    "no vendor": (MINIMAL.replace('vendor = "alltick"\n', ""), "source.vendor: this key is required"),
    "a value of another type": (
        MINIMAL.replace("workers = 2", 'workers = "2"'),
        "feed.workers: must be a whole number, not text in quotes",
    ),
    "a fraction": (
        MINIMAL.replace("workers = 2", "workers = 2.5"),
        "feed.workers: must be a whole number, not a number",
    ),
    "too many workers": (MINIMAL.replace("workers = 2", "workers = 65"), "feed.workers: must be a whole number <= 64"),
    "no workers": (MINIMAL.replace("workers = 2", "workers = 0"), "feed.workers: must be a whole number >= 1"),
    "two receivers for one connection": (
        MINIMAL.replace("workers", "receivers"),
        "feed.receivers: 2 receivers for 1 connection; a receiver without one has nothing to do: write 1",
    ),
    "held up for too long": (
        MINIMAL.replace("workers = 2", "max_hold_ms = 2001"),
        "feed.max_hold_ms: must be a whole number",
    ),
    "too many receivers": (MINIMAL.replace("workers = 2", "receivers = 17"), "feed.receivers: must be a whole number"),
    "no receiver": (MINIMAL.replace("workers = 2", "receivers = 0"), "feed.receivers: must be a whole number >= 1"),
    "fewer connections than none": (
        MINIMAL + "connections = -1\n",
        "source.connections: must be a whole number >= 0",
    ),
    "too many connections": (MINIMAL + "connections = 65\n", "source.connections: must be a whole number <= 64"),
    "more connections than symbols": (
        MINIMAL + "connections = 4\n",
        "source.connections: 4 connections for 3 symbols; each must have one at least",
    ),
    "an open source with connections": (
        MINIMAL + "connections = 2\nopen = true\n",
        "source.connections: an open source has one connection",
    ),
    "connections where receivers are": (
        MINIMAL.replace("workers = 2", "connections = 2"),
        "feed.connections: this key belongs in the [source] table",
    ),
    "more connections than a feed can have": (
        MINIMAL.replace("[source]", "[[source]]")
        + 'connections = 3\n[[source]]\nvendor = "binance"\nconnections = 62\n'
        + f"symbols = {[f'S{number}' for number in range(62)]}\n",
        "source.connections: 65 connections over all sources are more than the 64 that a feed can have",
    ),
    "too many levels": (MINIMAL.replace("workers = 2", "book_levels = 11"), "feed.book_levels: must be a whole number"),
    "a calendar that is an option": (
        MINIMAL.replace("workers = 2", 'calendar = "--help"'),
        "feed.calendar: '--help' is not the name of a calendar",
    ),
    "an odd ring": (
        MINIMAL.replace("workers = 2", "ring_capacity = 1000"),
        "feed.ring_capacity: 1000 is not a power of two; write 512 or 1024",
    ),
    "an unknown wait": (
        MINIMAL.replace("workers = 2", 'wait = "adaptiv"'),
        "feed.wait: 'adaptiv' is none of 'adaptive', 'park', 'yield', 'spin'; did you mean 'adaptive'?",
    ),
    "an unknown overflow": (
        MINIMAL.replace("workers = 2", 'overflow = "dorp"'),
        "feed.overflow: 'dorp' is none of 'block', 'conflate', 'drop'; did you mean 'drop'?",
    ),
    "a bad feed name": (MINIMAL.replace('"cn"', '"../cn"'), "feed.name: '../cn' is not a feed name"),
    "no symbols": (MINIMAL[: MINIMAL.index("symbols")], "source.symbols: no symbol to subscribe to"),
    "an empty list": (
        MINIMAL[: MINIMAL.index("symbols")] + "symbols = []",
        "source.symbols: no symbol to subscribe to",
    ),
    "a missing symbols file": (MINIMAL + 'symbols_file = "nope.txt"\n', "source.symbols_file: "),
    "symbols that are a text": (
        MINIMAL[: MINIMAL.index("symbols")] + 'symbols = "600519.SH"\n',
        'source.symbols: must be a list, such as ["a", "b"], not text in quotes',
    ),
    "a symbol that is a number": (
        MINIMAL[: MINIMAL.index("symbols")] + "symbols = [600519]\n",
        "source.symbols[0]: must be text in quotes, not a whole number",
    ),
    "an over-long symbol": (MINIMAL.replace("700.HK", "A" * 32), "takes 32 bytes with its prefix; 31 is the most"),
    "a symbol with a blank": (MINIMAL.replace("700.HK", "700 HK"), "source.symbols: '700 HK' contains white space"),
    "a symbol with a NUL": (MINIMAL.replace("700.HK", "7\\u0000"), "contains a NUL character"),
    "an empty symbol": (MINIMAL.replace("700.HK", ""), "source.symbols: '' is empty"),
    "a prefix that leaves no room": (MINIMAL + 'prefix = "a-rather-long-prefix-for-it:"\n', "31 is the most"),
    "no stream": (MINIMAL + "streams = []\n", "source.streams: no stream to subscribe to"),
    "no symbol in one of two sources": (
        MINIMAL.replace("[source]", "[[source]]") + '[[source]]\nvendor = "binance"\n',
        "[[source]] 2 of 2: source.symbols: no symbol to subscribe to",
    ),
    "a misspelt key in one of two sources": (
        '[[source]]\nvendor = "binance"\nsymbol = ["A"]\n' + MINIMAL.replace("[source]", "[[source]]"),
        "[[source]] 1 of 2: source.symbol: there is no such key; did you mean 'symbols'?",
    ),
    "an open source among others": (
        MINIMAL.replace("[source]", "[[source]]") + '[[source]]\nvendor = "binance"\nopen = true\n',
        "source.prefix: an open source may send any symbol",
    ),
    "an empty list of sources": ('source = []\n[feed]\nname = "x"\n', "source: there is none; add [[source]]"),
    "a source that is no table": ('source = 1\n[feed]\nname = "x"\n', "source: must be a table"),
    "the token itself": (MINIMAL + f'token = "{TOKEN}"\n', "source.token: a token does not belong in this file"),
    "the token as an API key": (
        MINIMAL + f'api_key = "{TOKEN}"\n',
        "source.api_key: a token does not belong in this file",
    ),
    "the token as its variable's name": (
        MINIMAL.replace("ALLTICK_TOKEN", TOKEN),
        "source.token_env: this is not the name of an environment variable",
    ),
    "the token in the address": (
        MINIMAL + f'url = "wss://quote.example/x?token={TOKEN}"\n',
        "source.url: a token or password does not belong in the configuration",
    ),
    "a password in the address": (
        MINIMAL + f'url = "wss://me:{TOKEN}@quote.example/"\n',
        "source.url: a token or password",
    ),
    "a token in the clear": (
        MINIMAL + 'url = "ws://quote.example/"\n',
        "source.url: ws:// sends everything in the clear",
    ),
    "an address of another kind": (
        MINIMAL + 'url = "https://quote.example/"\n',
        "source.url: a WebSocket address is needed",
    ),
    "no address": (MINIMAL + 'url = "wss://[::1/"\n', "source.url: this is not an address"),
    "a port that is none": (MINIMAL + 'url = "wss://quote.example:http/"\n', "source.url: this is not an address"),
    "two places for the token": (
        MINIMAL + 'token_file = "x"\n',
        "source.token_env, source.token_file: give one of them",
    ),
    "no token": (MINIMAL.replace('token_env = "ALLTICK_TOKEN"\n', ""), "source.token_env: alltick needs a token"),
    "a misspelt vendor": (
        MINIMAL.replace('"alltick"', '"altick"'),
        "source.vendor: no vendor is called 'altick'; did you",
    ),
    "a vendor that is no path": (MINIMAL.replace('"alltick"', '"..:X"'), "source.vendor: '..:X' names no class"),
    "a symbols file with a NUL": (
        MINIMAL + 'symbols_file = "a\\u0000"\n',
        "source.symbols_file: 'a\\x00' contains a NUL",
    ),
    "a symbols file of nobody": (
        MINIMAL + 'symbols_file = "~no-such-user-here/x"\n',
        "source.symbols_file: '~no-such-user-here/x': there is no such user",
    ),
    "a token file with a NUL": (
        MINIMAL.replace("alltick", "binance").replace('token_env = "ALLTICK_TOKEN"', 'token_file = "a\\u0000"'),
        "source.token_file: 'a\\x00' contains a NUL",
    ),
    "a token file of nobody": (
        MINIMAL.replace('token_env = "ALLTICK_TOKEN"', 'token_file = "~no-such-user-here/x"'),
        "source.token_file: '~no-such-user-here/x': there is no such user",
    ),
    "a blank in the address": (
        MINIMAL + 'url = "wss://quote.example/a b"\n',
        "source.url: there are blanks or control",
    ),
    "a blank around the address": (MINIMAL + 'url = " wss://quote.example/"\n', "source.url: there are blanks"),
    "a tab in the address": (MINIMAL + 'url = "wss://quote.exa\\tmple/"\n', "source.url: there are blanks or control"),
    "TOML nested too deeply": (
        "a = " + "[" * 3000 + "\n",
        "this is not TOML that can be read: it is nested too deeply",
    ),
    "a number without end": (f"a = {'9' * 5000}\n", "this is not TOML that can be read: it has a number of thousands"),
    "a policy of a source that is none": (
        MINIMAL + 'overflow = "conflated"\n',
        "source.overflow: 'conflated' is none of 'block', 'conflate', 'drop'; did you mean 'conflate'?",
    ),
    "a refresh of nothing": (
        MINIMAL + "[source.universe]\nrefresh_minutes = 5\n",
        "source.universe.refresh_minutes: there is no list to be read again",
    ),
    "the vendor's token in the wrong table": (
        MINIMAL + '[source.universe]\ntoken_env = "X"\n',
        "source.universe.token_env, source.universe.token_file: the token is for symbols_url, and there is none",
    ),
    "a misspelt board": (
        MINIMAL + '[source.universe]\nboards = ["sh-main", "stars"]\n',
        "source.universe.boards[1]: 'stars' is none of 'sh-main', 'star', 'sz-main', 'chinext', 'bj'; did you mean "
        "'star'?",
    ),
    "a place in an address": (
        MINIMAL + 'url = "wss://relay.example/{token}"\n',
        "source.url: nothing is filled in at addresses of alltick; take the braces out",
    ),
    "an address in another script": (
        MINIMAL + 'url = "wss://relay.example/é"\n',
        "source.url: an address is written in ASCII",
    ),
    "a prefix with a NUL": (MINIMAL + 'prefix = "a\\u0000"\n', "source.prefix: 'a\\x00' contains a NUL"),
    "a prefix with white space": (MINIMAL + 'prefix = "cn "\n', "source.prefix: 'cn ' contains white space"),
    "books that no ring holds": (
        MINIMAL.replace("workers = 2", "ring_capacity = 16\nbook_levels = 10"),
        "feed.book_levels: books of 10 levels do not fit a ring_capacity of 16",
    ),
    "a rate beyond all reason": (
        MINIMAL.replace("workers = 2", f"worker_rate_limit = {10**30}"),
        "feed.worker_rate_limit: must be a whole number <= 1000000000",
    ),
    "no TOML": ("[feed\n", "this is not TOML: "),
    "a token in broken TOML": (f"token = {TOKEN}\n", "this is not TOML: "),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=[name.replace(" ", "-") for name in CASES])
def test_a_mistake_is_explained_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    message = refusal(tmp_path, text)
    if expected.startswith(("takes", "contains", "31")):
        assert expected in message
    else:
        assert message.startswith(expected)


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "access_token",
        "accessToken",
        "listenkey",
        "listenKey",
        "auth",
        "jwt",
        "signature",
        "secret",
        "password",
        "api_key",
        "API-KEY",
        "client_secret",
        "passphrase",
        "Authorization",
        "credential",
        "credentials",
        "passwd",
        "pwd",
        "pass",
        "sig",
        "user_pwd",
        "apiPass",
        "API-PASS",
        "sig2",
    ],
)
def test_a_credential_is_refused_by_every_name_that_people_give_it(tmp_path: Path, key: str) -> None:
    for text in (f'{key} = "{TOKEN}"\n', f'url = "wss://h.example/ws?{key}={TOKEN}"\n'):
        message = refusal(tmp_path, MINIMAL + text)
        assert "does not belong in th" in message
        assert TOKEN not in message


def test_an_address_may_have_a_query_that_holds_no_credential() -> None:
    assert Source(vendor="binance", symbols=("A",), url="wss://h.example/ws?region=hk&timeUnit=ms").url is not None
    innocent = "compass=1&bypass=1&design=1&signal=1&passenger=1&monkeys=1&sigma=1"
    assert Source(vendor="binance", symbols=("A",), url=f"wss://h.example/ws?{innocent}").url is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL.replace("alltick", "os:path"), "source.vendor: 'os:path' is not a subclass"),
        (
            MINIMAL.replace("alltick", "no_such_module.here:X"),
            "source.vendor: 'no_such_module.here:X': there is no module",
        ),
        (MINIMAL.replace("alltick", "altick"), "source.vendor: no vendor is called 'altick'"),
        (MINIMAL.replace("workers", "symbols_capacity"), "feed.symbols_capacity: 3 symbols do not fit a capacity of 2"),
        (
            # In upper case, as it arrives, the letter takes more bytes.
            MINIMAL[: MINIMAL.index("symbols")].replace("alltick", "binance") + f'symbols = ["{"ŉ" * 15}"]\n',
            "which takes 45 bytes with its prefix; 31 is the most",
        ),
    ],
)
def test_what_could_not_start_is_refused_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    file = write(tmp_path, text)
    loaded = config.load(file)
    with pytest.raises(ConfigError) as caught:
        vendors.check(loaded, file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)


TWO = (
    MINIMAL.replace("[source]", "[[source]]")
    + """
[[source]]
vendor = "binance"
symbols = ["BTCUSDT", "ETHUSDT"]
"""
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TWO.replace('"binance"', '"ticks"\nurl = "ws://127.0.0.1:1/"').replace('["BTCUSDT"', '["600519.SH"'),
            "[[source]] 2 of 2: source.symbols: '600519.SH' is a symbol of [[source]] 1, too",
        ),
        (
            TWO.replace('"BTCUSDT", "ETH', '"BTCUSDT", "btc') + "connections = 2\n",
            "[[source]] 2 of 2: source.symbols: 'btcUSDT' is there twice, in two spellings",
        ),
        (TWO + 'market = "stock"\n', "[[source]] 2 of 2: source.market: binance has no market 'stock'"),
        (TWO.replace("workers", "symbols_capacity"), "feed.symbols_capacity: 5 symbols do not fit a capacity of 2"),
    ],
)
def test_what_sources_cannot_do_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        vendors.check(config.load(file), file)
    assert str(caught.value).startswith(f"{file}: {said}")


def test_sources_that_share_a_symbol_get_along_with_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    plain = TWO.replace('"binance"', '"ticks"\nurl = "ws://127.0.0.1:1/"').replace('["BTCUSDT"', '["600519.SH"')
    loaded = config.load(write(tmp_path, plain + 'prefix = "b:"\nconnections = 2\n'))
    made = vendors.check(loaded, "feed.toml")
    assert [vendor.source.symbols for vendor in made] == [loaded.sources[0].symbols, ("600519.SH",), ("ETHUSDT",)]
    with pytest.raises(ConfigError, match="there are 2, and this takes a configuration with one source"):
        _ = loaded.source


def test_a_note_says_which_of_several_sources_it_is_about(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, TWO.replace("ETHUSDT", "BTCUSDT")))
    assert loaded.notes == ("[[source]] 2 of 2: source.symbols: 1 duplicate dropped, 1 symbols left",)


def test_a_configuration_survives_the_way_to_a_child_process(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, TWO + "connections = 2\n"))
    whole = msgspec.structs.replace(loaded, schedule=(config.Change(1, 20260105, 3),))
    assert Config.from_json(whole.to_json()) == whole


def test_symbols_that_arrive_alike_take_one_place(tmp_path: Path) -> None:
    text = MINIMAL[: MINIMAL.index("symbols")].replace("alltick", "binance")
    text = text.replace("workers = 2", "symbols_capacity = 2") + 'symbols = ["BTCUSDT", "ETHUSDT", "btcusdt"]\n'
    loaded = config.load(write(tmp_path, text))
    assert len(loaded.source.symbols) == 3
    assert [vendor.name for vendor in vendors.check(loaded, "feed.toml")] == ["binance"]


def test_a_symbols_file_that_is_no_csv_is_named(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("A" * 200_000, "utf-8")
    message = refusal(tmp_path, MINIMAL + 'symbols_file = "codes.csv"\n')
    assert message.startswith(f"source.symbols_file: {tmp_path / 'codes.csv'}: this is not CSV")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.toml: there is no such file"):
        config.load(tmp_path / "nope.toml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "feed.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"feed\.toml: is not UTF-8 text \(byte 0\)"):
        config.load(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path)
    with pytest.raises(ConfigError, match="is not the name of a file"):
        config.load("feed\x00.toml")


def test_an_unset_token_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLTICK_TOKEN", raising=False)
    source = Source(vendor="alltick", symbols=("A",), token_env="ALLTICK_TOKEN")
    with pytest.raises(ConfigError, match="environment variable ALLTICK_TOKEN is not set"):
        source.token()


def test_a_token_written_as_the_variables_name_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "deadbeefc0ffee"
    monkeypatch.delenv(token, raising=False)
    with pytest.raises(ConfigError) as caught:
        Source(vendor="alltick", symbols=("A",), token_env=token).token()
    assert token not in str(caught.value)


def test_a_token_written_as_the_files_name_is_not_repeated(tmp_path: Path) -> None:
    token = "deadbeefc0ffee"
    file = write(tmp_path, MINIMAL.replace('token_env = "ALLTICK_TOKEN"', f'token_file = "{token}"'))
    with pytest.raises(ConfigError, match=r"source\.token_file: cannot read the file named there: No such") as caught:
        config.load(file).source.token()
    assert token not in str(caught.value)


@pytest.mark.parametrize("content", ["", "two words", "line\nbreak", "caf\u00e9"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"source\.token_file") as caught:
        Source(vendor="alltick", symbols=("A",), token_file=str(file)).token()
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("ws://127.0.0.1:80/x", True),
        ("ws://127.9.9.9/x", True),
        ("ws://localhost/x", True),
        ("ws://[::1]:9/x", True),
        ("wss://quote.example/x", True),
        ("ws://10.0.0.1/x", False),
        ("ws://localhost.evil.example/x", False),
        ("ws://127.0.0.1.evil.example/x", False),
    ],
)
def test_plain_ws_is_for_this_machine_alone(url: str, allowed: bool) -> None:
    if allowed:
        Source(vendor="binance", symbols=("A",), url=url)
    else:
        with pytest.raises(ConfigError):
            Source(vendor="binance", symbols=("A",), url=url)
        assert Source(vendor="binance", symbols=("A",), url=url, insecure=True).url == url


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(TOKEN)
    assert secret.reveal() == TOKEN
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        f"{[secret]}",
        f"{Source.__name__} {secret}",
    ):
        assert TOKEN not in shown
    assert secret == Secret(TOKEN)
    assert secret != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def _tables() -> list[tuple[str, type[msgspec.Struct]]]:
    """Return the tables of a configuration, as their titles in the documentation name them, with what they become."""
    return [("feed", Feed), ("[source]", Source), *_inner("source", Source)]


def _inner(title: str, table: type[msgspec.Struct]) -> list[tuple[str, type[msgspec.Struct]]]:
    found = []
    for field in msgspec.structs.fields(table):
        for kind in (field.type, *get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found += [(f"{title}.{field.name}", kind), *_inner(f"{title}.{field.name}", kind)]
    return found


def _described(title: str) -> str:
    """Return the part of the documentation that is about one table."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    assert f"\n## `[{title}]`" in page, f"docs/configuration.md has no part about [{title}]"
    return page.partition(f"\n## `[{title}]`")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("title", "kind"), _tables())
def test_every_key_is_described_in_the_documentation(title: str, kind: type[msgspec.Struct]) -> None:
    part = _described(title)
    tables = {name.removeprefix("source.") for name, _ in _tables()}
    for field in msgspec.structs.fields(kind):
        if field.name in tables:
            continue
        row = next((line for line in part.splitlines() if line.startswith(f"| `{field.name}` |")), None)
        assert row is not None, f"{kind.__name__}.{field.name} is not in docs/configuration.md"
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            value = field.default
            shown = (
                str(value).lower()
                if isinstance(value, bool)
                else f'"{value}"'
                if isinstance(value, str)
                else str(list(value)).replace("'", '"')
                if isinstance(value, tuple)
                else str(value)
            )
            assert f"`{shown}`" in row, f"{row} does not say that the default is {shown}"


@pytest.mark.parametrize(("title", "kind"), _tables())
def test_the_documentation_describes_no_key_that_does_not_exist(title: str, kind: type[msgspec.Struct]) -> None:
    named = {line.split("`")[1] for line in _described(title).splitlines() if line.startswith("| `")}
    assert named <= set(kind.__struct_fields__)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://proxy:21", "a scheme"),
        ("proxy:3128", "a scheme"),
        ("http://proxy", "a host and a port"),
        ("http://proxy:99999", "a host and a port"),
        ("http://proxy:3128/path", "ends with its port"),
        ("http://user:hush-hush@proxy:3128", "user and password do not belong"),
    ],
)
def test_an_address_that_is_no_proxys_is_refused_without_being_shown(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Network(proxy=address)
    assert "hush-hush" not in str(refused.value)


def test_a_proxy_with_a_password_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(proxy_env="MY_PROXY")
    monkeypatch.delenv("MY_PROXY", raising=False)
    with pytest.raises(ConfigError, match="is not set"):
        network.proxy_url()
    monkeypatch.setenv("MY_PROXY", "socks5://user:hush-hush@127.0.0.1:1080")
    url = network.proxy_url()
    assert url is not None
    assert url.reveal() == "socks5://user:hush-hush@127.0.0.1:1080"
    assert "hush-hush" not in repr(url)
    monkeypatch.setenv("MY_PROXY", "hush-hush")
    with pytest.raises(ConfigError) as refused:
        network.proxy_url()
    assert "hush-hush" not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        Network(proxy_env="http://user:hush-hush@proxy:1")
    assert "hush-hush" not in str(refused.value)
    with pytest.raises(ConfigError, match="not both"):
        Network(proxy="http://proxy:1", proxy_env="MY_PROXY")


def test_a_ca_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    text = '[feed]\nname = "x"\n[source]\nvendor = "binance"\nsymbols = ["a"]\n[source.network]\nca_file = "ca.pem"\n'
    (tmp_path / "feed.toml").write_text(text)
    assert config.load(tmp_path / "feed.toml").source.network.ca_file == str(tmp_path / "ca.pem")


def test_pauses_that_shrink_are_refused() -> None:
    with pytest.raises(ConfigError, match="backoff_longest_s"):
        Liveness(backoff_first_s=10, backoff_longest_s=5)


LISTS = {
    "https://lists.example/cn.json": b'{"data": {"list": [{"code": "600519", "status": "normal"}, {"code": "300750", '
    b'"status": "halted"}, {"code": "920002", "status": "normal"}]}}',
    "https://api.binance.com/api/v3/exchangeInfo": b'{"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", '
    b'"quoteAsset": "USDT"}, {"symbol": "ETHBTC", "status": "TRADING", "quoteAsset": "BTC"}]}',
}
FILES = {
    "hk.csv": "Stock Code,Name of Securities,Category\n00700,TENCENT,Equity\n02800,TRACKER,ETF\n08001,ORIENT,Equity\n",
    "us.txt": "AAPL\nBRK.B\n",
    "codes.txt": "600519.SH\n",
}
EXPECTED: dict[str, list[tuple[str, ...]]] = {
    "cn": [("600519.SH",), ("600519.SH",)],
    "hk": [("700.HK",)],
    "us": [("AAPL.US", "BRK.B.US"), ("AAPL.US", "BRK.B.US")],
    "crypto": [("BTCUSDT",)],
}


def _blocks() -> list[str]:
    """Return the examples of the documentation that are whole configurations."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    return [text for text in re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "[feed]" in text]


@pytest.mark.parametrize("text", _blocks(), ids=lambda text: re.findall(r'name = "(\w+)"', text)[0])
def test_every_configuration_of_the_documentation_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def fetch(url: str, universe: config.Universe, stop: object = None) -> Fetched:
        return Fetched(LISTS[url], "application/json", "")

    monkeypatch.setattr(gathering, "fetch", fetch)
    monkeypatch.setenv("ALLTICK_TOKEN", TOKEN)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    if "connections = 4" in text:
        # Of a list in the vendor's own spelling, four connections long.
        (tmp_path / "us.txt").write_text("AAPL.US\nBRK.B.US", "utf-8")
    text = text.replace("connections = 4", "connections = 2")
    file = write(tmp_path, text)
    loaded = config.load(file)
    vendors.check(loaded, file)
    assert loaded.sources[0].symbols in EXPECTED[loaded.feed.name]

"""[source.generic]: what profiles fill in, what counts instead, and what a mistake gets told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from openbell import config, vendors
from openbell.config import Config, Generic, Source
from openbell.config.generic import generic, with_profile
from openbell.config.profiles import PROFILES
from openbell.config.template import Template
from openbell.errors import ConfigError
from openbell.secret import Secret

TOKEN = "c0ffee-very-secret-c-app"
FEED = '[feed]\nname = "x"\n[source]\nvendor = "generic"\nurl = "ws://127.0.0.1:1/feed"\nsymbols = ["A", "B"]\n'
PUSH = '[source.generic.push]\nsymbol = "s"\nprice = "p"\n'
SUBSCRIBE = '[source.generic]\nsubscribe = { op = "sub", codes = "{symbols}" }\n'


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def read(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "feed.toml"
    file.write_text(text, "utf-8")
    return config.load(file)


def refusal(tmp_path: Path, text: str) -> str:
    """Return the message with which a configuration is refused; it names the file, and shows no token."""
    with pytest.raises(ConfigError) as caught:
        vendors.check(read(tmp_path, text), tmp_path / "feed.toml")
    message = str(caught.value)
    assert TOKEN not in message
    return message.removeprefix(f"{tmp_path / 'feed.toml'}: ")


def test_every_profile_is_a_complete_table_but_for_what_nobody_can_know() -> None:
    for name in PROFILES:
        keys = {"volume_is": "trade"} if name == "symbol-array" else {}
        made = generic(name, **keys)
        assert (made.profile, made.push is not None) == (name, True)
        assert bool(made.subscribe) != made.in_address


def test_what_the_file_says_counts_instead_of_the_profile_key_by_key(tmp_path: Path) -> None:
    text = FEED + '[source.generic]\nprofile = "symbol-array"\nvolume_is = "cumulative"\nunsubscribe = ""\n'
    text += '[source.generic.push]\nprice = "last"\ntime = "ts"\n[source.generic.error]\nmessage = ""\ncode = "no"\n'
    made = read(tmp_path, text).source.generic
    assert made is not None and made.push is not None and made.error is not None
    assert (made.push.symbol, made.push.price, made.push.volume, made.push.time) == ("symbol", "last", "volume", "ts")
    assert (made.error.when, made.error.message, made.error.code) == ({"action": "error"}, "", "no")
    assert made.template("unsubscribe") is None and made.template("subscribe") is not None


def test_a_profile_leaves_the_table_of_profiles_as_it_is() -> None:
    before = msgspec.json.encode(PROFILES)
    with_profile({"profile": "symbol-text", "push": {"price": "x"}, "query": {"a": "b"}})
    generic("symbol-text", wildcard="ALL")
    assert msgspec.json.encode(PROFILES) == before


def test_a_description_travels_to_child_processes_as_it_is(tmp_path: Path) -> None:
    text = FEED + '[source.generic]\nprofile = "command-code"\nsymbol_format = ""\nsymbol_example = ""\n'
    made = read(tmp_path, text)
    assert Config.from_json(made.to_json()) == made


def test_everything_by_hand_needs_no_profile(tmp_path: Path) -> None:
    source = read(tmp_path, FEED + SUBSCRIBE + PUSH).source
    (request,) = vendors.create(source).subscribe(source.symbols)
    assert request.payload == b'{"op":"sub","codes":["A","B"]}'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "source.generic: this table is required"),
        ('[source.generic]\nprofile = "ticks"\n', "source.generic.profile: there is no profile 'ticks'; there are sym"),
        ("[source.generic]\nprofile = 3\n", "source.generic.profile: must be text in quotes, not a whole number"),
        ("[source.generic]\n", "source.generic.push: this key is required"),
        ('[source.generic]\npush = "ticks"\n', "source.generic.push: must be a table"),
        (SUBSCRIBE + '[source.generic.push]\nsymbol = "s"\n', "source.generic.push.price: this key is required"),
        (SUBSCRIBE + PUSH.replace('"p"', '""'), "source.generic.push.price: this key is required: the name of the f"),
        (SUBSCRIBE + PUSH + 'voulme = "v"\n', "source.generic.push.voulme: there is no such key; did you mean 'volume"),
        (SUBSCRIBE + PUSH + 'volume = "v"\n', "source.generic.volume_is: this key is required, for there is a volume"),
        (SUBSCRIBE + PUSH + 'turnover = "v"\n', "source.generic.volume_is: this key is required, for there is a turno"),
        (
            SUBSCRIBE + 'volume_is = "sum"\n' + PUSH + 'volume = "v"\n',
            "source.generic.volume_is: 'sum' is none of 'trade', 'cumulative'",
        ),
        (
            SUBSCRIBE + 'volume_is = "trade"\n' + PUSH + 'volume = "v"\nreference = "o"\n',
            "source.generic.push.reference: running figures have a reference price",
        ),
        (SUBSCRIBE + PUSH + "time = 'a\"b'\n", "source.generic.push.time: 'a\"b' has a quote, a backslash or a co"),
        (SUBSCRIBE + PUSH + 'when = { "a\\\\b" = 1 }\n', "source.generic.push: 'a\\\\b' has a quote, a backslash"),
        (SUBSCRIBE + PUSH + 'time = "s"\n', "source.generic.push.time: 's' is the symbol already"),
        (SUBSCRIBE + PUSH + 'time = "t"\ntime_unit = "h"\n', "source.generic.push.time_unit: 'h' is none of 'auto', "),
        (SUBSCRIBE + PUSH + 'side_is = "text"\n', "source.generic.push.side_is: 'text' is none of 'code'"),
        (SUBSCRIBE + PUSH + 'events = "a.b[]"\n', "source.generic.push.events: 'a.b[]' is no place in a message"),
        (SUBSCRIBE + PUSH + 'events = "a[0]"\n', "source.generic.push.events: 'a[0]' is no place in a message"),
        (SUBSCRIBE + PUSH + "when = { t = [1, 2] }\n", "source.generic.push.when"),
        (SUBSCRIBE + PUSH + 'when = { p = "trade" }\n', "source.generic.push.when: 'p' is the price already"),
        (
            SUBSCRIBE + PUSH + 'events = "d[]"\nwhen = { t = 1, u = 2 }\n',
            "source.generic.push.when: one field tells messages with 'd' apart",
        ),
        (
            SUBSCRIBE + PUSH + '[source.generic.quote]\nsymbol = "s"\nbid = "b"\nask = "a"\n',
            "source.generic.quote: nothing tells its messages from those of push",
        ),
        (
            PUSH + '[source.generic.quote]\nsymbol = "s"\nbid = "b"\n',
            "source.generic.quote.ask: this key is required",
        ),
        (PUSH, "source.generic.subscribe: nothing says what to subscribe to"),
        (
            '[source.generic]\nsubscribe = { op = "sub" }\n' + PUSH,
            "source.generic.subscribe: it says nowhere what to subscribe to",
        ),
        (
            '[source.generic]\nsubscribe = { a = "{symbols}", b = "{symbol}" }\n' + PUSH,
            "source.generic.subscribe: {symbols} is all of them, {symbol} one a message",
        ),
        (
            '[source.generic]\nsubscribe = { a = "{codes}" }\n' + PUSH,
            "source.generic.subscribe: nobody fills {codes} in; there are {symbols}, {symbol}",
        ),
        (
            "[source.generic]\nsubscribe = '{\"a\": {symbols}}'\n" + PUSH,
            "source.generic.subscribe: this begins like JSON and is none",
        ),
        (
            SUBSCRIBE + f'unsubscribe = {{ token = "{TOKEN}" }}\n' + PUSH,
            "source.generic.unsubscribe: 'token' holds something else than {token}",
        ),
        (SUBSCRIBE + 'subscribe.x = "y"\n' + PUSH, "this is not TOML"),
        (SUBSCRIBE + 'query = { codes = "{symbols}" }\n' + PUSH, "source.generic.query: the address says what is subs"),
        (SUBSCRIBE + 'query = { n = "{id}" }\n' + PUSH, "source.generic.query.n: there is no {id} in an address"),
        (SUBSCRIBE + f'query = {{ key = "{TOKEN}" }}\n' + PUSH, "source.generic.query.key: a token does not belong"),
        (
            SUBSCRIBE + f'headers = {{ X-Api-Key = "{TOKEN}" }}\n' + PUSH,
            "source.generic.headers.X-Api-Key: a token does not belong in this file",
        ),
        (SUBSCRIBE + 'headers = { "a b" = "c" }\n' + PUSH, "source.generic.headers: 'a b' is not the name of a header"),
        (
            SUBSCRIBE + 'headers = { A = "c\\r\\nB: d" }\n' + PUSH,
            "source.generic.headers.A: a header is one line of printable ASCII characters",
        ),
        (SUBSCRIBE + 'headers = { A = "{id}" }\n' + PUSH, "source.generic.headers.A: a header can hold {token}, and n"),
        (SUBSCRIBE + "acknowledges = true\n" + PUSH, "source.generic.acknowledges: answers are waited for, and ack do"),
        (SUBSCRIBE + PUSH + "[source.generic.ack]\n", "source.generic.ack.when: this key is required"),
        (SUBSCRIBE + PUSH + "[source.generic.ack]\nwhen = {}\n", "source.generic.ack.when: say how an answer is known"),
        (SUBSCRIBE + PUSH + "[source.generic.error]\n", "source.generic.error.when: say how an error is known"),
        (SUBSCRIBE + 'heartbeat = "ping"\n' + PUSH, "source.generic.heartbeat: it needs a message and heartbeat_s"),
        (SUBSCRIBE + "heartbeat_s = 5\n" + PUSH, "source.generic.heartbeat: it needs a message and heartbeat_s"),
        (
            SUBSCRIBE + 'heartbeat = { a = "{symbols}" }\nheartbeat_s = 5\n' + PUSH,
            "source.generic.heartbeat: there are no symbols in it",
        ),
        (SUBSCRIBE + 'symbol_format = "[A"\nsymbol_example = "A"\n' + PUSH, "source.generic.symbol_format: this is no"),
        (SUBSCRIBE + 'symbol_format = "[A-Z]"\n' + PUSH, "source.generic.symbol_format: it needs symbol_example"),
        (
            SUBSCRIBE + 'symbol_format = "[A-Z]"\nsymbol_example = "7"\n' + PUSH,
            "source.generic.symbol_format: '7', the symbol_example, is not of this format",
        ),
        (
            SUBSCRIBE + 'symbol_format = "[0-9]{5}.HK"\nsymbol_example = "00700.HK"\n' + PUSH,
            "source.symbols: 2 of 2 cannot be asked for: 'A' is no symbol of this vendor, which writes them like ",
        ),
        (SUBSCRIBE + 'headers = { A = "{token}" }\n' + PUSH, "source.token_env: there is a place for a token, {token}"),
        (
            SUBSCRIBE + 'headers = { Sec-WebSocket-Extensions = "permessage-deflate" }\n' + PUSH,
            "source.generic.headers.Sec-WebSocket-Extensions: the handshake has this header already",
        ),
        (SUBSCRIBE + 'headers = { host = "a" }\n' + PUSH, "source.generic.headers.host: the handshake has this header"),
        (
            SUBSCRIBE + f'headers = {{ Cookie = "sid={TOKEN}" }}\n' + PUSH,
            "source.generic.headers.Cookie: a token does not belong in this file",
        ),
        (
            SUBSCRIBE + f'unsubscribe = "bye key={TOKEN}"\n' + PUSH,
            "source.generic.unsubscribe: 'key' holds something else than {token}",
        ),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, table: str, said: str) -> None:
    assert refusal(tmp_path, FEED + table).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('token_env = "T"', "source.token_env: there is a token, and [source.generic] has no place for it"),
        ('streams = ["book"]', "source.streams: what comes is said in [source.generic]"),
        ('market = "spot"', "source.market: a vendor described here has no markets"),
        ('url = "ws://127.0.0.1:1/{token}"', "source.token_env: there is a place for a token, {token}, and nothing to"),
        ('url = "ws://127.0.0.1:1/{symbols}"', "source.url: {token} may stand in its path, and no other place"),
        ('url = "ws://127.0.0.1:1/x?a={id}"', "source.url: {token} may stand in its path, and no other place"),
        ("max_streams = 1", "source.symbols: 2 symbols on a connection, and generic takes 1 there"),
        ("open = true", "source.generic.wildcard: an open source asks for everything"),
    ],
)
def test_the_source_around_it_must_fit(tmp_path: Path, line: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    text = FEED.replace('url = "ws://127.0.0.1:1/feed"\n', "") if line.startswith("url") else FEED
    text = text.replace("[source]\n", f"[source]\n{line}\n") + SUBSCRIBE + PUSH
    assert refusal(tmp_path, text).startswith(said)


def test_other_vendors_have_messages_of_their_own(tmp_path: Path) -> None:
    text = FEED.replace('"generic"', '"ticks"') + SUBSCRIBE + PUSH
    assert refusal(tmp_path, text).startswith("source.generic: ticks has messages of its own")
    text = FEED.replace('url = "ws://127.0.0.1:1/feed"\n', "") + SUBSCRIBE + PUSH
    assert refusal(tmp_path, text).startswith("source.url: this vendor has no address of its own")


def test_a_symbol_must_not_hold_what_stands_between_two() -> None:
    for profile in ("symbol-text", "symbol-query"):
        source = Source(vendor="generic", url="ws://127.0.0.1:1/", symbols=("A",), generic=generic(profile))
        vendor = vendors.create(source)
        assert vendor.symbol_fault("A,B") == "'A,B' has a ',' in it, which stands between two symbols"
        assert vendor.symbol_fault("A.B") is None


def test_an_address_that_servers_would_refuse_is_refused_before_it_is_used() -> None:
    symbols = tuple(f"{number:06d}" for number in range(2_000))
    source = Source(vendor="generic", url="ws://127.0.0.1:1/", symbols=symbols, generic=generic("symbol-query"))
    with pytest.raises(ConfigError, match=r"source\.symbols: 2000 symbols make an address of 1\d{4} bytes"):
        vendors.create(source)
    fitting = msgspec.structs.replace(source, symbols=symbols[:1000])
    assert vendors.create(fitting).semantics.limit == 1_139


VALUES: dict[str, Any] = {
    "symbols": ["A", 'B"'], "symbol": 'B"', "token": Secret(TOKEN), "id": 7, "only_traded": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "rendered"),
    [
        (
            {"a": "{symbols}", "b": [1, {"c": "{id}"}], "d": "{only_traded}"},
            b'{"a":["A","B\\""],"b":[1,{"c":7}],"d":true}',
        ),
        ('{"a": "{symbol}", "n": null}', b'{"a":"B\\"","n":null}'),
        ({"a": "t/{id}/{only_traded}/{symbols}"}, b'{"a":"t/7/true/A,B\\""}'),
        ("sub {symbols} {id}", b'sub A,B" 7'),
        ("{symbol}", b'B"'),
        ('["{token}"]', f'["{TOKEN}"]'.encode()),
    ],
)
def test_places_are_filled_with_what_they_stand_for(written: Any, rendered: bytes) -> None:
    assert Template(written, "key").render(VALUES) == rendered


def test_a_description_shows_no_token_in_any_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    described = generic("symbol-text", headers={"X-Key": "{token}"}, query={"token": "{token}"})
    source = Source(vendor="generic", url="ws://127.0.0.1:1/", symbols=("A",), token_env="T", generic=described)
    vendor = vendors.create(source)
    assert isinstance(described, Generic)
    assert vendor.url().reveal().endswith(f"?token={TOKEN}") and vendor.headers() == [("X-Key", TOKEN)]
    shown = [repr(source), repr(vendor), vendor.display_url(), repr(vendor.url()), repr(vars(vendor))]
    assert not any(TOKEN in text for text in shown)

"""What others say is logged without our secrets: however they spell them, and wherever they are cut."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell import vendors
from openbell.config import Network, Source
from openbell.config.generic import generic
from openbell.receiver.redact import Redactor
from openbell.secret import Secret
from openbell.vendors import Vendor

# With all that addresses, JSON and Python's own representations write differently.
TOKEN = "tok/en+with=\"quotes\"&'more'\\back%41%"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T", TOKEN)
        described = generic("symbol-text", headers={"X-Key": "Key {token}"})
        keys = {"url": "ws://127.0.0.1:1/", "symbols": ("A",), "token_env": "T"}
        return vendors.create(Source(vendor="generic", generic=described, **keys))  # type: ignore[arg-type]


def spellings() -> list[str]:
    escaped = json.dumps(TOKEN)[1:-1]
    encoded = quote(TOKEN, safe="")
    # As libraries for Java and Go write JSON that may stand in a page.
    cautious = "".join(each if each.isalnum() else f"\\u{ord(each):04x}" for each in TOKEN)
    shouting = "".join(each if each.isalnum() else f"\\u{ord(each):04X}" for each in TOKEN)
    pages = [html.escape(TOKEN), html.escape(TOKEN).replace("+", "&#43;"), repr(TOKEN)[1:-1]]
    return [
        *(TOKEN, escaped, escaped.replace("/", "\\/"), encoded, encoded.replace("%2F", "%2f"), quote(TOKEN)),
        *(cautious, shouting, *pages),
    ]


@pytest.mark.parametrize("spelling", spellings())
def test_a_token_is_hidden_however_it_is_spelled(vendor: Vendor, spelling: str) -> None:
    redactor = Redactor(vendor)
    for text in (spelling, f"Key {spelling}", f'{{"error":"bad token {spelling}"}}'):
        for shown in (redactor.clean(text), redactor.quoted(text), redactor.excerpt(text.encode())):
            assert spelling not in shown and "***" in shown
            assert "tok" not in shown.replace("token", "")


@given(before=st.integers(0, 400), times=st.integers(1, 5))
def test_no_part_of_a_token_is_left_where_a_text_is_cut(vendor: Vendor, before: int, times: int) -> None:
    redactor = Redactor(vendor)
    text = "x" * before + TOKEN * times + "y" * 300
    for shown in (redactor.quoted(text), redactor.excerpt(text.encode())):
        assert set(shown) <= set("xy*'.( bytes)0123456789")


def test_an_excerpt_is_short_and_on_one_line(vendor: Vendor) -> None:
    redactor = Redactor(vendor)
    assert redactor.excerpt(b'{"a":1}') == "'{\"a\":1}'"
    shown = redactor.excerpt(b"\x1b[31m\n\xff" + "\u20ac".encode() * 400)
    assert shown.startswith("'\\x1b[31m\\n\\\\xff\\u20ac") and shown.endswith("' (1207 bytes)")
    assert shown.isascii() and shown.isprintable()


def test_what_is_no_secret_blots_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "abc")
    source = Source(vendor="alltick", symbols=("700.HK",), token_env="T")
    assert Redactor(vendors.create(source)).clean("abcabc") == "abcabc"
    assert Secret("abc").reveal() == "abc"


def test_what_the_header_for_a_proxy_says_is_hidden_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROXY", "http://someone:p%40ssword@127.0.0.1:3128")
    source = Source(vendor="ticks", url="ws://127.0.0.1:1/", symbols=("A",), network=Network(proxy_env="TEST_PROXY"))
    redactor = Redactor(vendors.create(source))
    header = base64.b64encode(b"someone:p@ssword").decode()
    for text in (f"bad header Basic {header}", "no someone here", "p%40ssword", "p@ssword"):
        assert "***" in redactor.clean(text)
        assert not {header, "someone", "ssword"} & set(redactor.clean(text).split())

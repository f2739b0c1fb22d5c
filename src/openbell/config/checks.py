"""What a configuration may say: symbols, addresses, names; and what never belongs in it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from openbell.errors import ConfigError
from openbell.secret import Secret

SYMBOL_BYTES_MAX: Final = 31
"""Bytes of a symbol's key, prefix included: it lies inline in the symbol table."""

# Words under which people write a credential down, alone or behind another: api_key, X-Access-Token, clientSecret.
_CREDENTIALS = (
    *("token", "key", "secret", "password", "passwd", "passphrase", "passcode", "auth", "authorization", "jwt"),
    *("signature", "credential", "credentials"),
)
_SHORT_CREDENTIALS = frozenset(("pass", "pwd", "sig", "sign"))
"""Words of a key on their own: `compass` and `design` end in them, too."""


def symbol_fault(symbol: str, prefix: str = "") -> str | None:
    """Say why `symbol` (behind `prefix`) cannot be a symbol, or None if it can."""
    if not symbol:
        return "is empty"
    if "\x00" in symbol:
        return "contains a NUL character"
    if symbol != symbol.strip() or any(character.isspace() for character in symbol):
        return "contains white space"
    try:
        size = len((prefix + symbol).encode("utf-8"))
    except UnicodeEncodeError:
        return "is not valid Unicode text"
    if size > SYMBOL_BYTES_MAX:
        return f"takes {size} bytes with its prefix; {SYMBOL_BYTES_MAX} is the most"
    return None


def place(number: int, count: int) -> str:
    """Return what begins a message about source `number` (from 1) of `count`; nothing where there is only one."""
    return f"[[source]] {number} of {count}: " if count > 1 else ""


def is_credential(key: str) -> bool:
    """Return whether `key` is one under which people write a credential down; none is ever accepted."""
    if re.sub("[^a-z]", "", key.lower()).endswith(_CREDENTIALS):
        return True
    # Its last word: apiPass, api_pass and API-PASS are written as two.
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", key).lower())
    return bool(words) and words[-1] in _SHORT_CREDENTIALS


def is_loopback(host: str | None) -> bool:
    """Return whether `host` is this machine: ``localhost`` or an address of the loopback network."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, insecure: bool) -> None:
    """Refuse addresses that are none, that carry a credential, or that would send one in the clear.

    No message shows the address: what is wrong with it may be that a token is in it.
    """
    if " " in url or not url.isprintable():
        # Looked for first: the standard library takes some of them out, and the rest would fail only when connecting.
        raise ConfigError("source.url: there are blanks or control characters in it; take them out")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError('source.url: this is not an address; write something like "wss://host:443/path"') from None
    if parts.scheme not in ("ws", "wss") or not host:
        raise ConfigError('source.url: a WebSocket address is needed, such as "wss://host:443/path"')
    names = [name for part in (parts.query, parts.fragment) for name, _ in parse_qsl(part, keep_blank_values=True)]
    if parts.username is not None or parts.password is not None or any(map(is_credential, names)):
        raise ConfigError(
            "source.url: a token or password does not belong in the configuration; take it out of the address, put it "
            'into an environment variable and name that: token_env = "MY_TOKEN"'
        )
    if parts.scheme == "ws" and not insecure and not is_loopback(host):
        raise ConfigError(
            "source.url: ws:// sends everything in the clear, the token included; write wss://, or insecure = true if "
            "that is what you want"
        )


def printable(value: str, key: str) -> Secret:
    """Wrap a token, unless it would break out of the header or address it is put into."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{key}: what was found there is no token: it has white space or unprintable characters")
    return Secret(value)

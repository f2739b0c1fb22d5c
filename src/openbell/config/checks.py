"""What a configuration may say: symbols, addresses, names; and what never belongs in it."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from openbell.errors import ConfigError
from openbell.secret import Secret

SYMBOL_BYTES_MAX: Final = 31
"""Bytes of a symbol's key, prefix included: it lies inline in the symbol table."""

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Words under which people write a credential down, alone or behind another: api_key, X-Access-Token, clientSecret.
_CREDENTIALS = (
    *("token", "key", "secret", "password", "passwd", "passphrase", "passcode", "auth", "authorization", "jwt"),
    *("signature", "credential", "credentials", "cookie"),
)
_SHORT_CREDENTIALS = frozenset(("pass", "pw", "pwd", "sig", "sign"))
"""Words of a key on their own: `compass` and `design` end in them, too."""


def symbol_fault(symbol: str, prefix: str = "") -> str | None:
    """Say why `symbol` (behind `prefix`) cannot be a symbol, or None if it can."""
    if not symbol:
        return "is empty"
    if "\x00" in symbol:
        return "contains a NUL character"
    if symbol != symbol.strip() or any(character.isspace() for character in symbol):
        return "contains white space"
    if not symbol.isprintable():
        return "contains a character that cannot be printed"
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
    _check_address("source.url", url, ("ws", "wss"), "a WebSocket address is needed", "wss://host:443/path")
    parts = urlsplit(url)
    if parts.scheme == "ws" and not insecure and not is_loopback(parts.hostname):
        raise ConfigError(
            "source.url: ws:// sends everything in the clear, the token included; write wss://, or insecure = true if "
            "that is what you want"
        )


def check_list_url(url: str, insecure: bool) -> None:
    """Do the same for the address of a list of symbols."""
    where = "source.symbols_url"
    _check_address(where, url, ("http", "https"), "an HTTP address is needed", "https://host/symbols.json")
    parts = urlsplit(url)
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{where}: anybody on the way can read and change what comes over http://; write https://, or insecure = "
            "true in [source.universe] if that is what you want"
        )


def _check_address(where: str, url: str, schemes: tuple[str, str], wanted: str, example: str) -> None:
    if " " in url or not url.isprintable():
        # Looked for first: the standard library takes some of them out, and the rest would fail only when connecting.
        raise ConfigError(f"{where}: there are blanks or control characters in it; take them out")
    if not url.isascii():
        raise ConfigError(
            f"{where}: an address is written in ASCII: other characters as %XX, a host's name as xn--…; a browser's "
            "address bar gives it like that when it is copied"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f'{where}: this is not an address; write something like "{example}"') from None
    if parts.scheme not in schemes or not host:
        raise ConfigError(f'{where}: {wanted}, such as "{example}"')
    names = [name for part in (parts.query, parts.fragment) for name, _ in parse_qsl(part, keep_blank_values=True)]
    if parts.username is not None or parts.password is not None or any(map(is_credential, names)):
        table = " in [source.universe]" if where == "source.symbols_url" else ""
        raise ConfigError(
            f"{where}: a token or password does not belong in the configuration; take it out of the address, put it "
            f'into an environment variable and name that: token_env = "MY_TOKEN"{table}'
        )


def check_token_places(where: str, token_env: str | None, token_file: str | None) -> None:
    """Refuse what cannot say where a token is."""
    if token_env is not None and not _VARIABLE_NAME.fullmatch(token_env):
        # Not shown: a token is sometimes written here by mistake.
        raise ConfigError(
            f"{where}.token_env: this is not the name of an environment variable; write the variable's name, "
            'such as token_env = "ALLTICK_TOKEN", never the token itself'
        )
    if token_env is not None and token_file is not None:
        raise ConfigError(f"{where}.token_env, {where}.token_file: give one of them, not both")
    if token_file is not None and "\x00" in token_file:
        raise ConfigError(f"{where}.token_file: a NUL character is in it, and no file's name has one")


def read_token(where: str, token_env: str | None, token_file: str | None) -> Secret | None:
    """Read a token from where the configuration says it is; None if it says nothing.

    Raises
    ------
    ConfigError
        The variable is not set, the file cannot be read, or it holds no token.
    """
    if token_env is not None:
        value = os.environ.get(token_env, "").strip()
        # A name in lower case may be a token written in the wrong place; a message must not repeat it.
        named = token_env if token_env.isupper() else "named there"
        if not value:
            raise ConfigError(f"{where}.token_env: the environment variable {named} is not set, or is empty")
        return printable(value, f"{where}.token_env")
    if token_file is not None:
        try:
            value = Path(token_file).read_text("utf-8").strip()
        except OSError as error:
            # Its name is not shown, here and below: a token is sometimes written here by mistake.
            raise ConfigError(
                f"{where}.token_file: cannot read the file named there: {error.strerror or 'input/output error'}; "
                "write the name of a file, seen from the configuration's directory, never the token itself"
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{where}.token_file: the file named there is not a text file") from None
        if not value:
            raise ConfigError(f"{where}.token_file: the file named there is empty")
        return printable(value, f"{where}.token_file")
    return None


def printable(value: str, key: str) -> Secret:
    """Wrap a token, unless it would break out of the header or address it is put into."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{key}: what was found there is no token: it has white space or unprintable characters")
    return Secret(value)

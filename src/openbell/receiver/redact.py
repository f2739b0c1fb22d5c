"""Words of others, made fit for our logs."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from openbell.errors import ConfigError
from openbell.secret import HIDDEN
from openbell.vendors.base import Vendor

TEXT_MAX: Final = 200
EXCERPT_MAX: Final = 120
_READ_MAX: Final = 65_536
# A "secret" of a letter or two would blot out half of every line, and is none.
_SHORTEST: Final = 4


class Redactor:
    """Cut a vendor's secrets out of texts.

    Parameters
    ----------
    vendor : Vendor
        Its token, as it is and as it stands in an address, its handshake headers, and the password of the proxy on
        the way to it are hidden.
    """

    def __init__(self, vendor: Vendor) -> None:
        values = [value for _, value in vendor.headers()]
        if (secret := vendor.secret()) is not None:
            values.append(secret.reveal())
        values += _proxy_credentials(vendor)
        secrets = {value for value in values if len(value) >= _SHORTEST}
        # The longest first: one may contain another.
        patterns = map(_pattern, sorted(secrets, key=len, reverse=True))
        self._secrets = re.compile("|".join(patterns)) if secrets else None

    def clean(self, text: str) -> str:
        """Return `text` without secrets."""
        return text if self._secrets is None else self._secrets.sub(HIDDEN, text)

    def excerpt(self, payload: bytes) -> str:
        """Return the beginning of somebody else's message without secrets, on one line, whatever bytes it has."""
        # Cut twice: what is cut before it is cleaned may end in half of a secret.
        text = self.clean(payload[:_READ_MAX].decode("utf-8", "backslashreplace"))
        shown = ascii(text[:EXCERPT_MAX])
        return f"{shown} ({len(payload)} bytes)" if len(text) > EXCERPT_MAX else shown

    def quoted(self, text: str) -> str:
        """Return somebody else's words, without secrets, in quotes on one line, and not too long."""
        text = self.clean(text)
        shown = ascii(text[:TEXT_MAX])
        return f"{shown}..." if len(text) > TEXT_MAX else shown


def _pattern(value: str) -> str:
    """Return a pattern of a secret, each of its characters as it is or as addresses, JSON, HTML and Python write it."""
    return "".join(map(_spellings, value))


@functools.cache
def _spellings(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    number = ord(character)
    encoded = {json.dumps(character)[1:-1], f"\\{character}", f"\\u{number:04x}", f"\\x{number:02x}"}
    encoded |= {quote(character, safe=""), f"%{number:02x}", html.escape(character), f"&#{number};", f"&#x{number:x};"}
    # The longest first, and hexadecimal digits large or small.
    every = sorted(encoded | {character}, key=len, reverse=True)
    return f"(?i:{'|'.join(map(re.escape, every))})"


def _proxy_credentials(vendor: Vendor) -> list[str]:
    """Return user and password of the vendor's proxy: as they are, in its address, and in the header for it."""
    try:
        proxy = vendor.source.network.proxy_url()
    except ConfigError:
        # There is none to hide; whoever wants to go through it is told.
        return []
    if proxy is None:
        return []
    parts = urlsplit(proxy.reveal())
    named = [text for text in (parts.username, parts.password) if text]
    basic = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    header = [base64.b64encode(basic.encode()).decode()] if named else []
    return named + [unquote(text) for text in named] + header

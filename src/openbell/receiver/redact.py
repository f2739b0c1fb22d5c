"""Words of others, made fit for our logs."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit

from openbell.errors import ConfigError
from openbell.secret import HIDDEN
from openbell.vendors.base import Vendor

TEXT_MAX: Final = 200
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
            values += [secret.reveal(), quote(secret.reveal(), safe=""), quote(secret.reveal())]
        values += _proxy_credentials(vendor)
        # The longest first: one may contain another.
        self._values = sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """Return `text` without secrets."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text

    def quoted(self, text: str) -> str:
        """Return somebody else's words, without secrets, in quotes on one line, and not too long."""
        text = self.clean(text)
        shown = ascii(text[:TEXT_MAX])
        return f"{shown}..." if len(text) > TEXT_MAX else shown


def _proxy_credentials(vendor: Vendor) -> list[str]:
    """Return user and password of the vendor's proxy, as they are and as they stand in its address."""
    try:
        proxy = vendor.source.network.proxy_url()
    except ConfigError:
        # There is none to hide; whoever wants to go through it is told.
        return []
    if proxy is None:
        return []
    parts = urlsplit(proxy.reveal())
    named = [text for text in (parts.username, parts.password) if text]
    return named + [unquote(text) for text in named]

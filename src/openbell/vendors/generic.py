"""A vendor without a file of its own: simple JSON feeds, described by the ``[source.generic]`` table.

The table says what to send and what comes (`openbell.config.generic`); ready descriptions are profiles
(`openbell.config.profiles`). Nothing of it is slower than a vendor in Python: both are declarations for the same
compiled listener.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit, urlunsplit

from openbell.config import Source
from openbell.config.template import Template, fill, text_places
from openbell.errors import ConfigError
from openbell.secret import Secret
from openbell.vendors.answers import Answers
from openbell.vendors.base import Control, Vendor
from openbell.vendors.described import routes
from openbell.vendors.plan import Ignore, Route
from openbell.vendors.semantics import Request, Semantics

SYMBOLS_A_MESSAGE: Final = 20
PAUSE_S: Final = 0.05
ADDRESS_BYTES: Final = 8_000
"""Longest address: nginx and Apache refuse a request line of more than about 8 KB unless told otherwise."""


class GenericVendor(Vendor):
    """The dialect that a source describes."""

    name: ClassVar[str] = "generic"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        described = source.generic
        if described is None:
            raise ConfigError(
                "source.generic: this table is required: it says what the messages of the vendor are; begin with "
                '[source.generic] and profile = "..."'
            )
        if source.url is None:
            raise ConfigError('source.url: this vendor has no address of its own; write url = "wss://..."')
        if source.streams != ("trade",):
            raise ConfigError("source.streams: what comes is said in [source.generic]; leave the key out")
        if source.market is not None:
            raise ConfigError("source.market: a vendor described here has no markets; leave the key out")
        self._described = described
        self._url = source.url
        self._in_url = _url_places(source.url)
        self._token = source.token()
        self._check_token()
        self._subscribe, self._unsubscribe = described.template("subscribe"), described.template("unsubscribe")
        self._heartbeat = described.template("heartbeat")
        self._format = re.compile(described.symbol_format)
        self._check_symbols()
        self.semantics = self._semantics()
        self.heartbeat_interval_s = described.heartbeat_s
        if source.min_reconnect_s is not None:
            self.min_reconnect_s = source.min_reconnect_s
        self._plan = routes(described)
        self._answers = Answers(described)
        self._number = 0

    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return the routes of the messages that are described."""
        return self._plan

    def url(self) -> Secret:
        """Return the configured address, with the token in its path, and with what ``query`` adds to it."""
        added = [f"{quote(name, safe='')}={self._in_query(text)}" for name, text in self._described.query.items()]
        parts = urlsplit(self._url)
        path = fill(parts.path, {"token": self._token}, _quoted) if self._in_url else parts.path
        return Secret(urlunsplit(parts._replace(path=path, query="&".join(filter(None, (parts.query, *added))))))

    def secret(self) -> Secret | None:
        """Return the token, if there is one."""
        return self._token

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that are described."""
        return [(name, fill(text, {"token": self._token})) for name, text in self._described.headers.items()]

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the messages that subscribe to `symbols`; none where the address says it, or all come anyway."""
        if self.source.open and self._described.wildcard:
            # Whatever is listed comes with the whole.
            return [] if symbols else self._requests(self._subscribe, (), self._described.wildcard)
        return self._requests(self._subscribe, symbols) if symbols else []

    def unsubscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the messages that cancel `symbols`."""
        return self._requests(self._unsubscribe, symbols) if symbols else []

    def unsubscribe_all(self) -> list[Request]:
        """Return the message that cancels everything."""
        return self._requests(self._unsubscribe, ())

    def heartbeat(self) -> bytes | None:
        """Return the next heartbeat."""
        return None if self._heartbeat is None else self._message(self._heartbeat, self._next(), "", ())

    def control(self, payload: bytes) -> Control | None:
        """Read an answer, as it is described."""
        return self._answers.read(payload)

    def symbol_fault(self, symbol: str) -> str | None:
        """Say why the vendor cannot have `symbol`, by the format that is described; None if it can."""
        described = self._described
        if described.symbol_format and not self._format.fullmatch(symbol):
            return f"{symbol!r} is no symbol of this vendor, which writes them like {described.symbol_example!r}"
        joined = described.symbols_as == "text" or described.in_address
        if joined and described.separator in symbol:
            return f"{symbol!r} has a {described.separator!r} in it, which stands between two symbols"
        return None

    def _semantics(self) -> Semantics:
        described, source = self._described, self.source
        cancels = self._unsubscribe.places if self._unsubscribe is not None else None
        asks_one = self._subscribe is not None and "symbol" in self._subscribe.places
        return Semantics(
            adds=not described.replaces,
            cancels="never" if cancels is None else "symbols" if cancels & {"symbol", "symbols"} else "all",
            many=not asks_one,
            batch=1 if asks_one else SYMBOLS_A_MESSAGE if not described.replaces else 0,
            # No rule is known, but many a relay works through its requests one by one.
            pause_s=0.0 if source.local or source.subscribing.pause_s is not None else PAUSE_S,
            fixed=described.in_address and self._subscribe is None,
            acknowledges=described.acknowledges,
            limit=self._limit(),
        )

    def _limit(self) -> int | None:
        """Return how many symbols a connection can have: as the source says, or as many as an address has room for."""
        source = self.source
        if not self._described.in_address or source.open:
            return source.max_streams
        longest = max(len(quote(symbol, safe="*:")) for symbol in source.symbols) + len(self._described.separator)
        rest = len(self.url().reveal()) - sum(
            len(quote(symbol, safe="*:")) + len(self._described.separator) for symbol in source.symbols
        )
        fits = max(1, (ADDRESS_BYTES - rest) // longest)
        return fits if source.max_streams is None else min(fits, source.max_streams)

    def _check_token(self) -> None:
        placed = bool(self._in_url) or self._described.needs_token
        if placed and self._token is None:
            raise ConfigError(
                "source.token_env: there is a place for a token, {token}, and nothing to put there; put it into an "
                'environment variable and write token_env = "MY_TOKEN"'
            )
        if self._token is not None and not placed:
            raise ConfigError(
                "source.token_env: there is a token, and [source.generic] has no place for it; write {token} into "
                'query, headers, a message or the path of url, such as headers = { Authorization = "Bearer {token}" }'
            )

    def _check_symbols(self) -> None:
        source, described = self.source, self._described
        # How many connections there will be is worked out from what each may have, where nobody has said it.
        if described.in_address and source.connections and (size := len(self.url().reveal())) > ADDRESS_BYTES:
            raise ConfigError(
                f"source.symbols: {len(source.symbols)} symbols make an address of {size} bytes, and many servers "
                f"refuse more than {ADDRESS_BYTES}; raise connections"
            )
        asks = self._subscribe is not None or described.in_address
        if not source.open and not asks:
            raise ConfigError(
                "source.generic.subscribe: nothing says what to subscribe to; write the message, or open = true if the "
                "vendor sends everything to everybody"
            )
        if source.open and asks and not described.wildcard:
            raise ConfigError(
                "source.generic.wildcard: an open source asks for everything; write what stands for that, such as "
                'wildcard = "*", or leave subscribe and query out if the vendor sends it unasked'
            )

    def _requests(self, template: Template | None, symbols: Sequence[str], wildcard: str = "") -> list[Request]:
        if template is None:
            return []
        asked = list(symbols)
        if "symbol" in template.places:
            return [self._request(template, each, (each,), symbols) for each in asked or [wildcard]]
        return [self._request(template, wildcard, asked, symbols)]

    def _request(self, template: Template, symbol: str, asked: Sequence[str], about: Sequence[str]) -> Request:
        number = self._next()
        about = (symbol,) if "symbol" in template.places and about else tuple(about)
        payload = self._message(template, number, symbol, asked)
        return Request(payload, tuple(about), number if self._repeats else None)

    @property
    def _repeats(self) -> bool:
        """Whether an answer says which request it is about."""
        ack = self._described.ack
        return ack is not None and bool(ack.id)

    def _message(self, template: Template, number: int, symbol: str, symbols: Sequence[str]) -> bytes:
        joined = self._described.separator.join(symbols) or symbol
        listed = list(symbols) or [symbol]
        return template.render(
            {
                "symbols": listed if self._described.symbols_as == "array" and not template.plain else joined,
                "symbol": symbol,
                "token": self._token,
                "id": number,
                "only_traded": self.source.only_traded,
            }
        )

    def _in_query(self, text: str) -> str:
        listed = (self._described.wildcard,) if self.source.open else self.source.symbols
        # Encoded one by one: what stands between them stays what it is.
        joined = self._described.separator.join(quote(symbol, safe="*:") for symbol in listed)
        values = {"token": self._token, "only_traded": self.source.only_traded}
        parts = text.split("{symbols}")
        return joined.join(fill(quote(part, safe="{}"), values, _quoted) for part in parts)

    def _next(self) -> int:
        self._number += 1
        return self._number


def _url_places(url: str) -> frozenset[str]:
    """Return the places of the address, which may have one for the token, in its path."""
    parts = urlsplit(url)
    found = text_places(parts.path, "source.url")
    if found - {"token"} or text_places(url, "source.url") != found:
        raise ConfigError(
            "source.url: {token} may stand in its path, and no other place anywhere in it; a query belongs into "
            '[source.generic], such as query = { key = "{token}", codes = "{symbols}" }'
        )
    return found


def _quoted(text: str) -> str:
    return quote(text, safe="")

"""A ``[[source]]`` table: whom to connect to, and what to ask for."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from openbell.config.checks import check_token_places, check_url, is_loopback, read_token, symbol_fault
from openbell.config.feed import Overflow
from openbell.config.generic import Generic
from openbell.config.liveness import Liveness
from openbell.config.network import Network
from openbell.config.subscribing import Subscribing
from openbell.config.universe import Universe
from openbell.errors import ConfigError
from openbell.printable import quoted
from openbell.secret import Secret

CONNECTIONS_MAX: Final = 64
"""Connections of a feed, over all its sources: each has a block in the control segment."""


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[[source]]`` table: whom to connect to, and what to ask for.

    Attributes
    ----------
    vendor : str
        ``"alltick"``, ``"binance"``, the name of an installed vendor, or ``"package.module:Class"``.
    symbols : tuple of str
        What to subscribe to, in the vendor's spelling; duplicates are dropped. May be empty if `open`.
    symbols_file : str or None
        A file of more symbols: text, CSV or JSON; relative to the configuration file.
    symbols_url : str or None
        An address (HTTP) of more symbols.
    only_traded : bool
        Keep symbols that have not traded in their session out of what readers scan; a vendor that can send those alone
        is asked to.
    streams : tuple of str
        Which of the vendor's streams, for every symbol.
    market : str or None
        Which of the vendor's markets; None: its default.
    url : str or None
        Connect here instead of to the vendor's own address.
    insecure : bool
        Allow ``ws://`` (no TLS) to a host other than this machine.
    token_env : str or None
        Name of the environment variable that holds the token.
    token_file : str or None
        File that holds the token; relative to the configuration file.
    prefix : str
        Put before every symbol of this source, such as ``"usdm:"``.
    open : bool
        Take symbols that were not asked for, too.
    receive_buffer_bytes : int
        The socket's receive buffer (SO_RCVBUF); 0: left to the system.
    max_message_bytes : int
        A larger message is refused.
    connections : int
        Connections to the vendor, 1 to 64; the symbols are dealt out to them. 0 (in the file: ``"auto"``): as many as
        the vendor's limit takes, which `openbell.vendors.settle` finds out.
    overflow : str or None
        What happens when a ring is full, for this source; None: as the feed says.
    max_streams : int or None
        Most subscriptions on one connection; None: the vendor's own limit.
    min_reconnect_s : float or None
        Shortest pause before a reconnect; None: the vendor's own rule.
    universe, subscribing, liveness, network : Universe, Subscribing, Liveness, Network
        The tables of the source: what to leave out of its list, how to ask, when a connection is dead, how to reach it.
    generic : Generic or None
        The messages of the vendor ``"generic"``; None for all others.
    """

    vendor: str
    symbols: tuple[str, ...] = ()
    symbols_file: str | None = None
    symbols_url: str | None = None
    only_traded: bool = False
    streams: tuple[str, ...] = ("trade",)
    market: str | None = None
    url: str | None = None
    insecure: bool = False
    token_env: str | None = None
    token_file: str | None = None
    prefix: str = ""
    open: bool = False
    receive_buffer_bytes: Annotated[int, Meta(ge=0, le=1 << 30)] = 0
    max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 10 << 20
    connections: Annotated[int, Meta(ge=0, le=CONNECTIONS_MAX)] = 1
    overflow: Overflow | None = None
    max_streams: Annotated[int, Meta(ge=1)] | None = None
    min_reconnect_s: Annotated[float, Meta(ge=0, le=3600)] | None = None
    universe: Universe = msgspec.field(default_factory=Universe)
    subscribing: Subscribing = msgspec.field(default_factory=Subscribing)
    liveness: Liveness = msgspec.field(default_factory=Liveness)
    network: Network = msgspec.field(default_factory=Network)
    generic: Generic | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "symbols", tuple(dict.fromkeys(self.symbols)))
        msgspec.structs.force_setattr(self, "streams", tuple(dict.fromkeys(self.streams)))
        if not self.symbols and not self.open:
            raise ConfigError(
                "source.symbols: no symbol to subscribe to; list some, or say where they are in symbols_file or "
                "symbols_url"
            )
        if not self.streams:
            raise ConfigError('source.streams: no stream to subscribe to; write streams = ["trade"], or leave it out')
        if self.generic is not None and self.vendor in ("alltick", "binance", "ticks"):
            raise ConfigError(
                f'source.generic: {self.vendor} has messages of its own; write vendor = "generic", or leave the '
                "table out"
            )
        if self.url is not None and "{" in self.url and self.vendor in ("alltick", "binance", "ticks"):
            raise ConfigError(f"source.url: nothing is filled in at addresses of {self.vendor}; take the braces out")
        if self.prefix and (fault := symbol_fault(self.prefix)):
            # Of an open source the symbols are not known yet.
            raise ConfigError(f"source.prefix: {self.prefix!r} {fault}")
        for symbol in self.symbols:
            if fault := symbol_fault(symbol, self.prefix):
                raise ConfigError(f"source.symbols: {quoted(symbol)} {fault}")
        if self.open and self.connections > 1:
            raise ConfigError(
                "source.connections: an open source has one connection: what was not asked for could come over any of "
                "them, and a symbol's order would be lost; write connections = 1"
            )
        if self.connections > max(1, len(self.symbols)):
            raise ConfigError(
                f"source.connections: {self.connections} connections for {len(self.symbols)} "
                f"symbol{'s' * (len(self.symbols) > 1)}; each must have one at least"
            )
        check_token_places("source", self.token_env, self.token_file)
        if self.url is not None:
            check_url(self.url, self.insecure)
        if self.symbols_url is not None:
            self.universe.check_url(self.symbols_url)
        elif self.universe.token_env is not None or self.universe.token_file is not None:
            raise ConfigError(
                "source.universe.token_env, source.universe.token_file: the token is for symbols_url, and there is "
                "none; the vendor's own belongs in [source]"
            )
        if self.universe.refresh_minutes and not self.refreshes:
            raise ConfigError(
                "source.universe.refresh_minutes: there is no list to be read again; write symbols_file or "
                "symbols_url, or leave the key out"
            )

    @property
    def local(self) -> bool:
        """Whether ``url`` points to this very machine (a simulator, a relay)."""
        return self.url is not None and is_loopback(urlsplit(self.url).hostname)

    @property
    def refreshes(self) -> bool:
        """Whether the list of symbols is to be read again while the feed runs."""
        named = self.symbols_file is not None or self.symbols_url is not None
        return named and self.universe.refresh_minutes > 0

    def token(self) -> Secret | None:
        """Read the token from where the configuration says it is.

        Returns
        -------
        Secret or None
            None if neither ``token_env`` nor ``token_file`` is given.

        Raises
        ------
        ConfigError
            The variable is not set, the file cannot be read, or it holds no token.
        """
        return read_token("source", self.token_env, self.token_file)

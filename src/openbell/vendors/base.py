"""What a vendor must provide, and the kinds of messages about the connection itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from openbell.config import Source
from openbell.secret import Secret
from openbell.vendors.latest import Latest, LatestRequest
from openbell.vendors.plan import Ignore, Route
from openbell.vendors.semantics import Request, Semantics


@dataclass(frozen=True, slots=True)
class Ack:
    """The vendor accepted a request.

    Attributes
    ----------
    request : int or None
        The number the request carried, if the answer repeats it.
    symbols : tuple of str or None
        The symbols it accepted, as they arrive (:meth:`Vendor.symbol_key`), if the answer names them; None: all that
        the request named.
    """

    request: int | None = None
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """The vendor answered a heartbeat."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The vendor refused a request, or reports an error.

    Attributes
    ----------
    code : int or None
        The vendor's number for it.
    message : str
        The vendor's words. Somebody else's text: it is redacted and shortened before it is logged.
    request : int or None
        The number the refused request carried, if the answer repeats it.
    symbols : tuple of str or None
        The symbols it refused, as they arrive (:meth:`Vendor.symbol_key`), if the answer names them; None: all that
        the request named, or some of them.
    passing : bool
        Whether the same request may be granted later: it came too soon.
    final : bool
        Whether it is refused whatever its symbols are, so that asking for some of them would not help.
    """

    code: int | None
    message: str
    request: int | None = None
    symbols: tuple[str, ...] | None = None
    passing: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """The vendor says something about the connection that asks for no answer (a shutdown to come).

    Attributes
    ----------
    message : str
        What to log.
    leaving : bool
        Whether the vendor is about to close the connection.
    """

    message: str
    leaving: bool = False


Control = Ack | HeartbeatAck | Refusal | Notice
"""A message about the connection, not the market."""


class Vendor(ABC):
    """One vendor's dialect: how to ask, what comes, and what it means.

    A vendor knows nothing of sockets, rings or processes; it makes and reads messages. Instances are made by the
    receiver, one for each connection, with a source that has the symbols of that connection alone. They must not hold
    the token otherwise than in a :class:`~openbell.secret.Secret`.

    Parameters
    ----------
    source : Source
        What the configuration says.

    Raises
    ------
    ConfigError
        The source asks for something this vendor cannot give; the message names the key.
    """

    name: ClassVar[str]
    """Name of the vendor, as ``source.vendor`` gives it."""

    public_paths: ClassVar[frozenset[str]] = frozenset()
    """Paths of the address that may be shown; any other may contain a key and is shown as ``/…``."""

    semantics: Semantics = Semantics()
    """How the vendor takes subscriptions. May be set in ``__init__``, where it depends on the source."""

    heartbeat_interval_s: float = 0.0
    """Time between two heartbeat messages, in seconds; 0: the vendor wants none."""

    min_reconnect_s: float = 1.0
    """Shortest pause before a reconnect, in seconds; the vendor's rule."""

    connection_spacing_s: float = 0.0
    """Least time between requests of two connections of one account, in seconds; connecting counts as one."""

    latest_pause_s: float = 1.0
    """Least time between two requests of `latest`, in seconds."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return how messages become records; at most 16 entries."""

    @abstractmethod
    def url(self) -> Secret:
        """Return the address to connect to, which may contain the token."""

    @abstractmethod
    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the requests that subscribe to `symbols` (as configured), to be sent in order.

        Where requests add to one another, it is called for each batch of symbols; where they replace one another, for
        all symbols of the connection. Of an open source it is called with no symbol first: for what asks for the whole
        market, if anything does. All requests about a symbol must be granted before the symbol counts as confirmed.
        """

    @abstractmethod
    def control(self, payload: bytes) -> Control | None:
        """Say what `payload` means for the connection, or None if it is not about the connection.

        Called for messages that no route took at once, whatever they contain, and for every message when a vendor is
        recorded: it must return None for market data, and must not raise.
        """

    def unsubscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the requests that cancel `symbols`; called only where ``semantics.cancels`` is ``"symbols"``."""
        raise NotImplementedError(f"{type(self).__name__} declares that it cancels symbols, and does not define how")

    def unsubscribe_all(self) -> list[Request]:
        """Return the requests that cancel everything; called only where ``semantics.cancels`` is ``"all"``."""
        raise NotImplementedError(f"{type(self).__name__} declares that it cancels all, and does not define how")

    def explain(self, code: int | None) -> str | None:
        """Return what an error code of the vendor means and what to do about it, or None if that is not known."""
        return None

    @property
    def manner(self) -> Semantics:
        """How subscriptions are asked for: `semantics`, as the source's ``[source.subscribing]`` has them.

        Raises
        ------
        ConfigError
            That table asks for what the vendor does not do.
        """
        return self.semantics.configured(self.source.subscribing, local=self.source.local)

    @property
    def spacing_s(self) -> float:
        """Least time between requests of two connections of the account: `connection_spacing_s`, or as configured."""
        asked = self.source.subscribing.spacing_s
        if asked is None:
            return self.connection_spacing_s
        return asked if self.source.local else max(asked, self.connection_spacing_s)

    def requests(self, symbols: Sequence[str]) -> Iterator[Request]:
        """Yield all requests of a fresh connection with `symbols`, in batches where that is the manner."""
        if self.source.open:
            yield from self.subscribe(())
        size = self.manner.batch or len(symbols)
        for start in range(0, len(symbols), max(1, size)):
            yield from self.subscribe(symbols[start : start + size])

    def display_url(self) -> str:
        """Return the address fit for logs: scheme, host and port, and a path only if it is a public one."""
        parts = urlsplit(self.url().reveal())
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        # Some venues put the key into the path: wss://host/ws/<listen key>.
        path = parts.path if parts.path in ("", "/") or parts.path in self.public_paths else "/…"
        return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, path, "", ""))

    def latest(self, symbols: Sequence[str]) -> list[LatestRequest] | None:
        """Return the HTTP requests for the latest trades of `symbols`, or None: the vendor has no such interface."""
        return None

    def read_latest(self, body: bytes) -> list[Latest]:
        """Return what the answer to such a request says.

        Raises
        ------
        VendorError
            It is an error; the message is the vendor's.
        """
        raise NotImplementedError(f"{type(self).__name__} asks for latest trades, and does not define how to read them")

    def secret(self) -> Secret | None:
        """Return what must be cut out of the vendor's own words before they are logged, if anything."""
        return None

    def headers(self) -> list[tuple[str, str]]:
        """Return extra HTTP headers of the handshake; they may contain the token and are never logged."""
        return []

    def heartbeat(self) -> bytes | None:
        """Return the next heartbeat message, or None where there is none."""
        return None

    def symbol_key(self, symbol: str) -> str:
        """Return `symbol` as it arrives in messages, which is its key in the symbol table (behind the prefix)."""
        return symbol

    def symbol_fault(self, symbol: str) -> str | None:
        """Say why the vendor cannot know `symbol` (as configured), and what was probably meant; None if it may.

        Asked for every symbol before anything is sent. The sentence begins with the symbol in quotes.
        """
        return None

"""What a vendor must provide, and the kinds of messages about the connection itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from openbell.config import Source
from openbell.secret import Secret
from openbell.vendors.plan import Ignore, Route


@dataclass(frozen=True, slots=True)
class Ack:
    """The vendor accepted a request.

    Attributes
    ----------
    request : int or None
        The number the request carried, if the answer repeats it.
    """

    request: int | None = None


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
    """

    code: int | None
    message: str
    request: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The vendor says something about the connection that asks for no answer (a shutdown to come).

    Attributes
    ----------
    message : str
        What to log.
    """

    message: str


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

    pause_between_messages_s: float = 0.0
    """Least time between two messages we send, in seconds; the vendor's rate limit."""

    heartbeat_interval_s: float = 0.0
    """Time between two heartbeat messages, in seconds; 0: the vendor wants none."""

    min_reconnect_s: float = 1.0
    """Shortest pause before a reconnect, in seconds; the vendor's rule."""

    connection_spacing_s: float = 0.0
    """Least time between opening two connections, in seconds; the vendor's rule for those of one account."""

    acknowledges: bool = True
    """Whether the vendor answers subscriptions; if not, no answer is missed."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return how messages become records; at most 16 entries."""

    @abstractmethod
    def url(self) -> Secret:
        """Return the address to connect to, which may contain the token."""

    @abstractmethod
    def subscribe(self, symbols: Sequence[str]) -> list[bytes]:
        """Return the messages that subscribe to `symbols` (as configured), to be sent in order after connecting."""

    @abstractmethod
    def control(self, payload: bytes) -> Control | None:
        """Say what `payload` means for the connection, or None if it is not about the connection.

        Called for messages that no route took at once, whatever they contain, and for every message when a vendor is
        recorded: it must return None for market data, and must not raise.
        """

    def display_url(self) -> str:
        """Return the address fit for logs: scheme, host and port, and a path only if it is a public one."""
        parts = urlsplit(self.url().reveal())
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        # Some venues put the key into the path: wss://host/ws/<listen key>.
        path = parts.path if parts.path in ("", "/") or parts.path in self.public_paths else "/…"
        return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, path, "", ""))

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

"""``feed.toml``, checked once and frozen.

A configuration never holds a secret: it says where the token is (``token_env``, ``token_file``), and whoever needs
it asks :meth:`Source.token` at that moment. So a :class:`Config` can be printed, logged and sent to a child process.

Every mistake is a :class:`~openbell.errors.ConfigError` that names the file, the key, what is wrong and, for a
misspelt key, the one that was probably meant. The keys are described in ``docs/configuration.md``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta, Struct

from openbell.errors import ConfigError
from openbell.secret import Secret

SYMBOL_BYTES_MAX: Final = 31
"""Bytes of a symbol's key, prefix included: it lies inline in the symbol table."""
CONNECTIONS_MAX: Final = 64
"""Connections of a feed, over all its sources: each has a block in the control segment."""

Overflow = Literal["block", "conflate", "drop"]

_FEED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Words under which people write a credential down, alone or behind another: api_key, X-Access-Token, clientSecret.
_CREDENTIALS = (
    *("token", "key", "secret", "password", "passwd", "passphrase", "passcode", "auth", "authorization", "jwt"),
    *("signature", "credential", "credentials"),
)
_SHORT_CREDENTIALS = frozenset(("pass", "pwd", "sig", "sign"))
"""Words of a key on their own: `compass` and `design` end in them, too."""
# It travels on a command line: nothing that could pass for an option.
_CALENDAR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,31}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Feed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ``[feed]`` table: the name, the processes and the shared memory.

    Attributes
    ----------
    name : str
        Name of the feed, by which readers attach: letters, digits, ``.``, ``_``, ``-``; at most 64.
    workers : int
        Worker processes, 1 to 64.
    receivers : int
        Receiver processes, 1 to 16; the connections of all sources are dealt out to them.
    symbols_capacity : int
        Most symbols the feed can ever hold, 1 to 2**24.
    ring_capacity : int
        Records in the ring between the receiver and a worker, 64 bytes each: a power of two from 8 to 2**30.
    wait : str
        How a worker waits for records: ``"adaptive"``, ``"park"``, ``"yield"`` or ``"spin"``.
    overflow : str
        What happens when a ring is full. ``"block"``: reading from the socket pauses; ``"conflate"``: what waits is
        merged, per symbol; ``"drop"``: it is dropped, and counted.
    book_levels : int
        Levels of the order book in the snapshot, 0 to 10; 0: none beyond the best bid and ask.
    calendar : str
        Trading calendar by which sessions begin and end, a name of the library ``exchange_calendars`` such as
        ``"XSHG"``; empty: none.
    roll_minutes_before_open : int
        How long before a session's open the rows roll over to it.
    worker_rate_limit : int
        Records a second that a worker applies at most, for demonstrations and tests; 0: no limit.
    exchange_latency : bool
        Keep a histogram of the latency from the vendor's event time to the snapshot, too.
    """

    name: str
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    receivers: Annotated[int, Meta(ge=1, le=16)] = 1
    symbols_capacity: Annotated[int, Meta(ge=1, le=1 << 24)] = 16384
    ring_capacity: Annotated[int, Meta(ge=8, le=1 << 30)] = 65536
    wait: Literal["adaptive", "park", "yield", "spin"] = "adaptive"
    overflow: Overflow = "block"
    book_levels: Annotated[int, Meta(ge=0, le=10)] = 0
    calendar: str = ""
    roll_minutes_before_open: Annotated[int, Meta(ge=0, le=1440)] = 45
    worker_rate_limit: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    exchange_latency: bool = False

    def __post_init__(self) -> None:
        if not _FEED_NAME.fullmatch(self.name):
            raise ConfigError(
                f"feed.name: {self.name!r} is not a feed name; use letters, digits, '.', '_' and '-', beginning with a "
                "letter or a digit, at most 64 characters"
            )
        if self.ring_capacity & (self.ring_capacity - 1):
            below = 1 << (self.ring_capacity.bit_length() - 1)
            raise ConfigError(
                f"feed.ring_capacity: {self.ring_capacity} is not a power of two; write {below} or {below * 2}"
            )
        if self.book_levels * 2 > self.ring_capacity:
            # A book is shown whole or not at all, and what is published at once fills half of a ring at most.
            raise ConfigError(
                f"feed.book_levels: books of {self.book_levels} levels do not fit a ring_capacity of "
                f"{self.ring_capacity}; it must be twice as many at least"
            )
        if self.calendar and not _CALENDAR_NAME.fullmatch(self.calendar):
            raise ConfigError(
                f'feed.calendar: {self.calendar!r} is not the name of a calendar; write one such as "XSHG", "XHKG", '
                '"XNYS" or "24/7"'
            )


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[[source]]`` table: whom to connect to, and what to ask for.

    Attributes
    ----------
    vendor : str
        ``"alltick"``, ``"binance"``, the name of an installed vendor, or ``"package.module:Class"``.
    symbols : tuple of str
        What to subscribe to, in the vendor's spelling; duplicates are dropped. May be empty if `open`.
    symbols_file : str or None
        A file of more symbols, one a line, or a CSV file's first column; relative to the configuration file.
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
        Connections to the vendor, 1 to 64; the symbols are dealt out to them.
    overflow : str or None
        What happens when a ring is full, for this source; None: as the feed says.
    max_streams : int or None
        Most subscriptions on one connection; None: the vendor's own limit.
    min_reconnect_s : float or None
        Shortest pause before a reconnect; None: the vendor's own rule.
    """

    vendor: str
    symbols: tuple[str, ...] = ()
    symbols_file: str | None = None
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
    connections: Annotated[int, Meta(ge=1, le=CONNECTIONS_MAX)] = 1
    overflow: Overflow | None = None
    max_streams: Annotated[int, Meta(ge=1)] | None = None
    min_reconnect_s: Annotated[float, Meta(ge=0, le=3600)] | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "symbols", tuple(dict.fromkeys(self.symbols)))
        msgspec.structs.force_setattr(self, "streams", tuple(dict.fromkeys(self.streams)))
        if not self.symbols and not self.open:
            raise ConfigError("source.symbols: no symbol to subscribe to; list some, or name a file in symbols_file")
        if not self.streams:
            raise ConfigError('source.streams: no stream to subscribe to; write streams = ["trade"], or leave it out')
        if self.prefix and (fault := symbol_fault(self.prefix)):
            # Of an open source the symbols are not known yet.
            raise ConfigError(f"source.prefix: {self.prefix!r} {fault}")
        for symbol in self.symbols:
            if fault := symbol_fault(symbol, self.prefix):
                raise ConfigError(f"source.symbols: {symbol!r} {fault}")
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
        if self.token_env is not None and not _VARIABLE_NAME.fullmatch(self.token_env):
            # Not shown: a token is sometimes written here by mistake.
            raise ConfigError(
                "source.token_env: this is not the name of an environment variable; write the variable's name, "
                'such as token_env = "ALLTICK_TOKEN", never the token itself'
            )
        if self.token_env is not None and self.token_file is not None:
            raise ConfigError("source.token_env, source.token_file: give one of them, not both")
        if self.token_file is not None and "\x00" in self.token_file:
            raise ConfigError("source.token_file: a NUL character is in it, and no file's name has one")
        if self.url is not None:
            _check_url(self.url, self.insecure)

    @property
    def local(self) -> bool:
        """Whether ``url`` points to this very machine (a simulator, a relay)."""
        return self.url is not None and is_loopback(urlsplit(self.url).hostname)

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
        if self.token_env is not None:
            value = os.environ.get(self.token_env, "").strip()
            # A name in lower case may be a token written in the wrong place; a message must not repeat it.
            named = self.token_env if self.token_env.isupper() else "named there"
            if not value:
                raise ConfigError(f"source.token_env: the environment variable {named} is not set, or is empty")
            return _printable(value, "source.token_env")
        if self.token_file is not None:
            try:
                value = Path(self.token_file).read_text("utf-8").strip()
            except OSError as error:
                raise ConfigError(
                    f"source.token_file: cannot read {self.token_file!r}: {error.strerror or 'input/output error'}"
                ) from None
            except UnicodeDecodeError:
                raise ConfigError(f"source.token_file: {self.token_file!r} is not a text file") from None
            if not value:
                raise ConfigError(f"source.token_file: {self.token_file!r} is empty")
            return _printable(value, "source.token_file")
        return None


class Change(Struct, frozen=True, array_like=True):
    """One moment of a market's schedule.

    Attributes
    ----------
    at_ns : int
        When, ns since the epoch.
    session : int
        The session that is on from then, as ``yyyymmdd``.
    status : int
        A :class:`openbell.record.MarketStatus`.
    """

    at_ns: int
    session: int
    status: int


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole configuration.

    Attributes
    ----------
    feed : Feed
        The ``[feed]`` table.
    sources : tuple of Source
        The ``[[source]]`` tables, at least one.
    schedule : tuple of Change
        Sessions by ``feed.calendar``, in order; empty until they are computed (:mod:`openbell.calendars`), and where
        there is no calendar. No key of the file: it is how the receivers get to know it.
    notes : tuple of str
        What reading the file gave cause to say (duplicates dropped); for the user, not an error.
    """

    feed: Feed
    sources: tuple[Source, ...]
    schedule: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError('source: there is none; add [[source]] and vendor = "..."')
        if self.connections > CONNECTIONS_MAX:
            raise ConfigError(
                f"source.connections: {self.connections} connections over all sources are more than the "
                f"{CONNECTIONS_MAX} that a feed can have; run a second feed"
            )
        if self.feed.receivers > self.connections:
            raise ConfigError(
                f"feed.receivers: {self.feed.receivers} receivers for {self.connections} "
                f"connection{'s' * (self.connections > 1)}; a receiver without one has nothing to do: write "
                f"{self.connections}, or more connections"
            )
        prefixes = [source.prefix for source in self.sources]
        for source in self.sources:
            if source.open and prefixes.count(source.prefix) > 1:
                raise ConfigError(
                    "source.prefix: an open source may send any symbol, also those of another source, so it needs a "
                    f"prefix of its own; {source.prefix!r} is that of another source, too"
                )

    @property
    def connections(self) -> int:
        """Connections of all sources."""
        return sum(source.connections for source in self.sources)

    @property
    def source(self) -> Source:
        """The one source.

        Raises
        ------
        ConfigError
            There are several.
        """
        if len(self.sources) > 1:
            raise ConfigError(f"source: there are {len(self.sources)}, and this takes a configuration with one source")
        return self.sources[0]

    def to_json(self) -> bytes:
        """Return the configuration as JSON, for a child process; it holds no secret."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Config:
        """Return the configuration that :meth:`to_json` wrote."""
        return msgspec.json.decode(text, type=cls)


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check a feed's configuration file.

    Parameters
    ----------
    path : path-like
        The TOML file. Files it names are looked for beside it.

    Returns
    -------
    Config
        Complete: symbols from ``symbols_file`` are in ``source.symbols``.

    Raises
    ------
    ConfigError
        The file cannot be read or its contents cannot be used; the message begins with the file's name.
    """
    # Only the process that was given a file reads one; its children get the result, and start without the reader.
    from openbell.config_file import read

    return read(Path(path))


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


def _check_url(url: str, insecure: bool) -> None:
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


def _printable(value: str, key: str) -> Secret:
    """Wrap a token, unless it would break out of the header or address it is put into."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{key}: what was found there is no token: it has white space or unprintable characters")
    return Secret(value)

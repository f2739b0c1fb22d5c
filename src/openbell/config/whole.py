"""A whole configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from openbell.config.feed import Feed
from openbell.config.source import CONNECTIONS_MAX, Source
from openbell.errors import ConfigError


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
    listed : tuple of tuple of str
        What the table of each source lists itself, in ``symbols``: with it the other lists are read again. Empty where
        the configuration was not read from a file.
    """

    feed: Feed
    sources: tuple[Source, ...]
    schedule: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    listed: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError('source: there is none; add [[source]] and vendor = "..."')
        if not all(source.connections for source in self.sources):
            raise ConfigError('source.connections: "auto" is not settled; see openbell.vendors.settle')
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
            if any(each.prefix == source.prefix and each.only_traded != source.only_traded for each in self.sources):
                # Whoever reads the market tells its sources by their prefixes.
                raise ConfigError(
                    f"source.only_traded: sources with one prefix ({source.prefix!r}) have one answer; write the same "
                    "in all of them, or give them prefixes of their own"
                )
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
        return _decode(text)


# Made once, at import: msgspec looks into types when it first meets them, and two threads must not do that at once.
_decode: Final = msgspec.json.Decoder(Config).decode


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
    from openbell.config.file import read

    return read(Path(path))

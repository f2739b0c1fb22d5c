"""All symbols of a source together: those in its table, in its file, and at its address."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from openbell.config.universe import Universe
from openbell.errors import ConfigError
from openbell.universe.fetching import fetch, shown
from openbell.universe.narrowing import Selection, narrow
from openbell.universe.reading import Entry, read


def gather(
    listed: Sequence[str],
    file: str | None,
    url: str | None,
    universe: Universe,
    prefix: str = "",
    stop: threading.Event | None = None,
) -> Selection:
    """Return the symbols of a source, narrowed and spelled as its table says.

    Parameters
    ----------
    listed : sequence of str
        ``symbols``, as they stand in the table.
    file : str or None
        ``symbols_file``.
    url : str or None
        ``symbols_url``.
    universe : Universe
        The table ``[source.universe]``.
    prefix : str
        The source's.
    stop : threading.Event, optional
        Set: what is being fetched is not wanted any more.

    Raises
    ------
    ConfigError
        A list cannot be had or read, or is empty, or nothing is left of it: an empty list is never used.
    """
    if not all(listed):
        raise ConfigError("source.symbols: '' is empty")
    entries = [Entry(symbol) for symbol in listed]
    if file is not None:
        entries += _from_file(file, universe)
    if url is not None:
        entries += _from_url(url, universe, stop)
    selection = narrow(entries, universe, prefix)
    if entries and not selection.symbols:
        raise ConfigError(
            f"source.universe: of {len(entries):,} symbols none is left: {selection.reasons}; loosen what leaves them "
            "out"
        )
    return selection


def _from_file(file: str, universe: Universe) -> list[Entry]:
    where = f"source.symbols_file: {file}"
    try:
        with Path(file).open("rb") as stream:
            body = stream.read(universe.max_bytes + 1)
    except FileNotFoundError:
        raise ConfigError(f"{where}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror or 'input/output error'}") from None
    if len(body) > universe.max_bytes:
        raise ConfigError(
            f"{where}: it has more than {universe.max_bytes:,} bytes; is it the right file? Otherwise raise max_bytes "
            "in [source.universe]"
        )
    return _entries(where, body, file, universe)


def _from_url(url: str, universe: Universe, stop: threading.Event | None) -> list[Entry]:
    universe.check_url(url)
    where = f"source.symbols_url: {shown(url)}"
    try:
        fetched = fetch(url, universe, stop)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return _entries(where, fetched.body, url, universe, fetched.content_type, fetched.charset)


def _entries(
    where: str, body: bytes, name: str, universe: Universe, content_type: str = "", charset: str = ""
) -> list[Entry]:
    try:
        entries = read(body, name, universe, content_type, charset)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not entries:
        raise ConfigError(f"{where} lists no symbol")
    return entries

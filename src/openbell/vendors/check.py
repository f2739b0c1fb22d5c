"""Whether a feed's configuration can be run: what only its vendor knows, told before any process starts."""

from __future__ import annotations

import os

from openbell.config import Config, symbol_fault
from openbell.errors import ConfigError, VendorError
from openbell.vendors.base import Vendor
from openbell.vendors.registry import create


def check(config: Config, file: str | os.PathLike[str]) -> Vendor:
    """Make the vendor of `config`, and see that the feed's symbol table can take its symbols.

    Parameters
    ----------
    config : Config
        As :func:`openbell.config.load` returned it.
    file : path-like
        Where it was read; every message begins with it.

    Returns
    -------
    Vendor
        Made for the source.

    Raises
    ------
    ConfigError
        The feed could not start: there is no such vendor or it cannot be loaded, it cannot give what the source asks
        for, or the symbols do not fit the table.
    """
    try:
        vendor = create(config.source)
        _check_symbols(config, vendor)
    except (ConfigError, VendorError) as error:
        raise ConfigError(f"{os.fspath(file)}: {error}") from None
    return vendor


def _check_symbols(config: Config, vendor: Vendor) -> None:
    """Refuse symbols whose keys, which may differ from what is configured, have no place in the symbol table."""
    source = config.source
    keys = set()
    for symbol in source.symbols:
        key = vendor.symbol_key(symbol)
        if fault := symbol_fault(key, source.prefix):
            raise ConfigError(f"source.symbols: {symbol!r} arrives as {key!r}, which {fault}")
        keys.add(key)
    if len(keys) > config.feed.symbols_capacity:
        raise ConfigError(
            f"feed.symbols_capacity: {len(keys)} symbols do not fit a capacity of {config.feed.symbols_capacity}; "
            "raise it, or ask for fewer symbols"
        )

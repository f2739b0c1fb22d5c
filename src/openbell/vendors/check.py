"""Whether a feed's configuration can be run: what only its vendors know, told before any process starts."""

from __future__ import annotations

import os
from collections.abc import Sequence

from openbell.assignment import Assigned, assign
from openbell.config import Config, place, symbol_fault
from openbell.config.source import CONNECTIONS_MAX
from openbell.errors import ConfigError, VendorError
from openbell.vendors.base import Vendor
from openbell.vendors.registry import create
from openbell.vendors.settling import faults


def check(config: Config, file: str | os.PathLike[str], *, one_connection: str = "") -> tuple[Vendor, ...]:
    """Make the vendors of `config`, and see that the feed's symbol table can take their symbols.

    Parameters
    ----------
    config : Config
        As :func:`openbell.config.load` returned it.
    file : path-like
        Where it was read; every message begins with it.
    one_connection : str
        Why there can be no more connections, if that is so: for the message that there are too few.

    Returns
    -------
    tuple of Vendor
        One a connection, in order.

    Raises
    ------
    ConfigError
        The feed could not start: there is no such vendor or it cannot be loaded, it cannot give what the source asks
        for, two connections ask for one symbol, or the symbols do not fit the table.
    """
    try:
        vendors = create_all(config, one_connection)
        _check_capacity(config, len(symbol_keys(config, vendors)))
    except (ConfigError, VendorError) as error:
        raise ConfigError(f"{os.fspath(file)}: {error}") from None
    return vendors


def create_all(config: Config, one_connection: str = "") -> tuple[Vendor, ...]:
    """Return a vendor for each connection of `config`, in order.

    Raises
    ------
    ConfigError, VendorError
        As :func:`~openbell.vendors.registry.create`, or there are more symbols on a connection than its vendor takes;
        the message says which source it is about, if there are several.
    """
    found = []
    for assigned in assign(config):
        where = place(assigned.number, len(config.sources))
        vendor = _create(assigned, where)
        found.append(vendor)
        if fault := _limit_fault(vendor, assigned, len(config.sources[assigned.number - 1].symbols), one_connection):
            raise ConfigError(f"{where}{fault}")
    return tuple(found)


def symbol_keys(config: Config, vendors: tuple[Vendor, ...]) -> list[str]:
    """Return the symbols of all connections as they are known in the feed, each once.

    Raises
    ------
    ConfigError
        A symbol is none that its vendor can know, has no place in the symbol table, or two connections ask for it: its
        order would be nobody's.
    """
    owners: dict[str, Assigned] = {}
    for assigned, vendor in zip(assign(config), vendors, strict=True):
        source = assigned.source
        where = place(assigned.number, len(config.sources))
        if assigned.place == 0 and source.universe.faulty != "ask":
            _check_symbols(vendor, config.sources[assigned.number - 1].symbols, where)
        for symbol in source.symbols:
            arrives = vendor.symbol_key(symbol)
            if fault := symbol_fault(arrives, source.prefix):
                raise ConfigError(f"{where}source.symbols: {symbol!r} arrives as {arrives!r}, which {fault}")
            key = source.prefix + arrives
            owner = owners.setdefault(key, assigned)
            if owner.number != assigned.number:
                raise ConfigError(
                    f"{where}source.symbols: {key!r} is a symbol of [[source]] {owner.number}, too, and two "
                    "connections would not agree on its order; take it out of one of them, or give this source a prefix"
                )
            if owner.index != assigned.index:
                raise ConfigError(
                    f"{where}source.symbols: {symbol!r} is there twice, in two spellings, and would be asked for on "
                    "two connections; keep one"
                )
    return list(owners)


def _create(assigned: Assigned, where: str) -> Vendor:
    try:
        if assigned.place == 0 and assigned.source.network.ca_file is not None:
            assigned.source.network.trust()
        return create(assigned.source)
    except (ConfigError, VendorError) as error:
        if not where:
            raise
        raise type(error)(f"{where}{error}") from None


def _limit_fault(vendor: Vendor, assigned: Assigned, symbols: int, one_connection: str) -> str | None:
    """Say how many connections a source needs, if it has too few: some vendors drop what is too much without a word."""
    limit, mine = vendor.manner.limit, len(assigned.source.symbols)
    if limit is None or mine <= limit:
        return None
    streams = len(assigned.source.streams)
    of_each = f" with {streams} streams each" if streams > 1 and vendor.semantics.adds else ""
    told = f"source.symbols: {mine:,} symbols{of_each} on a connection, and {vendor.name} takes {limit:,} there"
    if assigned.source.max_streams is not None:
        told += f" (max_streams = {assigned.source.max_streams})"
    if one_connection:
        return f"{told}; {one_connection}, so ask for fewer"
    needed = -(-symbols // limit)
    if needed > CONNECTIONS_MAX:
        return f"{told}, and a feed has {CONNECTIONS_MAX} connections at most; ask for fewer"
    return f'{told}; write connections = {needed}, or connections = "auto" to have them counted'


def _check_symbols(vendor: Vendor, symbols: Sequence[str], where: str) -> None:
    """Refuse symbols that the vendor cannot know; what is asked for with them might all be refused, or forgotten."""
    found = faults(vendor, symbols)
    if found.count:
        raise ConfigError(
            f"{where}source.symbols: {found.count:,} of {len(symbols):,} cannot be asked for: {found}; correct them, "
            'or write faulty = "leave_out" in [source.universe]'
        )


def _check_capacity(config: Config, symbols: int) -> None:
    if symbols > config.feed.symbols_capacity:
        raise ConfigError(
            f"feed.symbols_capacity: {symbols} symbols do not fit a capacity of {config.feed.symbols_capacity}; "
            "raise it, or ask for fewer symbols"
        )

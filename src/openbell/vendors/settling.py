"""What of a source only its vendor can settle: which symbols it can know, and how many connections they take."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from openbell.config import Source, symbol_fault
from openbell.errors import ConfigError
from openbell.printable import quoted
from openbell.universe.leftout import LeftOut
from openbell.vendors.base import Vendor
from openbell.vendors.registry import create


def faults(vendor: Vendor, symbols: Iterable[str]) -> LeftOut:
    """Return which of `symbols` the vendor cannot know, each as a sentence that says why."""
    found = LeftOut(separator="; ")
    for symbol in symbols:
        if fault := fault_of(vendor, symbol):
            found.tell(fault)
    return found


def fault_of(vendor: Vendor, symbol: str) -> str | None:
    """Return why `symbol` cannot be asked for, as a sentence, or None if it can."""
    if fault := symbol_fault(symbol, vendor.source.prefix):
        return f"{quoted(symbol)} {fault}"
    return vendor.symbol_fault(symbol)


def sample(source: Source) -> Vendor:
    """Return the vendor of `source`, made for one of its symbols: it tells what holds for all.

    Raises
    ------
    ConfigError, VendorError
        As `openbell.vendors.create`.
    """
    return create(msgspec.structs.replace(source, connections=1, symbols=source.symbols[:1]))


def settle(source: Source) -> tuple[Source, LeftOut]:
    """Return `source` as it can be run, and the symbols that were left out of it.

    Symbols that the vendor cannot know are left out where ``universe.faulty`` says so, and ``connections = "auto"``
    becomes the number that the vendor's limit of symbols a connection needs; 1 where it has none.

    Raises
    ------
    ConfigError, VendorError
        No symbol is left, or as `openbell.vendors.create`.
    """
    leave_out = source.universe.faulty == "leave_out"
    if source.connections and not leave_out:
        return source, LeftOut()
    vendor = sample(source)
    left_out, symbols = LeftOut(), source.symbols
    if leave_out:
        left_out = faults(vendor, symbols)
        symbols = tuple(symbol for symbol in symbols if not fault_of(vendor, symbol))
        if source.symbols and not symbols:
            raise ConfigError(
                f"source.symbols: none of the {len(source.symbols):,} can be asked for: {left_out}; correct them"
            )
    limit = vendor.semantics.limit
    needed = 1 if limit is None or source.open else max(1, -(-len(symbols) // limit))
    return msgspec.structs.replace(source, symbols=symbols, connections=source.connections or needed), left_out

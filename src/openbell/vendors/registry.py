"""Finding a vendor's class: built in, installed beside OpenBell, or named by its path."""

from __future__ import annotations

import difflib
import importlib
from typing import Final

from openbell.config import Source
from openbell.errors import ConfigError, VendorError
from openbell.vendors.base import Vendor

ENTRY_POINT_GROUP: Final = "openbell.vendors"

_BUILT_IN: Final = {
    "alltick": "openbell.vendors.alltick:AllTick",
    "binance": "openbell.vendors.binance:Binance",
    "generic": "openbell.vendors.generic:GenericVendor",
    "ticks": "openbell.vendors.ticks:PlainTicks",
}


def load(name: str) -> type[Vendor]:
    """Return the class of a vendor.

    Parameters
    ----------
    name : str
        A built-in name, a name registered by an installed package under the entry point group
        ``openbell.vendors``, or a path ``"package.module:Class"``.

    Raises
    ------
    ConfigError
        No vendor has this name, or it is no path.
    VendorError
        It was found, but cannot be imported or is not a :class:`Vendor`.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
            raise ConfigError(f'source.vendor: {name!r} names no class; write "package.module:Class"')
        return _import(name, name)
    if path := _BUILT_IN.get(name):
        return _import(name, path)
    # Slow to import, and a receiver that is started again is in a hurry.
    from importlib.metadata import entry_points

    installed = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if path := installed.get(name):
        return _import(name, path)
    known = sorted({*_BUILT_IN, *installed})
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ConfigError(
        f'source.vendor: no vendor is called {name!r}; {hint} (a vendor of your own is named "package.module:Class")'
    )


def create(source: Source) -> Vendor:
    """Return the vendor that `source` names, made for it.

    Raises
    ------
    ConfigError
        No such vendor, or it cannot serve what the source asks for.
    VendorError
        The vendor's module is broken.
    """
    vendor = load(source.vendor)(source)
    # Asked for here, so that a table that does not fit the vendor is refused with everything else that does not.
    _ = vendor.manner
    source.network.proxy_url()
    if source.liveness.repair_after_gap and vendor.latest(source.symbols) is None:
        raise ConfigError(
            f"source.liveness.repair_after_gap: {vendor.name} has no HTTP interface for the latest prices, or not at "
            "this address; leave the key out"
        )
    return vendor


def _import(name: str, path: str) -> type[Vendor]:
    module_name, _, class_name = path.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in class_name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise VendorError(
            f"source.vendor: {name!r}: there is no module {error.name!r}; is its folder on PYTHONPATH?"
        ) from error
    except AttributeError as error:
        raise VendorError(f"source.vendor: {name!r}: module {module_name!r} has no {class_name!r}") from error
    except (ImportError, SyntaxError, TypeError, ValueError) as error:
        raise VendorError(f"source.vendor: {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Vendor)):
        raise VendorError(f"source.vendor: {name!r} is not a subclass of openbell.vendors.Vendor")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise VendorError(f"source.vendor: {name!r} does not define {', '.join(missing)}")
    return found

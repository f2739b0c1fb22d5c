"""OpenBell: a market-data feed handler that lives through the opening bell.

::

    import openbell

    with openbell.attach("cn") as market:
        print(market["600519.SH"].last)

Importing this package costs next to nothing: numpy is loaded by the first call of `attach`.
"""

from __future__ import annotations

from openbell.errors import OpenBellError

# Written out, as type checkers allow: the module `typing` would be half of what importing this package costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from openbell.market import Bars, Book, Changes, GapReason, Kind, Market, Row, Snapshot, Tick, Ticks, attach

    __version__: str

__all__ = [
    "Bars",
    "Book",
    "Changes",
    "GapReason",
    "Kind",
    "Market",
    "OpenBellError",
    "Row",
    "Snapshot",
    "Tick",
    "Ticks",
    "__version__",
    "attach",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("openbell")
        except PackageNotFoundError:
            # A source tree that was never installed.
            return "0+unknown"
    if name in __all__:
        from openbell import market

        return getattr(market, name)
    raise AttributeError(f"module 'openbell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

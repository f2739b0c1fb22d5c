"""Asking a vendor's HTTP interface for the latest trades: what is missing after a gap and cannot be pushed again."""

from __future__ import annotations

from dataclasses import dataclass

from openbell.secret import Secret


@dataclass(frozen=True, slots=True)
class LatestRequest:
    """One GET request.

    Attributes
    ----------
    url : Secret
        Where; it may contain the token.
    symbols : tuple of str
        Whom it is about, as configured.
    headers : tuple of (str, str)
        What goes with it; may contain the token.
    """

    url: Secret
    symbols: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest trade of a symbol.

    Attributes
    ----------
    symbol : str
        As it arrives (:meth:`~openbell.vendors.base.Vendor.symbol_key`).
    price, size : float
        Not checked yet.
    exchange_ns : int
        When it traded, ns since the epoch.
    sequence : int
        The vendor's number of it; 0: none.
    """

    symbol: str
    price: float
    size: float
    exchange_ns: int
    sequence: int = 0

"""What a feed will ask its vendors for: on which connection, in how many messages, and how long that takes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from openbell.assignment import assign
from openbell.config import Config
from openbell.receiver.turns import CONNECT_SLACK_S, earliest
from openbell.vendors.base import Vendor


@dataclass(frozen=True, slots=True)
class Asked:
    """What one connection asks for.

    Attributes
    ----------
    label : str
        What the connection is called.
    receiver : int
        Which receiver runs it.
    source : int
        Number of its source in the configuration, from 1.
    address : str
        Where it connects to, without anything secret.
    symbols : tuple of str
        In the order of the request.
    limit : int or None
        Symbols that the vendor takes on a connection, if that is known.
    messages, bytes : int
        What is sent for them; 0 where the address says it, or everything comes unasked.
    begins_s, done_s : float
        When it connects, and when the last message leaves, in seconds after the start of the feed: by the vendor's
        rules, without the time that the network and the vendor's answers take.
    """

    label: str
    receiver: int
    source: int
    address: str
    symbols: tuple[str, ...]
    limit: int | None
    messages: int
    bytes: int
    begins_s: float
    done_s: float


def asked_for(config: Config, vendors: Sequence[Vendor]) -> list[Asked]:
    """Return what each connection of `config` asks for.

    Parameters
    ----------
    config : Config
    vendors : sequence of Vendor
        Those of its connections, as `openbell.vendors.check` returns them.

    Raises
    ------
    ConfigError
        ``[source.subscribing]`` asks for what a vendor does not do.
    """
    found = []
    taken: dict[Hashable, list[float]] = {}
    for each, vendor in zip(assign(config), vendors, strict=True):
        symbols = _each_once(vendor, each.source.symbols)
        sizes = [len(request.payload) for request in vendor.requests(symbols)]
        account = each.source.vendor, each.source.token_env, each.source.token_file
        begins_s = _turn(taken.setdefault(account, []), vendor, len(sizes))
        found.append(
            Asked(
                label=each.label(vendor.name),
                receiver=each.receiver,
                source=each.number,
                address=vendor.display_url(),
                symbols=symbols,
                limit=vendor.semantics.limit,
                messages=len(sizes),
                bytes=sum(sizes),
                begins_s=begins_s,
                done_s=begins_s + max(0, len(sizes) - 1) * vendor.manner.pause_s,
            )
        )
    return found


def _each_once(vendor: Vendor, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return `symbols` without those that arrive as one before them does: two spellings are asked for once."""
    found: dict[str, str] = {}
    for symbol in symbols:
        found.setdefault(vendor.symbol_key(symbol), symbol)
    return tuple(found.values())


def _turn(taken: list[float], vendor: Vendor, messages: int) -> float:
    """Return when a connection begins that keeps apart from those of its account, and note what it takes."""
    if vendor.spacing_s <= 0:
        return 0.0
    offsets = [0.0, *(CONNECT_SLACK_S + number * vendor.manner.pause_s for number in range(messages))]
    begins_s = earliest(taken, 0.0, offsets, vendor.spacing_s)
    taken += [begins_s + offset for offset in offsets]
    return begins_s

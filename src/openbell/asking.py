"""What a feed will ask its vendors for: on which connection, in how many messages, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openbell.assignment import assign
from openbell.config import Config
from openbell.receiver.turns import starts
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
    begin = starts((vendor.source, vendor.connection_spacing_s) for vendor in vendors)
    found = []
    for each, vendor, begins_s in zip(assign(config), vendors, begin, strict=True):
        sizes = [len(request.payload) for request in vendor.requests(each.source.symbols)]
        found.append(
            Asked(
                label=each.label(vendor.name),
                receiver=each.receiver,
                source=each.number,
                address=vendor.display_url(),
                symbols=each.source.symbols,
                limit=vendor.semantics.limit,
                messages=len(sizes),
                bytes=sum(sizes),
                begins_s=begins_s,
                done_s=begins_s + max(0, len(sizes) - 1) * vendor.manner.pause_s,
            )
        )
    return found

"""Which connection asks for which symbol, and which receiver runs which connection.

Both go by the order of the configuration alone, so that a restart, and another machine with the same file, come to the
same: symbol *i* of a source belongs to connection *i* mod *N* of its *N*; connections are numbered through all sources;
connection *c* runs in receiver *c* mod *R* of *R*. All streams of a symbol share its connection: that is what makes
their order true.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from openbell.config import Config, Source


@dataclass(frozen=True, slots=True)
class Assigned:
    """One connection.

    Attributes
    ----------
    index : int
        Its number through all sources; that of its block in the control segment.
    receiver : int
        The receiver that runs it.
    number : int
        The number of its source in the configuration, from 1.
    place, places : int
        Which of the connections of its source it is, from 0, and how many there are.
    source : Source
        The source with this connection's symbols alone.
    """

    index: int
    receiver: int
    number: int
    place: int
    places: int
    source: Source

    def label(self, vendor: str) -> str:
        """Return what people call it: prefix and vendor, and which of several."""
        which = f" {self.place + 1}/{self.places}" if self.places > 1 else ""
        return f"{self.source.prefix}{vendor}{which}"


def assign(config: Config) -> tuple[Assigned, ...]:
    """Return all connections of `config`, in the order of their numbers."""
    found: list[Assigned] = []
    for number, source in enumerate(config.sources, 1):
        places = source.connections
        for place in range(places):
            part = msgspec.structs.replace(source, connections=1, symbols=source.symbols[place::places])
            index = len(found)
            found.append(Assigned(index, index % config.feed.receivers, number, place, places, part))
    return tuple(found)

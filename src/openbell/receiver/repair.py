"""After a gap: the vendor's latest trade of each symbol, by HTTP, so that no row shows a price from before it.

It repairs last values and nothing else: what was traded meanwhile stays unknown, and no sum gets it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from openbell.config import Source
from openbell.errors import OpenBellError
from openbell.receiver.fetch import Answer, fetch
from openbell.receiver.redact import Redactor
from openbell.vendors.base import Vendor
from openbell.vendors.latest import Latest

log = logging.getLogger("openbell.receiver")

_FAILURES_MOST: Final = 3
"""So many failures in a row, and the interface is left alone until the next gap."""
_OK: Final = 200


class Publisher(Protocol):
    """What is needed of a frame listener."""

    def publish_repair(self, key: bytes, price: float, size: float, exchange_ns: int, sequence: int = 0) -> bool:
        """Tell the latest trade of a symbol; return whether the symbol has a row."""


class RepairBlock(Protocol):
    """The words of a connection in the control segment that are written here."""

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""


@dataclass(slots=True)
class Repaired:
    """What came of it: symbols told, and requests that failed."""

    symbols: int = 0
    failures: int = 0


class Repair:
    """Asks for the latest trades of a connection's symbols.

    Parameters
    ----------
    source : Source
    vendor : Vendor
    block : RepairBlock
        Its ``repairs`` grows by the symbols that were told.
    redactor : Redactor
    """

    def __init__(self, source: Source, vendor: Vendor, block: RepairBlock, redactor: Redactor) -> None:
        self._source = source
        self._vendor = vendor
        self._block = block
        self._redactor = redactor
        self._where = vendor.display_url()

    async def run(self, publisher: Publisher, symbols: Sequence[str]) -> Repaired:
        """Ask for `symbols`, a request after the other, and publish what comes; until done, cancelled, or in vain."""
        done = Repaired()
        in_a_row = 0
        asked = self._source.liveness.repair_pause_s
        pause_s = self._vendor.latest_pause_s if asked is None else asked
        for number, request in enumerate(self._vendor.latest(symbols) or ()):
            if number:
                await asyncio.sleep(pause_s)
            try:
                answer = await fetch(request.url, request.headers, self._source.network)
                latest = self._read(answer)
            except OpenBellError as error:
                done.failures += 1
                in_a_row += 1
                said = self._redactor.quoted(str(error))
                log.error("%s: the latest prices of %d symbols: %s", self._where, len(request.symbols), said)
                if in_a_row >= _FAILURES_MOST:
                    log.error("%s: no further prices are asked for after this gap", self._where)
                    break
                continue
            in_a_row = 0
            told = sum(self._publish(publisher, each) for each in latest)
            done.symbols += told
            self._block.add("repairs", told)
        log.info("%s: after the gap, the latest prices of %d symbols were told", self._where, done.symbols)
        return done

    def _read(self, answer: Answer) -> list[Latest]:
        if answer.status != _OK:
            raise OpenBellError(f"the answer was HTTP {answer.status}")
        return self._vendor.read_latest(answer.body)

    def _publish(self, publisher: Publisher, latest: Latest) -> bool:
        """Publish what a trade can be; of the rest the vendor simply does not know."""
        sound = 0 < latest.price < math.inf and 0 <= latest.size < math.inf and latest.exchange_ns > 0
        key = (self._source.prefix + latest.symbol).encode()
        fits = -(1 << 63) <= latest.sequence < 1 << 63 and latest.exchange_ns < 1 << 63
        return (
            sound
            and fits
            and publisher.publish_repair(key, latest.price, latest.size, latest.exchange_ns, latest.sequence)
        )

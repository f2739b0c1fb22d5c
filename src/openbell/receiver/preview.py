"""What becomes of a message: the whole receiving side, from frame to records, in private memory and without a socket.

For writing a vendor and for trying out captures. It is the real thing, the compiled listener with its guards and the
slow path, so what it says is what a feed would do.
"""

from __future__ import annotations

import logging
import mmap
import struct
import tempfile
from dataclasses import dataclass
from typing import Final, cast

from picows import WSListener, WSMsgType, WSTransport
from picows.picows import _make_test_ws_frame

from openbell.core import ring, symbols
from openbell.monitor.control import ReceiverCounters
from openbell.reasons import Reason
from openbell.receiver.fallback import Fallback
from openbell.receiver.listeners import Hooks, compiled_listeners
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.record import RECORD_SIZE, Flag, Kind, Side
from openbell.vendors.base import Control, Vendor

_RING_RECORDS: Final = 4096
_RECORD: Final = struct.Struct("<IBBHqqqdddd")
_VALUES: Final = (("a", Flag.HAS_A), ("b", Flag.HAS_B), ("c", Flag.HAS_C), ("d", Flag.HAS_D))


@dataclass(frozen=True, slots=True)
class PreviewRecord:
    """One record, readable.

    Attributes
    ----------
    symbol : str
        The symbol, prefix included.
    kind, side : Kind, Side
        As in the record.
    exchange_ns, sequence : int
        As in the record; 0: absent.
    values : dict of str to float
        Those of ``a`` to ``d`` that are present.
    """

    symbol: str
    kind: Kind
    side: Side
    exchange_ns: int
    sequence: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message.

    Attributes
    ----------
    records : list of PreviewRecord
        What would reach the snapshot, in order of the symbol's shard (there is one).
    reasons : dict of Reason to int
        What was not applied, and why.
    controls : list of Control
        What was about the connection.
    """

    records: list[PreviewRecord]
    reasons: dict[Reason, int]
    controls: list[Control]


class Preview:
    """Receives messages for a vendor without connecting to it.

    Parameters
    ----------
    vendor : Vendor
        Made for a source; the symbols of that source are the ones asked for.
    """

    def __init__(self, vendor: Vendor) -> None:
        source = vendor.source
        # The first insertion of a symbol takes a lock, and a lock is a file.
        self._lock = tempfile.NamedTemporaryFile(prefix="openbell-preview-")  # noqa: SIM115 - lives as long as we do
        table = _memory(symbols.size(max(64, 2 * len(source.symbols))))
        symbols.format(table, max(64, 2 * len(source.symbols)), 1)
        self._symbols = symbols.SymbolTable(table, self._lock.name)
        for symbol in source.symbols:
            self._symbols.insert((source.prefix + vendor.symbol_key(symbol)).encode())
        records = _memory(ring.size(_RING_RECORDS))
        ring.format(records, _RING_RECORDS, 0)
        self._reader = ring.RingReader(records)
        self.counters = ReceiverCounters(_memory(4096)[:1024])
        self._controls: list[Control] = []
        writer = ring.RingWriter(records, _memory(128), _memory(128), 0)
        writer.recover()
        make = compiled_listeners(self._symbols, [writer], self.counters.memory, _memory(8))
        self._listener = make(
            Hooks(
                plan=vendor.plan(),
                fallback=Fallback(vendor, self._controls.append, RateLimitedLog(logging.getLogger("openbell.preview"))),
                on_connected=lambda transport: None,
                on_disconnected=lambda code, reason: None,
                on_pressure=lambda: None,
                prefix=source.prefix.encode(),
                open_symbols=source.open,
                max_message_bytes=source.max_message_bytes,
            )
        )

    def take(self, message: bytes) -> Outcome:
        """Receive one message, as one text frame."""
        self._controls.clear()
        before = self.counters.reasons()
        frame = _make_test_ws_frame(WSMsgType.TEXT, message, True, False)
        # The transport is for control frames alone.
        cast(WSListener, self._listener).on_ws_frame(cast(WSTransport, None), frame)
        records = self._taken()
        while self._listener.drain():
            records += self._taken()
        records += self._taken()
        changed = {Reason(index): count - before.get(index, 0) for index, count in self.counters.reasons().items()}
        return Outcome(records, {reason: n for reason, n in changed.items() if n}, list(self._controls))

    def _taken(self) -> list[PreviewRecord]:
        found = []
        taken = self._reader.poll(_RING_RECORDS)
        for start in range(0, len(taken), RECORD_SIZE):
            row, kind, side, flags, exchange_ns, _, sequence, *values = _RECORD.unpack_from(taken, start)
            present = {name: value for (name, flag), value in zip(_VALUES, values, strict=True) if flags & flag}
            symbol = self._symbols.key(row).decode()
            found.append(PreviewRecord(symbol, Kind(kind), Side(side), exchange_ns, sequence, present))
        return found


def _memory(size: int) -> memoryview:
    """Return zeroed, page-aligned memory of this process alone."""
    return memoryview(mmap.mmap(-1, size))

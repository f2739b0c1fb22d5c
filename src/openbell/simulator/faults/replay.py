"""Makes a market once more and applies what reached a handler, in the order in which it did.

A made-up market comes out the same from the same options. So nothing about its events has to be kept: a journal names
them by number, and what a correct handler holds follows from those that it received.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from openbell.simulator.ahead import Ahead
from openbell.simulator.coins import CoinVenue
from openbell.simulator.faults.journal import (
    BACKWARD,
    BACKWARD_NS,
    INDEX_BITS,
    LANE_AT,
    LANE_MASK,
    LEVELS_AT,
    WITHHELD,
    Entries,
)
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.oracle import Counts, Row
from openbell.simulator.stocks import StockVenue
from openbell.simulator.venue import Events

_INDEX = (1 << INDEX_BITS) - 1
_LEVELS = 0xFFF


class Replay:
    """The events of a market, by number.

    Parameters
    ----------
    options : SimulatorOptions
        Those of the market that was played.

    Attributes
    ----------
    symbols : list of str
    vendor : str
        The dialect.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        self._venue = CoinVenue(options) if options.dialect == "binance" else StockVenue(options)
        self._ahead = Ahead(self._venue, round(options.seconds * 1e9) if options.seconds else None)
        self.symbols = self._venue.symbols
        self.vendor = options.dialect
        self._runs: list[list[Events]] = [[] for _ in self._venue.lanes]
        self._counts = [0] * len(self._venue.lanes)
        self._whole: dict[int, Events] = {}

    def apply(self, received: Sequence[Entries]) -> tuple[dict[str, Row], Counts]:
        """Apply what was received; return the rows that a correct handler holds, and what it counts.

        Parameters
        ----------
        received : sequence of ndarray of int64
            Entries of a journal in the order of arrival. What arrived over different connections has nothing to do
            with one another, as each symbol comes over one of them. Entries that are no events are passed over.

        Returns
        -------
        rows : dict of str to dict
            See `openbell.simulator.oracle.Oracle.rows`.
        counts : Counts
        """
        entries = np.concatenate([np.zeros(0, dtype=np.int64), *received])
        entries = entries[(entries >= 0) & (entries & WITHHELD == 0)]
        lanes = (entries >> LANE_AT) & LANE_MASK
        for lane in np.unique(lanes).tolist():
            chosen = entries[lanes == lane]
            levels = ((chosen >> LEVELS_AT) & _LEVELS).astype(np.int16)
            earlier = np.where(chosen & BACKWARD, BACKWARD_NS, 0)
            events = _taken(self._lane(lane, int((chosen & _INDEX).max()) + 1), chosen & _INDEX, earlier)
            self._venue.lanes[lane].apply(events, levels)
        return self._venue.oracle.rows(), self._venue.oracle.counts

    def symbol(self, entries: Entries) -> Entries:
        """Return the index of the symbol of each event."""
        return self._look_up(entries, "symbol")

    def sequence(self, entries: Entries) -> Entries:
        """Return the vendor's number of each event."""
        return self._look_up(entries, "sequence")

    def intended_ns(self, entries: Entries) -> Entries:
        """Return when each event was to be sent, ns since the opening."""
        return self._look_up(entries, "intended_ns")

    def _look_up(self, entries: Entries, name: str) -> Entries:
        found = np.zeros(len(entries), dtype=np.int64)
        lanes = (entries >> LANE_AT) & LANE_MASK
        for lane in np.unique(lanes).tolist():
            mine = lanes == lane
            index = entries[mine] & _INDEX
            found[mine] = getattr(self._lane(lane, int(index.max()) + 1), name)[index]
        return found

    def _lane(self, lane: int, count: int) -> Events:
        """Return at least the first `count` events of a lane."""
        whole = self._whole.get(lane)
        if whole is not None and len(whole) >= count:
            return whole
        while self._counts[lane] < count:
            if self._ahead.head is None:
                raise ValueError(
                    f"the market has no event {count - 1} in lane {lane}: its options are not those of the journal"
                )
            for each, run in enumerate(self._ahead.pop().runs):
                self._runs[each].append(run.events)
                self._counts[each] += len(run.events)
        self._whole[lane] = _joined(self._runs[lane])
        return self._whole[lane]


def _joined(runs: Sequence[Any]) -> Any:
    """Return runs of events of one kind as one."""
    fields = [field.name for field in dataclasses.fields(runs[0])]
    return dataclasses.replace(
        runs[0],
        **{
            name: np.concatenate([getattr(run, name) for run in runs])
            for name in fields
            if isinstance(getattr(runs[0], name), np.ndarray)
        },
    )


def _taken(events: Any, index: Entries, earlier_ns: Entries) -> Any:
    """Return events in another order, some of them as told a while earlier."""
    fields = [field.name for field in dataclasses.fields(events)]
    taken = dataclasses.replace(
        events,
        **{name: getattr(events, name)[index] for name in fields if isinstance(getattr(events, name), np.ndarray)},
    )
    return dataclasses.replace(taken, intended_ns=taken.intended_ns - earlier_ns)

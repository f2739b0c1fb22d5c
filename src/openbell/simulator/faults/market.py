"""A made-up market of which every message passes through the channel of its client."""

from __future__ import annotations

import time

import numpy as np

from openbell.simulator.ahead import Block
from openbell.simulator.faults.channel import Channel
from openbell.simulator.faults.journal import LANE_AT, LEVELS_AT
from openbell.simulator.floor import Floor
from openbell.simulator.market import MadeMarket


class FaultyMarket(MadeMarket):
    """See `MadeMarket`. Every message is one event; what is said of the whole is said by the journal."""

    @property
    def unit_ns(self) -> int:
        """What its messages count time in."""
        return self._venue.clock.unit_ns

    def _send(self, floor: Floor, block: Block, lane: int, due: int) -> int:
        """Send a lane's events up to `due`; return how many bytes that were."""
        run, written = block.runs[lane], 0
        for client in list(floor.clients):
            interest = self._ahead.interests(client)[lane]
            if interest is None or not isinstance(client.way, Channel):
                continue
            batch = self._ahead.batch(block, lane, interest)
            low, high = np.searchsorted(batch.chosen, (run.position, due))
            chosen = batch.chosen[low:high]
            if not len(chosen):
                continue
            levels = interest.levels[run.events.symbol[chosen]].astype(np.int64)
            entries = (chosen + run.first) | (lane << LANE_AT) | (levels << LEVELS_AT)
            if size := client.way.send(batch.frames, batch.offsets[low : high + 1], entries):
                run.taken.append((chosen, interest.levels))
                written += size
        run.left.append((run.position, due, time.monotonic_ns() - self._start))
        run.position = due
        return written

"""Serves a made-up market: paces a venue's events to whoever subscribed, and tells the oracle what was sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from statistics import median
from typing import Protocol

import numpy as np
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator.ahead import Ahead, Block
from openbell.simulator.floor import Client, Floor
from openbell.simulator.lateness import Lateness
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.oracle import Oracle
from openbell.simulator.pace import SECOND_NS
from openbell.simulator.venue import Remembers, Venue

# The pace of the sender: due events leave together, about once this long. A write and its wake-up of the reader cost
# about as much as making a hundred events.
_TICK_NS = 1_000_000
# Written at most before the event loop gets its turn.
_TURN_BYTES = 1024 * 1024

# How far ahead events are encoded: of a market's opening, before it opens; of what comes later, and of a steady stream.
# An event takes about 170 bytes.
_OPENING_NS, _OPENING_BYTES = SECOND_NS, 160 * 1024 * 1024
_AHEAD_NS, _AHEAD_BYTES = SECOND_NS // 10, 2 * 1024 * 1024
_AHEAD_OPENING_BYTES = 32 * 1024 * 1024
# A market opens at most this long after it was told to, encoded or not.
_PATIENCE_NS = 1_700_000_000
_MIN_LEAD_NS = 10_000_000
_CALIBRATION_BLOCKS = 16
# Blocks that the oracle has not seen yet: it waits for a quiet moment, but not for ever.
_UNTOLD_BLOCKS = 2048


class Market(Protocol):
    """What the simulator can serve.

    Attributes
    ----------
    vendor, path : str
        Whose dialect it speaks, and the path of its address.
    symbols, streams : list of str
        What it is about, and what a client subscribes to in order to get all of it.
    lateness : Lateness
        How late events left.
    sent : int
        Events sent to at least one client, as far as they are counted; complete when `oracle` is asked for after
        `play`.
    offered_first_second : int
        Of those, the ones intended for the market's first second.
    expected_first_second : int or None
        What `offered_first_second` must be if clients took everything: the opening profile's figure times the scale.
        None for a market without an opening, or one that ends before.
    held_ns : int
        How long the market stood still for a client that was too far behind.
    start_ns : int
        The instant 0 of the market on the machine's wall clock, ns since the epoch; known once it is prepared.
    """

    vendor: str
    path: str
    symbols: list[str]
    streams: list[str]
    lateness: Lateness
    sent: int
    offered_first_second: int
    expected_first_second: int | None
    held_ns: int
    start_ns: int

    @property
    def oracle(self) -> Oracle:
        """Return what a correct handler must hold. After `play` the first to ask waits for the account of its end."""
        ...

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """Let a connection in, or not."""
        ...

    def idle(self) -> bool:
        """Do some of the work that can be done before anybody has subscribed; return whether there is more."""
        ...

    async def prepare(self, floor: Floor) -> None:
        """Get ready for the audience there is."""
        ...

    async def play(self, floor: Floor) -> None:
        """Serve until the end or until the floor says stop."""
        ...


class MadeMarket:
    """A made-up market, open loop: intended times do not wait for anybody, a late event leaves as soon as it can.

    Parameters
    ----------
    venue : Venue
    options : SimulatorOptions
        `seconds`, `profile` and `stamp_ns` are used.
    """

    def __init__(self, venue: Venue, options: SimulatorOptions) -> None:
        self.vendor, self.path = venue.vendor, venue.path
        self.symbols, self.streams = venue.symbols, venue.streams
        self.lateness = Lateness()
        self.sent = self.offered_first_second = self.held_ns = self.start_ns = 0
        self._venue = venue
        self._remembers = venue if isinstance(venue, Remembers) else None
        whole = options.profile == "open" and (options.seconds is None or options.seconds >= 1)
        self.expected_first_second = round(venue.expected(SECOND_NS)) if whole else None
        self._opens = options.profile == "open"
        self._stamp = options.stamp_ns
        self._ahead = Ahead(venue, round(options.seconds * 1e9) if options.seconds else None)
        self._untold: deque[Block] = deque()
        self._start = 0  # of the monotonic clock
        self._first_ns, self._first_bytes = (_OPENING_NS, _OPENING_BYTES) if self._opens else (_AHEAD_NS, _AHEAD_BYTES)
        self._budget = _AHEAD_OPENING_BYTES if self._opens else _AHEAD_BYTES

    @property
    def oracle(self) -> Oracle:
        """See `Market.oracle`."""
        while self._untold:
            self._tell(self._untold.popleft())
        return self._venue.oracle

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Market.admit`."""
        return self._venue.admit(request, floor)

    def idle(self) -> bool:
        """See `Market.idle`."""
        return self._ahead.make(self._first_ns)

    async def prepare(self, floor: Floor) -> None:
        """Encode the opening, set the moment it opens at, not more than two seconds from now."""
        ahead, began = self._ahead, time.monotonic_ns()
        while not floor.stop.is_set() and self.idle():
            await asyncio.sleep(0)
        # What encoding costs on this machine, now: with that the moment is set, and may stand in the messages.
        # The median block counts: the first ones are slow, the machine may be busy for a moment, and a market with
        # order books opens with blocks of trades alone.
        each_ns: list[float] = []
        while len(each_ns) < _CALIBRATION_BLOCKS or ahead.waiting_ns == 0:
            before, (events, _) = time.monotonic_ns(), ahead.encoded
            if before - began > _PATIENCE_NS // 2 or not ahead.encode(floor.clients, self._first_ns, self._first_bytes):
                break
            each_ns.append((time.monotonic_ns() - before) / max(ahead.encoded[0] - events, 1))
        events, encoded_bytes = ahead.encoded
        fits = self._first_bytes / max(encoded_bytes / max(events, 1), 1)
        needed_ns = 1.5 * (median(each_ns) if each_ns else 0.0) * min(self._venue.expected(self._first_ns), fits)
        lead_ns = _MIN_LEAD_NS + round(needed_ns)
        lead_ns = min(lead_ns, max(began + _PATIENCE_NS - time.monotonic_ns(), _MIN_LEAD_NS))
        self._start, self.start_ns = time.monotonic_ns() + lead_ns, time.time_ns() + lead_ns
        if self._stamp:
            self._venue.clock.open_ns = self.start_ns
            ahead.forget_frames()
        while (
            not floor.stop.is_set()
            and time.monotonic_ns() < self._start
            and ahead.encode(floor.clients, self._first_ns, self._first_bytes)
        ):
            await asyncio.sleep(0)

    async def play(self, floor: Floor) -> None:
        """See `Market.play`."""
        next_send = self._start
        try:
            while not floor.stop.is_set():
                now = time.monotonic_ns()
                if now >= next_send:
                    if not floor.room.is_set():
                        await floor.room.wait()
                        self.held_ns += time.monotonic_ns() - now
                        continue
                    behind = self._send_due(floor, now - self._start)
                    if self._ahead.head is None:
                        return
                    next_send = now if behind else max(next_send + _TICK_NS, now)
                    # Requests are read and buffers emptied also when we are behind.
                    await asyncio.sleep(0)
                elif self._work(floor, now - self._start):
                    await asyncio.sleep(0)
                else:
                    head = self._ahead.head
                    until = next_send if head is None else max(next_send, self._start + head.next_ns)
                    # Never long: a stop must be noticed, and a signal does not end a sleep.
                    await asyncio.sleep(min(max(until - now, _TICK_NS), 50_000_000) / 1e9)
        finally:
            while (head := self._ahead.head) is not None and any(run.position for run in head.runs):
                self._untold.append(self._ahead.pop())

    def _work(self, floor: Floor, elapsed_ns: int) -> bool:
        """Do what can be done while nothing is due, a millisecond or so of it; return whether there was anything."""
        until_ns = max(elapsed_ns, 0) + _AHEAD_NS
        if self._ahead.encode(floor.clients, until_ns, self._budget) or self._ahead.make(until_ns):
            return True
        if self._untold:
            self._tell(self._untold.popleft())
            return True
        return False

    def _send_due(self, floor: Floor, elapsed_ns: int) -> bool:
        """Send what is due, a turn's worth of it; return whether there is more."""
        written = 0
        while (block := self._ahead.head) is not None:
            for lane, run in enumerate(block.runs):
                due = run.due(elapsed_ns)
                if due > run.position:
                    if self._remembers is not None:
                        self._remembers.passed(lane, run.events, run.position, due)
                    written += self._send(floor, block, lane, due)
            if not block.done:
                return False
            self._untold.append(self._ahead.pop())
            if len(self._untold) > _UNTOLD_BLOCKS:
                self._tell(self._untold.popleft())
            if written >= _TURN_BYTES or not floor.room.is_set():
                return True
        return False

    def _send(self, floor: Floor, block: Block, lane: int, due: int) -> int:
        """Send a lane's events up to `due`; return how many bytes that were."""
        run, written = block.runs[lane], 0
        for client in list(floor.clients):
            interest = self._ahead.interests(client)[lane]
            if interest is None:
                continue
            batch = self._ahead.batch(block, lane, interest)
            if run.position == 0 and due == len(run.events):
                chosen, frames = batch.chosen, batch.frames
            else:
                low, high = np.searchsorted(batch.chosen, (run.position, due))
                chosen, frames = batch.chosen[low:high], batch.frames[batch.offsets[low] : batch.offsets[high]]
            if len(frames) and client.write(frames):
                run.taken.append((chosen, interest.levels))
                written += len(frames)
        run.left.append((run.position, due, time.monotonic_ns() - self._start))
        run.position = due
        return written

    def _tell(self, block: Block) -> None:
        """Tell the oracle what was sent of a block, and count how late it was."""
        for lane, run in zip(self._venue.lanes, block.runs, strict=True):
            levels, left_ns = run.outcome()
            lane.apply(run.events, levels)
            intended_ns, sent = run.events.intended_ns, levels > 0
            self.sent += int(np.count_nonzero(sent))
            self.lateness.add((left_ns - intended_ns)[sent])
            if block.begin_ns < SECOND_NS:
                self.offered_first_second += int(np.count_nonzero(sent & (intended_ns < SECOND_NS)))

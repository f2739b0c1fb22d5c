"""A made-up market, spoken in AllTick's dialect or as plain batches of ticks."""

from __future__ import annotations

import time

import numpy as np
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator import alltick, ticks
from openbell.simulator.clock import MS, NS, Clock
from openbell.simulator.floor import Client, Floor
from openbell.simulator.lanes import BookLane, TradeLane
from openbell.simulator.latest import LatestTrades
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.pace import PROFILES, OpeningPace, Pace, SteadyPace
from openbell.simulator.tally import MarketOracle
from openbell.simulator.trading import TradeBlock, TradingDay
from openbell.simulator.universe import UNIVERSES, Universe
from openbell.simulator.venue import Events, Lane
from openbell.simulator.writer import Writer


class StockVenue:
    """A whole market, in the dialect asked for.

    Parameters
    ----------
    options : SimulatorOptions

    Raises
    ------
    ConfigError
        The universe has not so many symbols.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        universe = UNIVERSES[options.universe]
        self._ticks = options.dialect == "ticks"
        self._rules = options.rules
        self.vendor = options.dialect
        self.path = ticks.PATH if self._ticks else alltick.path(options.universe)
        self.symbols = universe.symbols(options.symbols)
        self.streams = self.symbols + [alltick.BOOK + code for code in self.symbols if options.books]
        self.clock = market_clock(options)
        group = options.frame_ticks if self._ticks else options.join
        levels = book_levels(options, universe)
        self.oracle = MarketOracle(self.symbols, universe, self.clock, levels)
        decimals = universe.decimals, universe.volume_decimals
        speech = ticks if self._ticks else alltick
        writer = Writer(speech.trade(self.symbols, *decimals), speech.framing(group))
        self._latest = LatestTrades(self.symbols, universe, self.clock, options.rules.request_spacing_s)
        self.lanes: tuple[Lane, ...] = (TradeLane(self.symbols, writer, self.clock, self.oracle),)
        if levels:
            writer = Writer(alltick.book(self.symbols, *decimals), alltick.framing(group))
            self.lanes += (BookLane(self.symbols, writer, self.clock, self.oracle, levels, group),)
        random = np.random.Generator(np.random.PCG64(options.seed))
        self._pace = market_pace(options, universe, len(self.symbols), random)
        self._day = TradingDay(universe, self.symbols, random, self._pace, group, levels)

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Venue.admit`."""
        if self._ticks:
            return ticks.admit(request, floor, self.symbols)
        return alltick.admit(request, floor, self._rules, self._latest)

    def passed(self, lane: int, events: Events, first: int, end: int) -> None:
        """See `Remembers.passed`."""
        if isinstance(events, TradeBlock):
            self._latest.note(events, first, end)

    def next_block(self) -> tuple[Events, ...]:
        """See `Venue.next_block`."""
        trades, books = self._day.next_block()
        return (trades, books) if len(self.lanes) > 1 else (trades,)

    def expected(self, within_ns: int) -> float:
        """See `Venue.expected`."""
        return self._pace.expected(within_ns)


def market_clock(options: SimulatorOptions) -> Clock:
    """Return the clock that a market's messages tell the time by."""
    open_ms = options.open_ms or time.time_ns() // MS
    return Clock(open_ms * MS, NS if options.dialect == "ticks" or options.stamp_ns else MS)


def market_pace(options: SimulatorOptions, universe: Universe, symbols: int, random: np.random.Generator) -> Pace:
    """Return the pace asked for."""
    if options.profile == "open":
        return OpeningPace(PROFILES[universe.name], options.scale, random)
    return SteadyPace(symbols * (2 if options.books else 1), options.rate * options.scale, random)


def book_levels(options: SimulatorOptions, universe: Universe) -> int:
    """Return how many levels a side order books have at most; 0 without order books."""
    return min(options.book_levels or universe.book_levels, universe.book_levels) if options.books else 0

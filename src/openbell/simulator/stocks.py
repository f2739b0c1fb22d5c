"""A made-up stock market, spoken in AllTick's dialect or as plain batches of ticks."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator import alltick, ticks
from openbell.simulator.clock import MS, NS, Clock
from openbell.simulator.floor import Client, Floor
from openbell.simulator.grid import Ints
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.pace import PROFILES, OpeningPace, Pace, SteadyPace
from openbell.simulator.tally import MarketOracle
from openbell.simulator.trading import TradeBlock, TradingDay
from openbell.simulator.universe import UNIVERSES, Universe
from openbell.simulator.venue import Events, Lane, Levels
from openbell.simulator.writer import Writer


class TradeLane:
    """The lane of trades; a client's key is the symbol itself.

    Parameters
    ----------
    symbols : sequence of str
    writer : Writer
        Of the columns of a `TradeBlock`, and ``time``.
    clock : Clock
    oracle : MarketOracle
    """

    def __init__(self, symbols: Sequence[str], writer: Writer, clock: Clock, oracle: MarketOracle) -> None:
        self._index = {code: index for index, code in enumerate(symbols)}
        self._writer, self._clock, self._oracle = writer, clock, oracle

    def interest(self, client: Client) -> Levels:
        """See `Lane.interest`; a code that is not in the universe is ignored, as the vendor does."""
        levels = np.zeros(len(self._index), dtype=np.int16)
        levels[[self._index[code] for code in client.keys if code in self._index]] = 1
        return levels

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """See `Lane.encode`."""
        assert isinstance(events, TradeBlock)
        columns = {
            "symbol": events.symbol,
            "sequence": events.sequence,
            "time": self._clock.told(events.intended_ns),
            "price": events.price,
            "volume": events.volume,
            "turnover": events.turnover,
            "side": events.side,
        }
        return self._writer.frames(columns, chosen)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        assert isinstance(events, TradeBlock)
        self._oracle.apply_trades(events, sent)


class StockVenue:
    """A whole stock market, in the dialect asked for.

    Parameters
    ----------
    options : SimulatorOptions
    """

    def __init__(self, options: SimulatorOptions) -> None:
        universe = UNIVERSES[options.universe]
        self._ticks = options.dialect == "ticks"
        self.vendor = options.dialect
        self.path = ticks.PATH if self._ticks else alltick.PATH
        self.symbols = universe.symbols(options.symbols)
        self.streams = self.symbols
        open_ms = options.open_ms or time.time_ns() // MS
        self.clock = Clock(open_ms * MS, NS if self._ticks or options.stamp_ns else MS)
        self.oracle = MarketOracle(self.symbols, universe.decimals, self.clock)
        group = options.frame_ticks if self._ticks else options.join
        speech = ticks if self._ticks else alltick
        writer = Writer(speech.trade(self.symbols, universe.decimals), speech.framing(group))
        self.lanes: tuple[Lane, ...] = (TradeLane(self.symbols, writer, self.clock, self.oracle),)
        random = np.random.Generator(np.random.PCG64(options.seed))
        self._pace = _pace(options, universe, len(self.symbols), random)
        self._day = TradingDay(universe, self.symbols, random, self._pace, group)

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Venue.admit`."""
        return ticks.admit(request, floor, self.symbols) if self._ticks else alltick.admit(request, floor)

    def next_block(self) -> tuple[Events, ...]:
        """See `Venue.next_block`."""
        return (self._day.next_block(),)

    def expected(self, within_ns: int) -> float:
        """See `Venue.expected`."""
        return self._pace.expected(within_ns)


def _pace(options: SimulatorOptions, universe: Universe, symbols: int, random: np.random.Generator) -> Pace:
    if options.profile == "open":
        return OpeningPace(PROFILES[universe.name], options.scale, random)
    return SteadyPace(symbols, options.rate * options.scale, random)

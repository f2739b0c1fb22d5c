"""A made-up market, spoken in one of the dialects of relays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator.clock import Clock
from openbell.simulator.figures import FigureBlock, Figures
from openbell.simulator.floor import Client, Floor
from openbell.simulator.grid import Ints
from openbell.simulator.lanes import trade_columns
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.oracle import Row
from openbell.simulator.relays import PATH, RELAYS, Relay, admit
from openbell.simulator.stocks import market_clock, market_pace
from openbell.simulator.tally import MarketOracle, grouped
from openbell.simulator.trading import TradingDay
from openbell.simulator.universe import UNIVERSES, Universe
from openbell.simulator.venue import Events, Lane, Levels
from openbell.simulator.writer import Writer


class RelayOracle(MarketOracle):
    """States what comes of what such a dialect says, and of nothing that it leaves out.

    Parameters
    ----------
    relay : Relay
    symbols : sequence of str
        As the dialect spells them.
    universe : Universe
    clock : Clock
    cumulative : bool
        Volumes are those of the day so far.
    """

    def __init__(
        self, relay: Relay, symbols: Sequence[str], universe: Universe, clock: Clock, cumulative: bool
    ) -> None:
        super().__init__(symbols, universe, clock)
        self._relay = relay
        self._cumulative = cumulative
        self._running = cumulative or relay.sends("reference")

    def apply_figures(self, block: FigureBlock, sent: Levels) -> None:
        """Apply those events of a block for which `sent` is not 0."""
        if not self._running:
            self.apply_trades(block.trades, sent)
            return
        chosen = np.flatnonzero(sent)
        if not len(chosen):
            return
        self.counts.sent += len(chosen)
        self.counts.tickers += len(chosen)
        chosen, first, ends = grouped(block.symbol, chosen)
        row, last = block.symbol[chosen[first]], chosen[ends - 1]
        price = block.trades.price[chosen]
        self._range(row, price[first], np.maximum.reduceat(price, first), np.minimum.reduceat(price, first))
        self._last[row], self._time[row] = block.trades.price[last], self._clock.told(block.intended_ns[last])
        # Running figures are assigned, and count no trades.
        if self._cumulative:
            self._volume[row] = block.total[last]
        if self._relay.sends("reference"):
            self._reference[row] = block.reference[last]

    def _traded(self, i: int) -> Row:
        row = super()._traded(i)
        absent = ["trade_sequence"]
        if not self._relay.sends("time"):
            absent.append("trade_exchange_ns")
        if not self._relay.sends("volume"):
            absent += ["size", "volume", "turnover"]
        return row | dict.fromkeys(absent, 0)


class FigureLane:
    """The lane of such a dialect's events; a client's key is the symbol itself.

    Parameters
    ----------
    symbols : sequence of str
    writer : Writer
        Of the columns of a trade, and ``total`` and ``reference``.
    clock : Clock
    oracle : RelayOracle
    """

    def __init__(self, symbols: Sequence[str], writer: Writer, clock: Clock, oracle: RelayOracle) -> None:
        self._index = {symbol: index for index, symbol in enumerate(symbols)}
        self._writer, self._clock, self._oracle = writer, clock, oracle

    def interest(self, client: Client) -> Levels:
        """See `Lane.interest`."""
        levels = np.zeros(len(self._index), dtype=np.int16)
        levels[[self._index[key] for key in client.keys]] = 1
        return levels

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """See `Lane.encode`."""
        assert isinstance(events, FigureBlock)
        columns = trade_columns(events.trades, self._clock)
        return self._writer.frames(columns | {"total": events.total, "reference": events.reference}, chosen)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        assert isinstance(events, FigureBlock)
        self._oracle.apply_figures(events, sent)


class RelayVenue:
    """A whole market, in a dialect of relays.

    Parameters
    ----------
    options : SimulatorOptions

    Raises
    ------
    ConfigError
        The universe has not so many symbols.
    """

    path = PATH

    def __init__(self, options: SimulatorOptions) -> None:
        universe, relay = UNIVERSES[options.universe], RELAYS[options.dialect]
        codes = universe.symbols(options.symbols)
        self._relay = relay
        self.vendor = relay.name
        self.symbols = [relay.spell(code) for code in codes]
        self.streams = self.symbols
        self._known = frozenset(self.symbols)
        self.clock = market_clock(options)
        self.oracle = RelayOracle(relay, self.symbols, universe, self.clock, options.cumulative)
        event = relay.event(self.symbols, universe.decimals, universe.volume_decimals, options.cumulative)
        writer = Writer(event, relay.framing(options.frame_ticks))
        self.lanes: tuple[Lane, ...] = (FigureLane(self.symbols, writer, self.clock, self.oracle),)
        random = np.random.Generator(np.random.PCG64(options.seed))
        self._pace = market_pace(options, universe, len(codes), random)
        # The market's own conventions go by the exchange, which not every dialect names.
        self._day = TradingDay(universe, codes, random, self._pace, options.frame_ticks, 0)
        self._figures = Figures(len(codes))

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Venue.admit`."""
        return admit(request, floor, self._relay, self._known)

    def next_block(self) -> tuple[Events, ...]:
        """See `Venue.next_block`."""
        trades, _ = self._day.next_block()
        return (self._figures.take(trades),)

    def expected(self, within_ns: int) -> float:
        """See `Venue.expected`."""
        return self._pace.expected(within_ns)

"""A made-up market, spoken in Binance's dialect: trades, best bids and offers, and running figures once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator import binance
from openbell.simulator.binance import BinanceClient
from openbell.simulator.books import BookBlock
from openbell.simulator.clock import Clock
from openbell.simulator.floor import Client, Floor
from openbell.simulator.grid import Ints
from openbell.simulator.lanes import trade_columns
from openbell.simulator.numbering import Numbers
from openbell.simulator.options import SimulatorOptions
from openbell.simulator.parts import Framing, Number, Part, Text
from openbell.simulator.stocks import market_clock, market_pace
from openbell.simulator.tally import MarketOracle
from openbell.simulator.tickers import TickerBlock, Tickers
from openbell.simulator.trading import TradeBlock, TradingDay
from openbell.simulator.universe import UNIVERSES, Universe
from openbell.simulator.venue import Events, Lane, Levels
from openbell.simulator.writer import Writer

Columns = Mapping[str, npt.NDArray[np.int64 | np.intp]]

# A client's connection gives it messages with the stream's envelope, or without. The two are told apart by the number
# that says that a symbol is wanted.
_COMBINED, _RAW = 1, 2
ALL_TICKERS = "!miniTicker@arr"


class StreamLane:
    """The lane of one channel, ``<symbol>@<channel>``.

    Parameters
    ----------
    symbols : sequence of str
    channel : str
    event : sequence of Part
        A message without its envelope.
    columns : callable
        Returns what a message may say, a row an event of the block.
    apply : callable
        Tells the oracle.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        channel: str,
        event: Sequence[Part],
        columns: Callable[[Events], Columns],
        apply: Callable[[Events, Levels], None],
    ) -> None:
        self._index = {f"{symbol.lower()}@{channel}": index for index, symbol in enumerate(symbols)}
        names = Text("symbol", [symbol.lower().encode() for symbol in symbols])
        envelope = (b'{"stream":"', names, f'@{channel}","data":'.encode(), *event, b"}")
        self._writers = {_COMBINED: Writer(envelope, Framing()), _RAW: Writer(event, Framing())}
        self._columns, self._apply = columns, apply

    def interest(self, client: Client) -> Levels:
        """See `Lane.interest`."""
        levels = np.zeros(len(self._index), dtype=np.int16)
        levels[[self._index[key] for key in client.keys if key in self._index]] = _form(client)
        return levels

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """See `Lane.encode`."""
        return self._writers[int(interest.max())].frames(self._columns(events), chosen)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        self._apply(events, sent)


class ArrayLane:
    """The lane of ``!miniTicker@arr``: once a second an array of all symbols that traded in it.

    Parameters
    ----------
    symbols : int
    event : sequence of Part
        An entry of the array.
    columns, apply : callable
        See `StreamLane`.
    """

    def __init__(
        self,
        symbols: int,
        event: Sequence[Part],
        columns: Callable[[Events], Columns],
        apply: Callable[[Events, Levels], None],
    ) -> None:
        self._symbols = symbols
        opening = f'{{"stream":"{ALL_TICKERS}","data":['.encode()
        # No second has more entries than there are symbols.
        self._writers = {
            _COMBINED: Writer(event, Framing(opening, b",", b"]}", symbols)),
            _RAW: Writer(event, Framing(b"[", b",", b"]", symbols)),
        }
        self._columns, self._apply = columns, apply

    def interest(self, client: Client) -> Levels:
        """See `Lane.interest`."""
        return np.full(self._symbols, _form(client) if ALL_TICKERS in client.keys else 0, dtype=np.int16)

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """See `Lane.encode`; whoever wants one symbol of this wants all."""
        writer, frames, offsets, size = self._writers[int(interest.max())], [], [np.zeros(1, dtype=np.int64)], 0
        columns = self._columns(events)
        for end in np.unique(events.intended_ns):
            second = events.intended_ns == end
            part, found = writer.frames(
                {name: np.ascontiguousarray(values[second]) for name, values in columns.items()},
                np.arange(np.count_nonzero(second)),
            )
            frames.append(part)
            offsets.append(found[1:] + size)
            size += len(part)
        return b"".join(frames), np.concatenate(offsets)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        self._apply(events, sent)


class CoinVenue:
    """A whole market in Binance's dialect.

    Parameters
    ----------
    options : SimulatorOptions

    Raises
    ------
    ConfigError
        The universe has not so many symbols.
    """

    vendor = "binance"
    path = binance.PATH

    def __init__(self, options: SimulatorOptions) -> None:
        universe = UNIVERSES[options.universe]
        self._rules = options.rules
        self.symbols = universe.symbols(options.symbols)
        channels = ["trade", *(["bookTicker"] if options.books else [])]
        self.streams = [f"{symbol.lower()}@{channel}" for channel in channels for symbol in self.symbols]
        self.clock = market_clock(options)
        self.oracle = MarketOracle(self.symbols, universe, self.clock)
        self._books = options.books
        self._numbers = Numbers(len(self.symbols))
        self._tickers = Tickers(len(self.symbols))
        self.lanes = _lanes(self.symbols, universe, self.clock, self.oracle, options.books)
        random = np.random.Generator(np.random.PCG64(options.seed))
        self._pace = market_pace(options, universe, len(self.symbols), random)
        self._day = TradingDay(universe, self.symbols, random, self._pace, book_levels=int(options.books))

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """See `Venue.admit`."""
        return binance.admit(request, floor, self._rules)

    def next_block(self) -> tuple[Events, ...]:
        """See `Venue.next_block`."""
        trades, books = self._day.next_block()
        if self._books:
            # A day numbers trades and books together; at this venue trades have numbers of their own.
            trades = replace(trades, sequence=self._numbers.next(trades.symbol))
        tickers = self._tickers.take(trades, max(int(run.intended_ns[-1]) for run in (trades, books) if len(run)))
        # Every trade is an aggregate of itself.
        return (trades, trades, tickers, tickers, *((books,) if self._books else ()))

    def expected(self, within_ns: int) -> float:
        """See `Venue.expected`."""
        return self._pace.expected(within_ns)


def _lanes(
    symbols: Sequence[str], universe: Universe, clock: Clock, oracle: MarketOracle, books: bool
) -> tuple[Lane, ...]:
    def trades(events: Events) -> Columns:
        assert isinstance(events, TradeBlock)
        return trade_columns(events, clock)

    def apply_trades(events: Events, sent: Levels) -> None:
        assert isinstance(events, TradeBlock)
        oracle.apply_trades(events, sent)

    def tickers(events: Events) -> Columns:
        assert isinstance(events, TickerBlock)
        names = ("symbol", "close", "open", "high", "low", "volume", "turnover")
        return {name: getattr(events, name) for name in names} | {"time": clock.told(events.intended_ns)}

    def apply_tickers(events: Events, sent: Levels) -> None:
        assert isinstance(events, TickerBlock)
        oracle.apply_tickers(events, sent)

    def quotes(events: Events) -> Columns:
        assert isinstance(events, BookBlock)
        found = events.books(np.arange(len(events)))
        best = {
            name: np.ascontiguousarray(getattr(found, name)[:, 0])
            for name in ("bid_price", "bid_volume", "ask_price", "ask_volume")
        }
        return {"symbol": events.symbol, "sequence": events.sequence, **best}

    def apply_quotes(events: Events, sent: Levels) -> None:
        assert isinstance(events, BookBlock)
        oracle.apply_books(events, sent, quotes=True)

    trade, aggregate, ticker, quote = _events(symbols, universe)
    lanes: tuple[Lane, ...] = (
        StreamLane(symbols, "trade", trade, trades, apply_trades),
        StreamLane(symbols, "aggTrade", aggregate, trades, apply_trades),
        StreamLane(symbols, "miniTicker", ticker, tickers, apply_tickers),
        ArrayLane(len(symbols), ticker, tickers, apply_tickers),
    )
    return (*lanes, StreamLane(symbols, "bookTicker", quote, quotes, apply_quotes)) if books else lanes


def _events(symbols: Sequence[str], universe: Universe) -> tuple[tuple[Part, ...], ...]:
    """Return a trade, an aggregate trade, a mini ticker and a book ticker, keys in the documented order."""
    price, volume = universe.decimals, universe.volume_decimals
    name = Text("symbol", [symbol.encode() for symbol in symbols])
    # The taker is the aggressor: the buyer was the maker if the seller was.
    maker = Text("side", [b"false", b"false", b"true"])
    size = (Number("price", price), b'","q":"', Number("volume", volume))
    end = (b',"T":', Number("time"), b',"m":', maker, b',"M":true}')
    trade = (b',"s":"', name, b'","t":', Number("sequence"), b',"p":"', *size, b'"', *end)
    aggregate = (
        *(b',"s":"', name, b'","a":', Number("sequence"), b',"p":"', *size),
        *(b'","f":', Number("sequence"), b',"l":', Number("sequence"), *end),
    )
    ticker = (
        *(b'{"e":"24hrMiniTicker","E":', Number("time"), b',"s":"', name),
        *(b'","c":"', Number("close", price), b'","o":"', Number("open", price)),
        *(b'","h":"', Number("high", price), b'","l":"', Number("low", price)),
        *(b'","v":"', Number("volume", volume), b'","q":"', Number("turnover", price + volume), b'"}'),
    )
    quote = (
        *(b'{"u":', Number("sequence"), b',"s":"', name),
        *(b'","b":"', Number("bid_price", price), b'","B":"', Number("bid_volume", volume)),
        *(b'","a":"', Number("ask_price", price), b'","A":"', Number("ask_volume", volume), b'"}'),
    )
    return (
        (b'{"e":"trade","E":', Number("time"), *trade),
        (b'{"e":"aggTrade","E":', Number("time"), *aggregate),
        ticker,
        quote,
    )


def _form(client: Client) -> int:
    assert isinstance(client, BinanceClient)
    return _RAW if client.raw else _COMBINED

"""The lanes of a stock market: its trades, and its order books."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openbell.simulator.alltick import AllTickClient
from openbell.simulator.books import BookBlock
from openbell.simulator.clock import Clock
from openbell.simulator.floor import Client
from openbell.simulator.grid import Ints
from openbell.simulator.tally import MarketOracle
from openbell.simulator.trading import TradeBlock
from openbell.simulator.venue import Events, Levels
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
        return self._writer.frames(trade_columns(events, self._clock), chosen)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        assert isinstance(events, TradeBlock)
        self._oracle.apply_trades(events, sent)


def trade_columns(events: TradeBlock, clock: Clock) -> dict[str, npt.NDArray[np.int64 | np.intp]]:
    """Return what a message about a trade may say."""
    return {
        "symbol": events.symbol,
        "sequence": events.sequence,
        "time": clock.told(events.intended_ns),
        "price": events.price,
        "volume": events.volume,
        "turnover": events.turnover,
        "side": events.side,
    }


class BookLane:
    """The lane of AllTick's order books; a client has a depth for every code it asked for.

    Parameters
    ----------
    symbols : sequence of str
    writer : Writer
        Of the columns of a `Book`, and ``symbol``, ``sequence``, ``time``.
    clock : Clock
    oracle : MarketOracle
    levels : int
        Of a side, at most; whoever asks for more gets these.
    group : int
        So many consecutive books share a frame.
    """

    def __init__(
        self, symbols: Sequence[str], writer: Writer, clock: Clock, oracle: MarketOracle, levels: int, group: int
    ) -> None:
        self._index = {code: index for index, code in enumerate(symbols)}
        self._writer, self._clock, self._oracle = writer, clock, oracle
        self._levels, self._group = levels, group

    def interest(self, client: Client) -> Levels:
        """See `Lane.interest`."""
        assert isinstance(client, AllTickClient)
        levels = np.zeros(len(self._index), dtype=np.int16)
        for code, depth in client.depths.items():
            if code in self._index:
                levels[self._index[code]] = min(depth, self._levels)
        return levels

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """See `Lane.encode`."""
        assert isinstance(events, BookBlock)
        # Levels are made of those books only that are written; what shares frames is counted in the whole block.
        rows = chosen if self._group == 1 else np.arange(len(events))
        books, levels = events.books(rows), interest[events.symbol[rows]]
        columns = {
            "symbol": events.symbol[rows],
            "sequence": events.sequence[rows],
            "time": self._clock.told(events.intended_ns[rows]),
            "bids": np.minimum(books.bids, levels),
            "bid_price": books.bid_price,
            "bid_volume": books.bid_volume,
            "asks": np.minimum(books.asks, levels),
            "ask_price": books.ask_price,
            "ask_volume": books.ask_volume,
        }
        return self._writer.frames(columns, np.arange(len(chosen)) if self._group == 1 else chosen)

    def apply(self, events: Events, sent: Levels) -> None:
        """See `Lane.apply`."""
        assert isinstance(events, BookBlock)
        self._oracle.apply_books(events, sent)

"""An asyncio strategy on some symbols: it reacts to every trade, and survives restarts of the feed.

    python examples/strategy_async.py cn 600519.SH 000001.SZ
    python examples/strategy_async.py cn                      # the 50 most traded symbols

It buys (on paper) when a price breaks out above the highest of its last 20 trades. Put your orders where it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import defaultdict, deque

import openbell

WINDOW = 20


class Breakout:
    """The strategy: knows nothing of feeds, and so can be tested, and fed from anywhere."""

    def __init__(self) -> None:
        self.prices: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def on_trade(self, symbol: str, price: float) -> bool:
        """Return whether to buy."""
        seen = self.prices[symbol]
        breaks_out = len(seen) == WINDOW and price > max(seen)
        seen.append(price)
        return breaks_out

    def on_gap(self, symbol: str | None) -> None:
        """Forget what may not be true any more: of one symbol, or of all."""
        if symbol is None:
            self.prices.clear()
        else:
            self.prices.pop(symbol, None)


def most_traded(market: openbell.Market, count: int = 50) -> list[str]:
    """Return the symbols with the greatest turnover."""
    snapshot = market.snapshot(columns=["turnover"])
    order = (-snapshot.turnover).argsort()[:count]
    return [snapshot.symbols[place] for place in order]


async def main(feed: str, symbols: list[str]) -> None:
    """Follow until Ctrl-C."""
    # With `reattach`, a restart of the feed is a gap in the stream, and not the end of it: `async for` waits meanwhile.
    with openbell.attach(feed, reattach=True) as market:
        strategy = Breakout()
        with market.ticks(symbols or most_traded(market), kinds=["trade"]) as ticks:
            async for tick in ticks:
                if tick.gap is not None:
                    print(f"gap: {tick.gap.reason.name}, {tick.gap.count or 'unknown'} of {tick.symbol or 'all'}")
                    strategy.on_gap(tick.symbol)
                elif tick.symbol and tick.price and strategy.on_trade(tick.symbol, tick.price):
                    print(f"buy {tick.symbol} at {tick.price:,.2f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} FEED [SYMBOL]...")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except openbell.OpenBellError as error:
        sys.exit(f"strategy_async: {error}")

"""Top movers and volume anomalies of a running feed, once a second.

    python examples/scanner.py cn
    python examples/scanner.py cn --top 5 --interval 0.5

Each look is one consistent copy of the columns that it needs; the feed does not notice. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

import numpy as np

import openbell
from openbell.market import Market

# Against the previous close, or where the vendor tells none, against the session's first price.
MOVE = "change_pct"
MOVE_SINCE_OPEN = "(last / open - 1) * 100"


def look(market: Market, top: int) -> str:
    """Return what is to be seen now."""
    # One copy for both lists, so that they speak of the same instant. Derived columns are named to be taken with it.
    now = market.snapshot(columns=("last", "open", "turnover", "change_pct", "volume_z", "staleness"))
    move = MOVE if np.isfinite(now.change_pct).any() else MOVE_SINCE_OPEN
    movers = now.scan("last > 0 and staleness < 60", sort=f"abs({move})", top=top)
    unusual = now.scan("volume_z > 3 and turnover > 0", sort="volume_z", top=top)
    change = movers.change_pct if move is MOVE else (movers.last / movers.open - 1) * 100
    lines = [f"{len(now.symbols):,} symbols"]
    lines += [f"  mover   {symbol:<12} {each:+8.2f} %" for symbol, each in zip(movers.symbols, change, strict=True)]
    for symbol, each in zip(unusual.symbols, unusual.volume_z, strict=True):
        lines.append(f"  volume  {symbol:<12} {each:+8.1f} standard deviations")
    return "\n".join(lines)


def main() -> int:
    """Look once a second until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Top movers and volume anomalies of a running feed, once a second.")
    parser.add_argument("feed")
    parser.add_argument("--top", type=int, default=10, help="rows of each list")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds from one look to the next")
    parser.add_argument("--looks", type=int, default=0, help="end after so many looks")
    options = parser.parse_args()
    if options.top < 1 or options.interval < 0:
        parser.error("--top is 1 at least, --interval 0 at least")
    try:
        with openbell.attach(options.feed) as market:
            for number in itertools.count(1):
                print(look(market, options.top), flush=True)
                if number == options.looks:
                    return 0
                time.sleep(options.interval)
    except openbell.OpenBellError as error:
        print(f"scanner: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

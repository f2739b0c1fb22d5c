"""A live writer: ``python -m benchmarks.scan.writing DIRECTORY GENERATION SYMBOLS RATE`` quotes until stdin ends."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.scan.market import Writer, opening
from openbell.memory.generation import Generation
from openbell.record import Kind

_STEP_S = 0.005


def main(arguments: list[str]) -> None:
    """Write `RATE` quotes a second, in steps of 5 ms, of all symbols in turn."""
    directory, number, symbols, rate = Path(arguments[0]), *map(int, arguments[1:])
    writer = Writer(Generation(directory, number), symbols)
    quotes = [each for each in opening(symbols) if each[1] is Kind.QUOTE]
    at = 0

    def step() -> Iterator[tuple[int, Kind, tuple[float, float, float, float]]]:
        nonlocal at
        for _ in range(round(rate * _STEP_S)):
            # A stride that is prime to the number of symbols: neighbours are not written together.
            at = (at + 7919) % len(quotes)
            yield quotes[at]

    print("writing", flush=True)
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        writer.write(step())
        due = max(due + _STEP_S, time.monotonic() - 0.1)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Insert symbols into a shared table: ``symbols TABLE LOCK SEED FIRST COUNT``, in an order of its own.

Prints ``{"ready": pid}``, waits for a line, inserts, and prints ``{"rows": {symbol: row}}``. With COUNT 0 it inserts
for ever.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from pathlib import Path

from corelab.memory import attached
from openbell.core.symbols import SymbolTable


def symbol(number: int) -> bytes:
    """Return a symbol of 3 to 31 bytes, another one for each number."""
    return f"S{number}-{'x' * (number % 23)}".encode()


def main() -> None:
    path, lock, seed, first, count = sys.argv[1:]
    table = SymbolTable(attached(Path(path)), lock)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    sys.stdin.readline()
    if not int(count):
        for number in itertools.count(int(first)):
            table.insert(symbol(number))
    numbers = list(range(int(first), int(first) + int(count)))
    random.Random(int(seed)).shuffle(numbers)
    rows = {symbol(number).decode(): table.insert(symbol(number)) for number in numbers}
    print(json.dumps({"rows": rows}), flush=True)


if __name__ == "__main__":
    main()

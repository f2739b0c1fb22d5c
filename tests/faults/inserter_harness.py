"""A process that inserts symbols and says after each which row it was given."""

from __future__ import annotations

import sys
from pathlib import Path

from faults.shared import Shared


def main(directory: str, prefix: str) -> None:
    table = Shared(Path(directory)).table()
    for number in range(6):
        key = f"{prefix}{number}"
        print(key, table.insert(key.encode()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

"""What a made-up market can speak, for the help of commands.

Named here, too: asking the simulator would cost every command the time to import it. A test compares the two.
"""

from typing import Final

DIALECTS: Final = (
    *("alltick", "ticks", "binance"),
    *("symbol-array", "symbol-text", "symbol-wildcard", "symbol-query", "command-code"),
)

"""What is left out of a list, counted, with the first few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from openbell.printable import printable, word

EXAMPLES: Final = 5
"""How many a message names; it counts the rest."""


@dataclass(slots=True)
class LeftOut:
    """What was left out for one reason.

    Attributes
    ----------
    count : int
        How many entries.
    examples : list of str
        The first few, fit to be shown.
    separator : str
        What stands between two of them.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)
    separator: str = ", "

    def add(self, symbol: str) -> None:
        """Count one, given as the list has it; empty: there is nothing to name."""
        self.tell(word(symbol))

    def tell(self, sentence: str) -> None:
        """Count one that a sentence is about."""
        self.count += 1
        if sentence and len(self.examples) < EXAMPLES:
            self.examples.append(printable(sentence))

    def __str__(self) -> str:
        if not self.examples:
            return ""
        more = f"{self.separator}and {self.count - len(self.examples):,} more"
        return self.separator.join(self.examples) + (more if self.count > len(self.examples) else "")

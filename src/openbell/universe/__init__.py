"""Which symbols a source asks for: lists are fetched, read, narrowed and spelled here, and read again on a schedule."""

from openbell.universe.gathering import gather
from openbell.universe.narrowing import EXAMPLES, LeftOut, Selection, few, narrow

__all__ = ["EXAMPLES", "LeftOut", "Selection", "few", "gather", "narrow"]

"""Which symbols a source asks for: lists are fetched, read, narrowed and spelled here, and read again on a schedule."""

from openbell.universe.gathering import gather
from openbell.universe.narrowing import EXAMPLES, LeftOut, Selection, narrow

__all__ = ["EXAMPLES", "LeftOut", "Selection", "gather", "narrow"]

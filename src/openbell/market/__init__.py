"""What users import: a running feed's market, read-only, from any process."""

from openbell.market.attach import attach
from openbell.market.bars import Bars
from openbell.market.book import Book
from openbell.market.changes import Changes
from openbell.market.derived import DERIVED
from openbell.market.expression import Expression
from openbell.market.market import Market
from openbell.market.row import Row
from openbell.market.snapshot import Snapshot
from openbell.market.tick import Gap, Tick
from openbell.market.ticks import Ticks
from openbell.record import GapReason, Kind

__all__ = [
    "DERIVED",
    "Bars",
    "Book",
    "Changes",
    "Expression",
    "Gap",
    "GapReason",
    "Kind",
    "Market",
    "Row",
    "Snapshot",
    "Tick",
    "Ticks",
    "attach",
]

"""The verdict: a snapshot against what the simulator's oracle says a correct handler must hold.

Every row and every column is judged. Sums (volume, turnover) may differ by rounding, because adding floats in
another order rounds otherwise; everything else must be equal to the last bit, and NaN (nothing arrived) equals NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from openbell.errors import OpenBellError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from openbell.market import Snapshot

    Column = npt.NDArray[np.float64] | npt.NDArray[np.int64]

SUM_TOLERANCE = 1e-9
"""Relative; a day's sum of a million prices rounds at about 1e-12."""

EXACT = (
    *("last", "size", "open", "high", "low", "trades", "trade_exchange_ns", "trade_sequence"),
    *("bid", "bid_size", "ask", "ask_size", "quote_exchange_ns", "quote_sequence"),
)
"""Columns the oracle states, to the last bit."""

SUMS = ("volume", "turnover")
"""Columns the oracle states, to `SUM_TOLERANCE`."""

SHOWN = 10


class OracleError(OpenBellError):
    """Say that what the simulator stated cannot be read."""


class Counts(msgspec.Struct, frozen=True):
    """What the simulator sent."""

    sent: int
    trades: int
    quotes: int
    ignored: int
    other: int


class Oracle(msgspec.Struct, frozen=True):
    """What the simulator states.

    Attributes
    ----------
    counts : Counts
        Messages sent.
    rows : dict of str to dict
        A row for every symbol that anything was applied to; None stands for NaN.
    """

    counts: Counts
    rows: dict[str, dict[str, int | float | None]]

    @classmethod
    def load(cls, path: Path) -> Oracle:
        """Read the oracle's file.

        Raises
        ------
        OracleError
            There is none, or it is not what a simulator of this version writes.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise OracleError(f"{path}: the oracle cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise OracleError(f"{path}: this is no oracle's statement: {error}") from error


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it must be."""

    symbol: str
    column: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.symbol} {self.column}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a comparison.

    Attributes
    ----------
    rows, columns : int
        How much was compared.
    excused : int
        Rows that were not compared, because they tell a gap; only that they have no trade too many was.
    missing_trades : int
        Trades that those rows lack.
    wrong : int
        Values that are not what they must be.
    first : tuple of Difference
        The first `SHOWN` of them, by symbol.
    """

    rows: int
    columns: int
    wrong: int
    first: tuple[Difference, ...]
    excused: int = 0
    missing_trades: int = 0

    @property
    def matches(self) -> bool:
        """Whether every value is what it must be."""
        return self.wrong == 0


def compare(
    oracle: Oracle, snapshot: Snapshot, *, excuse_gaps: bool = False, gaps: Mapping[str, int] | None = None
) -> Verdict:
    """Compare a snapshot with what the oracle states.

    Parameters
    ----------
    oracle : Oracle
    snapshot : Snapshot
        Of a feed that is at rest.
    excuse_gaps : bool
        Leave out rows that tell a gap: for a feed that may drop events, and says where. Otherwise a gap is wrong.
    gaps : mapping of str to int, optional
        How many gaps each symbol's row must tell, exactly; None: none.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        The snapshot has a column that no rule here judges, or lacks one: the verdict would be worth less than it says.

    Notes
    -----
    What the oracle does not state is judged by its rule: no gap was seen, nothing has a session, a status or (unless
    the oracle states some) a previous close; levels of a book that no row states are empty; a row has a receive time
    and a last position exactly if something was applied to it; and none was caught in the middle of an update.
    """
    import numpy as np

    book = tuple(name for name in snapshot if name.startswith(_BOOK))
    rules = dict(_RULES)
    if any("prev_close" in row for row in oracle.rows.values()):
        del rules["prev_close"]
    stated = (*EXACT, *SUMS, *book, *(["prev_close"] if "prev_close" not in rules else []))
    if gaps is not None:
        del rules["gaps"]
    judged = {*stated, *rules, "gaps"}
    if judged != set(snapshot):
        raise ValueError(f"columns that are not judged, or are missing: {sorted(judged ^ set(snapshot))}")
    symbols = snapshot.symbols
    judging = snapshot["gaps"] == 0 if excuse_gaps else np.ones(len(symbols), dtype=np.bool_)
    missing = [Difference(symbol, "row", "a row", "none") for symbol in oracle.rows.keys() - set(symbols)]
    differences = list(missing)
    if snapshot.undone:
        differences.append(Difference("", "rows in the middle of an update", 0, snapshot.undone))
    touched = np.array([symbol in oracle.rows for symbol in symbols], dtype=np.bool_)
    for name in stated:
        found = snapshot[name]
        expected = _expected(oracle, symbols, name, found.dtype)
        differences += _different(symbols, name, expected, found, _equal(name, expected, found) | ~judging)
    for name, rule in rules.items():
        found = snapshot[name]
        right = {"zero": found == 0, "nan": np.isnan(found), "if touched": (found > 0) == touched}[rule]
        differences += _different(symbols, name, np.full(len(symbols), _WORDS[rule]), found, right | ~judging)
    if gaps is not None:
        told = np.array([gaps.get(symbol, 0) for symbol in symbols], dtype=np.int64)
        differences += _different(symbols, "gaps", told, snapshot["gaps"], snapshot["gaps"] == told)
    lacking = _expected(oracle, symbols, "trades", snapshot["trades"].dtype) - snapshot["trades"]
    # A gap explains what is missing, and nothing that is there too often.
    differences += _different(
        symbols, "trades", lacking + snapshot["trades"], snapshot["trades"], (lacking >= 0) | judging
    )
    differences.sort(key=lambda difference: difference.symbol)
    excused = len(symbols) - int(np.count_nonzero(judging))
    return Verdict(
        rows=len(symbols) + len(missing) - excused,
        columns=len(judged),
        wrong=len(differences),
        first=tuple(differences[:SHOWN]),
        excused=excused,
        missing_trades=int(lacking[~judging].sum()),
    )


_RULES = {
    "prev_close": "nan",
    "receive_ns": "if touched",
    "updated": "if touched",
    "session": "zero",
    "gaps": "zero",
    "repaired": "zero",
    "status": "zero",
}
_BOOK = ("book_bid_", "book_ask_")
_OPTIONAL = (*_BOOK, "prev_close")
_WORDS = {"zero": "0", "nan": "nan", "if touched": "above 0 if and only if events came"}


def _expected(oracle: Oracle, symbols: Sequence[str], name: str, dtype: np.dtype[Any]) -> Column:
    import numpy as np

    price = name in ("last", "open", "high", "low", "bid", "ask", "prev_close")
    price = price or (name.startswith(_BOOK) and "size" not in name)
    empty: float | int = np.nan if price else 0
    expected = np.full(len(symbols), empty, dtype=dtype)
    for index, symbol in enumerate(symbols):
        if (row := oracle.rows.get(symbol)) is not None:
            if name not in row:
                if name.startswith(_OPTIONAL):
                    continue
                raise OracleError(f"the oracle states no {name} for {symbol}")
            value = row[name]
            expected[index] = np.nan if value is None else value
    return expected


def _equal(name: str, expected: Column, found: Column) -> npt.NDArray[np.bool_]:
    import numpy as np

    if name in SUMS:
        right: npt.NDArray[np.bool_] = np.abs(found - expected) <= SUM_TOLERANCE * np.abs(expected)
        return right
    both_empty = np.isnan(expected) & np.isnan(found)
    same: npt.NDArray[np.bool_] = (expected == found) | both_empty
    return same


def _different(
    symbols: Sequence[str], name: str, expected: npt.NDArray[Any], found: Column, right: npt.NDArray[np.bool_]
) -> list[Difference]:
    import numpy as np

    wrong: list[int] = np.flatnonzero(~right).tolist()
    return [Difference(symbols[i], name, expected[i].item(), found[i].item()) for i in wrong]

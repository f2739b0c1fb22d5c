"""Columns that follow from others: what each one means, and what it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openbell.market.columns import Column, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = Mapping[str, "NDArray[Any]"]


class DerivedColumns(Columns):
    """Columns computed from others on a copy, for all symbols at once, when they are first asked for.

    All of them are float64, and NaN where anything that they are computed from is not there.
    """

    change: Column[np.float64] = Column("`last` - `prev_close`; NaN where there is no previous close.")
    change_pct: Column[np.float64] = Column("The same in per cent of `prev_close`.")
    vwap: Column[np.float64] = Column("Average price of the session, weighted by volume: `turnover` / `volume`.")
    mid: Column[np.float64] = Column("Middle of `bid` and `ask`; NaN where one of them is missing.")
    spread: Column[np.float64] = Column("`ask` - `bid`; NaN where one of them is missing.")
    spread_bps: Column[np.float64] = Column("The same in hundredths of a per cent of `mid`.")
    range_position: Column[np.float64] = Column(
        "Where `last` is in the session's range: 0 at its `low`, 1 at its `high`; NaN while those are one price."
    )
    turnover_share: Column[np.float64] = Column(
        "The symbol's part of the turnover of all symbols that the snapshot was taken of, 0 to 1; `where` and `scan` "
        "leave it as it is."
    )
    volume_z: Column[np.float64] = Column(
        "How far the volume of the last 60 s is above the average minute's of the symbol's recent bars, in their "
        "standard deviations; NaN with fewer than three of them, where they do not vary, and on a feed without bars."
    )
    staleness: Column[np.float64] = Column("Seconds from the last event's receipt to the copy; NaN before the first.")


@dataclass(frozen=True, slots=True)
class Formula:
    """How a derived column comes about.

    Attributes
    ----------
    needs : tuple of str
        Columns that it is computed from.
    compute : callable
        From those columns, all of the same length. Runs with numpy's warnings about 0 / 0 turned off.
    steps : str
        The same for the stack machine of `openbell.core.evaluate`, to the last bit: columns, numbers and operators,
        each behind what it works on.
    """

    needs: tuple[str, ...]
    compute: Callable[..., NDArray[Any]]
    steps: str


# What comes between is computed in place: arrays of a whole market that nobody sees cost more than the arithmetic.


def _mid(bid: NDArray[Any], ask: NDArray[Any]) -> NDArray[Any]:
    middle: NDArray[Any] = bid + ask
    middle *= 0.5
    return middle


def _change_pct(last: NDArray[Any], before: NDArray[Any]) -> NDArray[Any]:
    change: NDArray[Any] = last - before
    change /= before
    change *= 100.0
    return change


def _spread_bps(bid: NDArray[Any], ask: NDArray[Any]) -> NDArray[Any]:
    spread: NDArray[Any] = ask - bid
    spread /= bid + ask
    spread *= 2e4
    return spread


def _range_position(last: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    position: NDArray[Any] = last - low
    position /= high - low
    return position


FORMULAS: Final[Mapping[str, Formula]] = {
    "change": Formula(("last", "prev_close"), lambda last, before: last - before, "last prev_close -"),
    "change_pct": Formula(("last", "prev_close"), _change_pct, "last prev_close - prev_close / 100 *"),
    "vwap": Formula(("turnover", "volume"), lambda turnover, volume: turnover / volume, "turnover volume /"),
    "mid": Formula(("bid", "ask"), _mid, "bid ask + 0.5 *"),
    "spread": Formula(("bid", "ask"), lambda bid, ask: ask - bid, "ask bid -"),
    "spread_bps": Formula(("bid", "ask"), _spread_bps, "ask bid - bid ask + / 20000 *"),
    "range_position": Formula(("last", "low", "high"), _range_position, "last low - high low - /"),
}
"""Those that follow from other columns of the same symbol alone."""

WIDER: Final[Mapping[str, tuple[str, ...]]] = {
    "turnover_share": ("turnover",),
    "volume_z": (),
    "staleness": ("receive_ns",),
}
"""Those that take more than that (all symbols, the bars, the time of the copy), and the columns they need."""

DERIVED: Final[tuple[str, ...]] = tuple(
    name for name, value in vars(DerivedColumns).items() if isinstance(value, Column)
)
"""The names of all derived columns, in their order."""


def needs(name: str) -> tuple[str, ...]:
    """Return the columns of the feed that column `name` is computed from: itself, if it is one of them."""
    if name in FORMULAS:
        return FORMULAS[name].needs
    return WIDER.get(name, (name,))


def compute(name: str, values: Values) -> NDArray[Any]:
    """Return the column that formula `name` makes of `values`.

    Raises
    ------
    KeyError
        `name` is no formula, or `values` lack a column that it needs.
    """
    formula = FORMULAS[name]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return formula.compute(*(values[each] for each in formula.needs))

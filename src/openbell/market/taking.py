"""Copying rows of the market out of shared memory into a `Snapshot`."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from openbell.core import words
from openbell.errors import FeedGone, UnknownColumn
from openbell.market.bars import present, volume_z
from openbell.market.derived import DERIVED, needs
from openbell.market.scan import understand
from openbell.market.snapshot import Layout, Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.session import Session


_CHOICES_MAX = 64
"""Choices of columns remembered, for those who choose the same ones again and again."""


def names_of(wanted: Iterable[str] | str | None) -> tuple[str, ...] | None:
    """Return the names of symbols or columns that were asked for: one alone is no sequence of letters."""
    return (wanted,) if isinstance(wanted, str) else None if wanted is None else tuple(wanted)


def take(
    session: Session, symbols: tuple[str, ...] | None, columns: tuple[str, ...] | None, only_traded: bool | None
) -> Snapshot:
    """Return a consistent copy; the parameters are those of `Market.snapshot`.

    Raises
    ------
    UnknownSymbol, UnknownColumn
        There is no such symbol, or no such column.
    FeedNotFound
        The feed was stopped before all that is needed was read.
    """
    if symbols is None:
        symbols, rows, shards = session.directory.listing()
        traded = session.asked.of(symbols) if only_traded is None and session.asked.anywhere else only_traded or False
    else:
        rows, shards = _find(session, symbols)
        traded = only_traded or False
    if columns is not None and traded is not False:
        # To leave out what has not traded, its first price must be looked at, whether it was asked for or not.
        columns = (*columns, "open")
    taken = _copy(session, symbols, rows, shards, _choice(session, columns))
    if columns is not None and "volume_z" in columns:
        taken.column("volume_z")
    return taken if traded is False else taken.where(~(np.isnan(taken.open) & traded))


def scan_market(
    session: Session,
    expression: str,
    sort: str | None,
    top: int | None,
    descending: bool,
    columns: tuple[str, ...] | None,
    only_traded: bool | None,
) -> Snapshot:
    """Return a copy of the symbols for which an expression holds; the parameters are those of `Market.scan`.

    Raises
    ------
    ExpressionError, UnknownColumn, InvalidArgument
        As `Market.scan`.
    FeedNotFound
        As `take`.
    """
    known = _choice(session, None).layout.known
    terms = [understand(expression, known)]
    if sort is not None and sort != "symbol":
        terms.append(understand(sort, known))
    looked_at = frozenset[str]().union(*(each.names for each in terms))
    if columns is not None:
        columns = (*columns, *sorted(looked_at - set(columns)))
    taken = take(session, None, columns, only_traded)
    return taken.scan(terms[0], terms[-1] if len(terms) > 1 else sort, top, descending)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which columns to copy: where they are in the feed, and where in the copy."""

    indices: tuple[int, ...]
    layout: Layout
    gaps: int | None


def _choice(session: Session, columns: tuple[str, ...] | None) -> _Choice:
    """Return which columns must be copied for `columns`, in the order of the feed; all for None."""
    found = session.choices.get(columns)
    if found is None:
        if len(session.choices) >= _CHOICES_MAX:
            session.choices.clear()
        session.choices[columns] = found = _choose(session, columns)
    return found


def _choose(session: Session, columns: tuple[str, ...] | None) -> _Choice:
    public = [name for _, name in session.public]
    names = public
    if columns is not None:
        known = {*public, *DERIVED}
        for name in columns:
            if name not in known:
                raise UnknownColumn(name, (*public, *DERIVED))
        wanted = set(chain.from_iterable(map(needs, columns)))
        names = [name for name in public if name in wanted]
    levels = session.reader.book_levels if columns is None else 0
    layout = Layout.of({name: session.dtypes[name] for name in names}, levels)
    return _Choice(tuple(session.places[name] for name in names), layout, layout.places.get("gaps"))


def _find(session: Session, symbols: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    found = [session.directory.find(symbol) for symbol in symbols]
    both = np.array(found, np.intp).reshape(len(found), 2)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def _copy(
    session: Session,
    symbols: tuple[str, ...],
    rows: NDArray[np.intp],
    shards: NDArray[np.intp],
    choice: _Choice,
) -> Snapshot:
    copy = np.empty((len(choice.indices), len(symbols)), np.uint64)
    taken_ns = words.monotonic_ns() + session.control.clock_offset_ns
    undone = session.reader.copy_rows(rows.data, copy.data, choice.indices)
    if choice.gaps is not None:
        _add_gaps(session, copy[choice.gaps].view(np.int64), shards)
    volume_z = partial(_volume_z, weakref.ref(session))
    states = session.states[rows]
    return Snapshot(session.feed, symbols, rows, choice.layout, copy, taken_ns, undone, states, volume_z)


def _add_gaps(session: Session, gaps: NDArray[np.int64], shards: NDArray[np.intp]) -> None:
    """Add what interrupts a whole connection, which is counted in one row of each worker."""
    told = np.empty(len(session.feed_rows), np.int64)
    session.reader.copy_rows(session.feed_rows.data, told.data, (session.places["gaps"],))
    if told.any():
        gaps += told[shards]


def _volume_z(session: weakref.ref[Session], rows: NDArray[np.intp], taken_ns: int) -> NDArray[np.float64]:
    # Weak: whoever keeps snapshots does not want to keep the memory of feeds that are long gone.
    held = session()
    if held is None:
        raise FeedGone("the feed of this snapshot is gone, and volume_z with its bars; name it in columns= to keep it")
    reader = held.bars_reader
    if reader is None:
        return volume_z(None, rows, taken_ns)
    newest = int(held.column("trade_exchange_ns").max(initial=0))
    return volume_z(reader, rows, present(taken_ns, newest, reader.kept))

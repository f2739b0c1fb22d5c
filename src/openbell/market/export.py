"""Snapshots as the tables of other libraries, which are loaded when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openbell.errors import MissingExtra

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from numpy.typing import NDArray

    from openbell.market.snapshot import Snapshot

TIMES: Final = frozenset({"trade_exchange_ns", "quote_exchange_ns", "receive_ns", "repaired"})
"""Columns that are moments: ns since the epoch, UTC, and 0 for never."""


def to_dict(snapshot: Snapshot, columns: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    """See `Snapshot.to_dict`."""
    names = _names(snapshot, columns)
    return {"symbol": np.array(snapshot.symbols, np.str_)} | {name: snapshot.column(name) for name in names}


def to_arrow(snapshot: Snapshot, columns: Sequence[str] | None) -> pyarrow.Table:
    """See `Snapshot.to_arrow`."""
    arrow = _library("pyarrow", "arrow")
    names = _names(snapshot, columns)
    arrays = {"symbol": arrow.array(snapshot.symbols, arrow.string())}
    for name in names:
        column = snapshot.column(name)
        if column.dtype == np.float64:
            kind, there = arrow.float64(), column == column
        elif name in TIMES:
            kind, there = arrow.timestamp("ns", "UTC"), column != 0
        else:
            kind, there = arrow.int64(), None
        arrays[name] = _array(arrow, kind, column, there)
    return arrow.table(arrays)


def _array(arrow: Any, kind: Any, column: NDArray[Any], there: NDArray[np.bool_] | None) -> Any:
    values = np.ascontiguousarray(column)
    if there is None or there.all():
        return arrow.Array.from_buffers(kind, len(values), [None, arrow.py_buffer(values)], 0)
    valid = np.packbits(there, bitorder="little")
    missing = len(values) - int(np.count_nonzero(there))
    return arrow.Array.from_buffers(kind, len(values), [arrow.py_buffer(valid), arrow.py_buffer(values)], missing)


def to_polars(snapshot: Snapshot, columns: Sequence[str] | None) -> polars.DataFrame:
    """See `Snapshot.to_polars`."""
    frames = _library("polars", "polars")
    _library("pyarrow", "polars")
    found: polars.DataFrame = frames.from_arrow(to_arrow(snapshot, columns), rechunk=False)
    return found


def to_pandas(snapshot: Snapshot, columns: Sequence[str] | None) -> pandas.DataFrame:
    """See `Snapshot.to_pandas`."""
    frames = _library("pandas", "pandas")
    index = frames.Index(snapshot.symbols, name="symbol")
    names = _names(snapshot, columns)
    series = {}
    for name in names:
        column = snapshot.column(name)
        if name in TIMES:
            never = column == 0
            if never.any():
                column = np.where(never, np.iinfo(np.int64).min, column)
            moments = frames.DatetimeIndex(column.view("M8[ns]"), tz="UTC")
            series[name] = frames.Series(moments, index=index, copy=False)
        else:
            series[name] = frames.Series(column, index=index, copy=False)
    found: pandas.DataFrame = frames.DataFrame(series, index=index, copy=False)
    return found


def _names(snapshot: Snapshot, columns: Sequence[str] | None) -> Sequence[str]:
    # One name alone is no sequence of letters.
    return tuple(snapshot) if columns is None else (columns,) if isinstance(columns, str) else columns


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f'{name} cannot be imported ({error}); install it: pip install "openbell[{extra}]"', name=name
        ) from error

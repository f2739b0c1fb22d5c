"""Snapshots: derived columns, choosing and ordering rows, and the same as tables of other libraries."""

from __future__ import annotations

import datetime
import importlib
import math
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from openbell.errors import MissingExtra
from openbell.market import DERIVED, Snapshot
from openbell.market.derived import FORMULAS, WIDER, needs

NAN = math.nan
TAKEN_NS = 1_700_000_010_000_000_000
RECEIVED_NS = TAKEN_NS - 2_500_000_123


def example() -> Snapshot:
    return Snapshot.of_columns(
        "test",
        ("UP", "DOWN", "ODD", "NEW"),
        {
            "last": np.array([11.0, 9.0, 5.0, NAN]),
            "prev_close": np.array([10.0, 10.0, NAN, NAN]),
            "high": np.array([12.0, 10.0, 5.0, NAN]),
            "low": np.array([10.0, 8.0, 5.0, NAN]),
            "bid": np.array([10.9, 9.0, NAN, NAN]),
            "ask": np.array([11.1, 9.1, 5.0, NAN]),
            "volume": np.array([100.0, 50.0, 1.0, 0.0]),
            "turnover": np.array([1050.0, 450.0, 0.0, 0.0]),
            "trades": np.array([4, 3, 1, 0]),
            "session": np.array([20231114, 20231114, 20231114, 0]),
            "receive_ns": np.array([RECEIVED_NS, TAKEN_NS, TAKEN_NS + 5, 0]),
        },
        taken_ns=TAKEN_NS,
    )


# ---- derived columns ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("change", [1.0, -1.0, NAN, NAN]),
        ("change_pct", [10.0, -10.0, NAN, NAN]),
        ("vwap", [10.5, 9.0, 0.0, NAN]),
        ("mid", [11.0, 9.05, NAN, NAN]),
        ("spread", [0.2, 0.1, NAN, NAN]),
        ("spread_bps", [0.2 / 11 * 1e4, 0.1 / 9.05 * 1e4, NAN, NAN]),
        ("range_position", [0.5, 0.5, NAN, NAN]),
        ("turnover_share", [0.7, 0.3, 0.0, 0.0]),
        ("volume_z", [NAN] * 4),
        ("staleness", [2.500000123, 0.0, 0.0, NAN]),
    ],
)
def test_a_derived_column_is_what_its_name_says(
    name: str, expected: list[float], recwarn: pytest.WarningsRecorder
) -> None:
    snapshot = example()
    np.testing.assert_allclose(snapshot[name], expected, rtol=1e-12)
    assert snapshot[name].dtype == np.float64
    assert getattr(snapshot, name) is snapshot[name]
    assert not recwarn.list


def test_every_derived_column_says_what_it_means_and_what_it_needs() -> None:
    assert set(DERIVED) == {*FORMULAS, *WIDER}
    for name in DERIVED:
        assert getattr(Snapshot, name).__doc__
        assert all(each in example() for each in needs(name))
    assert needs("bid") == ("bid",)


def test_derived_columns_are_no_part_of_what_iterating_gives() -> None:
    snapshot = example()
    assert snapshot.change_pct is not None
    assert "change_pct" in snapshot and "change_pct" not in list(snapshot)
    assert len(snapshot) == len(list(snapshot)) == 11


def test_a_column_that_is_not_there_is_an_error_that_lists_what_is() -> None:
    snapshot = Snapshot.of_columns("test", ("A",), {"bid": np.ones(1)})
    with pytest.raises(KeyError, match="no column 'lsat'; the columns are bid, change"):
        snapshot["lsat"]
    with pytest.raises(KeyError, match="'mid' needs ask, and only bid were copied"):
        _ = snapshot.mid


def test_a_share_of_the_turnover_stays_that_of_the_whole() -> None:
    for some in (
        example().where(np.array([False, True, True, False])),
        example().take(np.array([1, 2])),
        example().scan("last < 10"),
    ):
        assert some.turnover_share.tolist() == [0.3, 0.0]
        assert some.take(np.array([0])).turnover_share.tolist() == [0.3]


def test_where_nothing_was_traded_there_are_no_shares() -> None:
    assert np.isnan(Snapshot.of_columns("test", ("A",), {"turnover": np.zeros(1)}).turnover_share).all()


# ---- choosing and ordering ----


def test_rows_are_taken_with_all_that_belongs_to_them() -> None:
    snapshot = example()
    assert snapshot.change_pct is not None
    some = snapshot.take(np.array([2, 0, 0]))
    assert some.symbols == ("ODD", "UP", "UP")
    assert some.rows.tolist() == [2, 0, 0]
    assert some.last.tolist() == [5.0, 11.0, 11.0]
    assert some.trades.tolist() == [1, 4, 4]
    np.testing.assert_array_equal(some.change_pct, [NAN, 10.0, 10.0])
    assert some.taken_ns == TAKEN_NS
    some.last[:] = 0
    assert snapshot.last.tolist()[:3] == [11.0, 9.0, 5.0]
    assert snapshot.where(snapshot.trades > 2).symbols == ("UP", "DOWN")


@pytest.mark.parametrize(
    ("sort", "descending", "expected"),
    [
        (None, True, "UP DOWN ODD NEW"),
        ("last", True, "UP DOWN ODD NEW"),
        ("last", False, "ODD DOWN UP NEW"),
        ("trades", True, "UP DOWN ODD NEW"),
        ("trades", False, "NEW ODD DOWN UP"),
        ("change_pct", True, "UP DOWN ODD NEW"),
        ("change_pct", False, "DOWN UP ODD NEW"),
        ("abs(change_pct + 3)", False, "DOWN UP ODD NEW"),
        ("symbol", True, "UP ODD NEW DOWN"),
        ("symbol", False, "DOWN NEW ODD UP"),
        ("session", True, "UP DOWN ODD NEW"),
        ("last > 6", True, "UP DOWN ODD NEW"),
        ("last > 6", False, "ODD NEW UP DOWN"),
    ],
)
def test_a_scan_is_in_order_with_what_is_not_there_at_its_end(sort: str, descending: bool, expected: str) -> None:
    symbols = tuple(expected.split())
    snapshot = example()
    assert snapshot.scan("volume >= 0", sort, descending=descending).symbols == symbols
    for top in range(6):
        assert snapshot.scan("volume >= 0", sort, top, descending).symbols == symbols[:top]


def test_the_top_of_many_is_the_beginning_of_the_whole_order() -> None:
    generator = np.random.default_rng(3)
    values = generator.integers(0, 40, 2000).astype(float)
    values[generator.random(2000) < 0.1] = NAN
    snapshot = Snapshot.of_columns("test", tuple(map(str, range(2000))), {"last": values, "bid": np.ones(2000)})
    for descending in (True, False):
        whole = snapshot.scan("bid > 0", "last", descending=descending).symbols
        expected = sorted(
            range(2000),
            key=lambda place: (values[place] != values[place], -values[place] if descending else values[place]),
        )
        there = int(np.isfinite(values).sum())
        assert whole[:there] == tuple(map(str, expected[:there]))
        for top in (0, 1, 7, 100, 1000, 1999, 2000, 3000):
            assert snapshot.scan("bid > 0", "last", top, descending).symbols == whole[:top]


def test_a_negative_top_is_refused() -> None:
    with pytest.raises(ValueError, match="top must be a whole number from 0, not -1"):
        example().scan("last > 0", top=-1)


# ---- other libraries ----


def test_a_dict_holds_the_arrays_themselves() -> None:
    snapshot = example()
    found = snapshot.to_dict()
    assert list(found) == ["symbol", *snapshot]
    assert found["symbol"].tolist() == list(snapshot.symbols)
    assert all(found[name] is snapshot[name] for name in snapshot)
    assert list(snapshot.to_dict(("change_pct", "last"))) == ["symbol", "change_pct", "last"]


def test_an_arrow_table_has_nulls_and_times_and_no_copies() -> None:
    snapshot = example()
    table = snapshot.to_arrow()
    assert table.column_names == ["symbol", *snapshot]
    assert table["symbol"].to_pylist() == list(snapshot.symbols)
    assert table["last"].to_pylist() == [11.0, 9.0, 5.0, None]
    assert table["prev_close"].null_count == 2
    assert table["turnover"].null_count == 0
    assert table["trades"].to_pylist() == [4, 3, 1, 0]
    assert table["session"].to_pylist() == [20231114, 20231114, 20231114, 0]
    assert table.schema.field("receive_ns").type == pa.timestamp("ns", "UTC")
    assert table["receive_ns"].cast(pa.int64()).to_pylist() == [RECEIVED_NS, TAKEN_NS, TAKEN_NS + 5, None]
    table.validate(full=True)
    for name in snapshot:
        (chunk,) = table[name].chunks
        assert chunk.buffers()[1].address == snapshot[name].ctypes.data, name
    assert snapshot.to_arrow(("spread_bps",)).column_names == ["symbol", "spread_bps"]


def test_a_table_outlives_its_snapshot() -> None:
    table = example().to_arrow()
    np.ones(1000).sum()
    assert table["volume"].to_pylist() == [100.0, 50.0, 1.0, 0.0]


def test_a_table_of_no_rows_has_its_columns() -> None:
    empty = example().where(np.zeros(4, np.bool_))
    assert empty.to_arrow().num_rows == len(empty.to_pandas()) == empty.to_polars().height == 0
    assert empty.to_arrow().schema == example().to_arrow().schema


def test_a_polars_frame_has_nulls_and_times() -> None:
    frame = example().to_polars(("last", "change_pct", "trades", "receive_ns"))
    assert frame.columns == ["symbol", "last", "change_pct", "trades", "receive_ns"]
    assert frame.schema["receive_ns"] == pl.Datetime("ns", "UTC")
    assert frame["last"].to_list() == [11.0, 9.0, 5.0, None]
    assert frame["last"].mean() == pytest.approx(25 / 3)
    assert frame["receive_ns"].cast(pl.Int64).to_list() == [RECEIVED_NS, TAKEN_NS, TAKEN_NS + 5, None]
    assert frame.filter(pl.col("change_pct") > 3)["symbol"].to_list() == ["UP"]


def test_a_pandas_frame_has_the_symbols_as_its_index_and_times() -> None:
    snapshot = example()
    frame = snapshot.to_pandas()
    assert frame.index.tolist() == list(snapshot.symbols)
    assert frame.index.name == "symbol"
    assert frame.columns.tolist() == list(snapshot)
    np.testing.assert_array_equal(frame["last"], snapshot.last)
    assert np.shares_memory(frame["last"].to_numpy(), snapshot.last)
    assert frame["trades"].dtype == np.int64
    assert str(frame["receive_ns"].dtype) == "datetime64[ns, UTC]"
    assert frame["receive_ns"].isna().tolist() == [False, False, False, True]
    assert frame.loc["UP", "receive_ns"] == pd.Timestamp(RECEIVED_NS, tz="UTC")
    assert snapshot.receive_ns[3] == 0
    assert snapshot.to_pandas(("mid",)).columns.tolist() == ["mid"]


def test_sql_sees_nulls_where_there_is_nothing() -> None:
    market = example().to_arrow()
    asked = duckdb.connect()
    asked.register("market", market)
    assert asked.execute("SELECT count(*), count(last), max(last) FROM market").fetchall() == [(4, 3, 11.0)]
    newest = asked.execute("SELECT epoch_ns(min(receive_ns)) FROM market").fetchall()
    assert newest == [(RECEIVED_NS,)]


@pytest.mark.parametrize(
    ("method", "library", "extra"),
    [
        ("to_arrow", "pyarrow", "arrow"),
        ("to_polars", "polars", "polars"),
        ("to_polars", "pyarrow", "polars"),
        ("to_pandas", "pandas", "pandas"),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_extra_that_brings_it(
    method: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        MissingExtra, match=rf'{library} cannot be imported .* pip install "openbell\[{extra}\]"'
    ) as found:
        getattr(example(), method)()
    assert isinstance(found.value, ImportError)


def test_a_time_in_the_table_is_the_time_that_was() -> None:
    moment = example().to_arrow(("receive_ns",))["receive_ns"][1].as_py()
    assert moment == datetime.datetime(2023, 11, 14, 22, 13, 30, tzinfo=datetime.UTC)

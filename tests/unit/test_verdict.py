"""The verdict: it finds every value that is not what the oracle says, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.market import Snapshot
from openbell.market.columns import NAMES
from openbell.simulator import EMPTY_ROW
from openbell.verdict import EXACT, SHOWN, SUM_TOLERANCE, SUMS, Counts, Oracle, OracleError, compare

FLOATS = {
    "last",
    "size",
    "open",
    "high",
    "low",
    "prev_close",
    "volume",
    "turnover",
    "bid",
    "bid_size",
    "ask",
    "ask_size",
}
TRADED: dict[str, int | float | None] = {
    "last": 10.2,
    "size": 300.0,
    "open": 10.0,
    "high": 10.3,
    "low": 9.9,
    "volume": 12_300.0,
    "turnover": 124_321.5,
    "trades": 17,
    "trade_exchange_ns": 1_767_576_600_123_000_000,
    "trade_sequence": 2**53 + 1,
    "bid": 10.19,
    "bid_size": 100.0,
    "ask": 10.21,
    "ask_size": 200.0,
    "quote_exchange_ns": 1_767_576_600_124_000_000,
    "quote_sequence": 77,
}
EMPTY: dict[str, int | float | None] = {
    name: None if isinstance(value, float) and math.isnan(value) else value for name, value in EMPTY_ROW.items()
}
COUNTS = Counts(sent=0, trades=0, quotes=0, ignored=0, other=0)


def snapshot_of(
    stated: dict[str, dict[str, int | float | None]],
    *,
    changed: dict[str, dict[str, float]] | None = None,
    untouched: tuple[str, ...] = (),
    undone: int = 0,
) -> Snapshot:
    """Return the snapshot of a correct handler, but for `changed`: ``{column: {symbol: value}}``."""
    changed = changed or {}
    symbols = (*stated, *untouched)
    columns: dict[str, Any] = {}
    for name in NAMES:
        values = []
        for symbol in symbols:
            value = stated.get(symbol, EMPTY).get(name, math.nan if name == "prev_close" else 0)
            if name in ("receive_ns", "updated"):
                value = 5 if symbol in stated else 0
            values.append(math.nan if value is None else value)
            if symbol in changed.get(name, {}):
                values[-1] = changed[name][symbol]
        columns[name] = np.array(values, dtype=np.float64 if name in FLOATS else np.int64)
    return Snapshot.of_columns("test", symbols, columns, 0, undone)


def test_a_correct_snapshot_matches_on_every_row_and_column() -> None:
    stated = {"A": TRADED, "B": {**EMPTY, "bid": 1.0, "ask": 2.0}}
    verdict = compare(Oracle(COUNTS, stated), snapshot_of(stated, untouched=("C",)))
    assert verdict.matches
    assert (verdict.rows, verdict.columns, verdict.first) == (3, len(NAMES), ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("symbol", ["touched", "untouched"])
def test_one_wrong_value_in_any_column_is_found(name: str, symbol: str) -> None:
    right = snapshot_of({"touched": TRADED}, untouched=("untouched",))[name][int(symbol == "untouched")].item()
    wrong = (0 if right > 0 else 7) if name in ("receive_ns", "updated") else 7 if math.isnan(right) else right + 1
    snapshot = snapshot_of({"touched": TRADED}, untouched=("untouched",), changed={name: {symbol: wrong}})
    verdict = compare(Oracle(COUNTS, {"touched": TRADED}), snapshot)
    assert not verdict.matches
    assert [(difference.symbol, difference.column) for difference in verdict.first] == [(symbol, name)]
    assert name in str(verdict.first[0]) and symbol in str(verdict.first[0])


@pytest.mark.parametrize("name", sorted(FLOATS & {*EXACT}))
def test_the_last_bit_of_a_price_or_size_counts(name: str) -> None:
    value = TRADED[name]
    assert value is not None
    snapshot = snapshot_of({"A": TRADED}, changed={name: {"A": math.nextafter(value, math.inf)}})
    assert compare(Oracle(COUNTS, {"A": TRADED}), snapshot).wrong == 1


def test_whole_numbers_beyond_a_floats_precision_are_compared_exactly() -> None:
    snapshot = snapshot_of({"A": TRADED}, changed={"trade_sequence": {"A": 2**53}})
    assert compare(Oracle(COUNTS, {"A": TRADED}), snapshot).wrong == 1


@pytest.mark.parametrize("name", [name for name in EXACT if EMPTY[name] is None])
def test_a_price_where_nothing_came_is_wrong_and_so_is_none_where_something_came(name: str) -> None:
    stated = {"A": {**TRADED, name: None}}
    assert compare(Oracle(COUNTS, stated), snapshot_of(stated)).matches
    assert compare(Oracle(COUNTS, stated), snapshot_of({"A": TRADED})).wrong == 1
    assert compare(Oracle(COUNTS, {"A": TRADED}), snapshot_of(stated)).wrong == 1


@given(error=st.floats(-1e-6, 1e-6), exact=st.floats(1e-3, 1e15), name=st.sampled_from(SUMS))
def test_sums_may_round_and_no_more(error: float, exact: float, name: str) -> None:
    found = exact * (1 + error)
    verdict = compare(
        Oracle(COUNTS, {"A": {**TRADED, name: exact}}), snapshot_of({"A": TRADED}, changed={name: {"A": found}})
    )
    assert verdict.matches == (abs(found - exact) <= SUM_TOLERANCE * exact)


def test_a_sum_that_is_no_number_is_wrong() -> None:
    snapshot = snapshot_of({"A": TRADED}, changed={"volume": {"A": math.nan}})
    assert compare(Oracle(COUNTS, {"A": TRADED}), snapshot).wrong == 1


def test_a_symbol_that_the_snapshot_lacks_is_a_difference() -> None:
    verdict = compare(Oracle(COUNTS, {"A": TRADED, "B": TRADED}), snapshot_of({"A": TRADED}))
    assert [str(difference) for difference in verdict.first] == ["B row: expected a row, found none"]


def test_a_row_that_nothing_was_sent_to_must_be_empty() -> None:
    verdict = compare(Oracle(COUNTS, {}), snapshot_of({"A": TRADED}))
    assert {difference.symbol for difference in verdict.first} == {"A"}
    assert verdict.wrong == len(EXACT) + len(SUMS) + 2


def test_a_row_that_tells_a_gap_is_left_out_where_gaps_are_excused_and_wrong_elsewhere() -> None:
    stated = {"A": TRADED, "B": TRADED, "C": EMPTY}
    lacking: dict[str, dict[str, float]] = {"gaps": {"A": 2}, "trades": {"A": 12}, "last": {"A": 1.0}}
    oracle, snapshot = Oracle(COUNTS, stated), snapshot_of(stated, changed=lacking)
    assert compare(oracle, snapshot).wrong == 3
    verdict = compare(oracle, snapshot, excuse_gaps=True)
    assert verdict.matches
    assert (verdict.rows, verdict.excused, verdict.missing_trades) == (2, 1, 5)


def test_a_gap_excuses_neither_other_rows_nor_a_trade_too_many() -> None:
    stated = {"A": TRADED, "B": TRADED}
    for column, symbol, value in (("last", "B", 1.0), ("trades", "B", 16), ("trades", "A", 18)):
        changed = {"gaps": {"A": 1.0}, column: {symbol: value}}
        verdict = compare(Oracle(COUNTS, stated), snapshot_of(stated, changed=changed), excuse_gaps=True)
        assert [(each.symbol, each.column) for each in verdict.first] == [(symbol, column)]
    missing = compare(Oracle(COUNTS, {**stated, "C": TRADED}), snapshot_of(stated), excuse_gaps=True)
    assert [str(each) for each in missing.first] == ["C row: expected a row, found none"]


def test_a_row_left_in_the_middle_of_an_update_is_a_difference() -> None:
    verdict = compare(Oracle(COUNTS, {"A": TRADED}), snapshot_of({"A": TRADED}, undone=1))
    assert verdict.wrong == 1


def test_many_differences_are_counted_and_the_first_are_shown() -> None:
    stated = {f"S{number:02d}": TRADED for number in range(40)}
    verdict = compare(Oracle(COUNTS, stated), snapshot_of(stated, changed={"last": dict.fromkeys(stated, 1.0)}))
    assert verdict.wrong == 40
    assert [difference.symbol for difference in verdict.first] == sorted(stated)[:SHOWN]


def test_a_column_that_no_rule_judges_is_refused() -> None:
    snapshot = snapshot_of({"A": TRADED})
    columns = {name: snapshot[name] for name in snapshot} | {"yield": snapshot["last"]}
    with pytest.raises(ValueError, match="yield"):
        compare(Oracle(COUNTS, {"A": TRADED}), Snapshot.of_columns("test", snapshot.symbols, columns))


def test_the_columns_judged_are_those_that_the_simulator_states() -> None:
    assert {*EXACT, *SUMS} == set(EMPTY_ROW)


def test_an_oracle_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "oracle.json"
    counts = {"sent": 3, "trades": 2, "quotes": 0, "ignored": 1, "other": 0}
    path.write_text(json.dumps({"vendor": "alltick", "counts": counts, "rows": {"A": TRADED}}))
    oracle = Oracle.load(path)
    assert oracle.counts.sent == 3
    assert oracle.rows["A"] == TRADED


@pytest.mark.parametrize("text", [None, "", "{}", '{"counts": 1, "rows": {}}', "\xff"])
def test_a_file_that_is_no_oracle_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "oracle.json"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(OracleError, match=r"oracle\.json"):
        Oracle.load(path)


def test_an_oracle_that_states_a_row_without_a_column_is_refused() -> None:
    stated = {"A": {name: value for name, value in TRADED.items() if name != "low"}}
    with pytest.raises(OracleError, match="low"):
        compare(Oracle(COUNTS, stated), snapshot_of({"A": TRADED}))

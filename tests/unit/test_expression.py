"""Expressions over the columns of a market: what they mean, and what is refused, where, and without harm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.errors import ExpressionError, OpenBellError
from openbell.market import DERIVED, Expression, Snapshot
from openbell.market.columns import NAMES
from openbell.market.compiled import compiled
from openbell.market.terms import Frame

KNOWN = (*NAMES, *DERIVED)
NAN = math.nan

COLUMNS = {
    "last": np.array([11.0, 9.0, 10.0, -1.0, NAN]),
    "prev_close": np.array([10.0, 10.0, 0.0, NAN, 5.0]),
    "bid": np.array([10.9, 9.0, NAN, 1.0, NAN]),
    "ask": np.array([11.1, 9.0, 10.0, 2.0, NAN]),
    "turnover": np.array([3e6, 2e6, 1e6, 0.0, 0.0]),
    "trades": np.array([5, 3, 1, 0, 2**53 + 1]),
    "receive_ns": np.array([1_700_000_000_000_000_001, 1_700_000_000_000_000_002, 0, 0, 0]),
}
TABLE = Snapshot.of_columns(
    "test",
    ("600519.SH", "000001.SZ", "AAPL.US", "*?[x].SH", "EMPTY"),
    {name: COLUMNS.get(name, np.zeros(5)) for name in NAMES},
    taken_ns=1_700_000_001_000_000_001,
)


def held(text: str) -> list[int]:
    """Return where a condition holds: by the core where it has the steps for it, and by numpy in any case."""
    expression = Expression(text, KNOWN)
    places: list[int] = expression.places(Frame(TABLE)).tolist()
    expression._compiled = None
    assert expression.places(Frame(TABLE)).tolist() == places
    return places


def refusal(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as found:
        Expression(text, KNOWN)
    return found.value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("last > 9", [0, 2]),
        ("9 < last", [0, 2]),
        ("last >= 9 and last <= 10", [1, 2]),
        ("9 <= last <= 10", [1, 2]),
        ("9 < last < 11 < turnover", [2]),
        ("last > 10 or turnover == 0", [0, 3, 4]),
        ("not last > 9", [1, 3, 4]),
        ("not (last > 9 or last < 0)", [1, 4]),
        ("last != 9", [0, 2, 3, 4]),
        ("isnan(last)", [4]),
        ("not isnan(prev_close)", [0, 1, 2, 4]),
        ("last - prev_close == 1", [0]),
        ("-last == 1", [3]),
        ("+last == -1", [3]),
        ("abs(last) < 2", [3]),
        ("last * 2 + 1 == 23", [0]),
        ("last / prev_close > 1", [0, 2]),
        ("last // 2 == 5", [0, 2]),
        ("last % 2 == 1", [0, 1, 3]),
        ("last ** 2 == 1", [3]),
        ("min(bid, ask) == 9", [1]),
        ("max(bid, ask, last) == 11.1", [0]),
        ("sqrt(last) == 3", [1]),
        ("log(last) > 2.3", [0, 2]),
        ("round(last / 3) == 4", [0]),
        ("round(last / 3, 2) == 3.67", [0]),
        ("change_pct > 5", [0, 2]),
        ("change_pct < 0", [1]),
        ("spread_bps < 200", [0, 1]),
        ("staleness == 1", [0]),
        ("turnover_share > 0.4", [0]),
        ("volume_z > 0", []),
        ("trades in (1, 3)", [1, 2]),
        ("trades not in [1, 3, 0]", [0, 4]),
        ("last in {9.0, 11}", [0, 1]),
        ('symbol == "AAPL.US"', [2]),
        ("'AAPL.US' == symbol", [2]),
        ('symbol != "AAPL.US"', [0, 1, 3, 4]),
        ('symbol in ("AAPL.US", "600519.SH", "nobody")', [0, 2]),
        ('symbol not in ("AAPL.US", "EMPTY")', [0, 1, 3]),
        ('symbol.startswith("60")', [0]),
        ('symbol.startswith("60", "00")', [0, 1]),
        ('symbol.endswith((".SH", ".SZ"))', [0, 1, 3]),
        ('symbol.matches("*.S?")', [0, 1, 3]),
        ('symbol.matches("[*][?]*") or symbol.matches("600???.SH")', [0, 3]),
        ('last > 9 and symbol.endswith(".SH") and turnover > 1', [0]),
        ('trades > 0 and (last > 9 or symbol == "EMPTY") and not isnan(trades)', [0, 2, 4]),
        ("last > 1e999", []),
        ("last > -1e999", [0, 1, 2, 3]),
        ("last\n  >\t9", [0, 2]),
        ("  last > 9  ", [0, 2]),
        ("last > 9 # the dear ones", [0, 2]),
    ],
)
def test_an_expression_holds_where_it_should(text: str, places: list[int]) -> None:
    assert held(text) == places


def test_whole_numbers_stay_exact() -> None:
    assert held("receive_ns == 1700000000000000001") == [0]
    assert held("receive_ns - 1700000000000000000 == 2") == [1]
    assert held("trades == 9007199254740993") == [4]
    assert held("trades == 9007199254740992") == []
    # And what could not be whole any more is a float, not another number.
    assert held("trades * 9007199254740993 > 0") == [0, 1, 2, 4]
    assert held("trades > 4611686018427387903 + 4611686018427387903") == []


@pytest.mark.parametrize(
    "text", ["last / 0 > 1", "last % 0 > 1", "log(0 - last) > 1", "2 ** 4000 > last", "1 / 0 < last"]
)
def test_what_cannot_be_computed_is_no_error_and_no_warning(text: str, recwarn: pytest.WarningsRecorder) -> None:
    held(text)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("text", "marked", "reason"),
    [
        ("chnge_pct > 3", "chnge_pct", "no column 'chnge_pct'; did you mean change_pct?"),
        ("  last > nonsense_x", "nonsense_x", "there are last, size"),
        ("last > 3 & bid > 2", "3 & bid", "joined by and, or, not"),
        ("~(last > 3)", "~(last > 3)", "turned round by not"),
        ("last", "", "a condition is needed"),
        ("not last", "last", "a condition is needed"),
        ("last and bid > 3", "last", "a condition is needed"),
        ("(last > 3) + 1 > 2", "last > 3", "a condition is no number"),
        ("(last > 3) == (bid > 2)", "last > 3", "a condition is no number"),
        ("abs(last > 3) > 1", "last > 3", "a condition is no number"),
        ('last > "3"', 'last > "3"', "a symbol is compared with a text"),
        ('symbol > "A"', 'symbol > "A"', "compared by ==, != or in"),
        ("symbol == symbol", "symbol == symbol", "a symbol is compared with a text"),
        ('"A" == "A"', '"A" == "A"', "a symbol is compared with a text"),
        ("symbol", "symbol", "a text is no condition"),
        ('symbol + "x" == "A"', "symbol", "a text is no number"),
        ('symbol in "A"', '"A"', "a list in brackets"),
        ("symbol in ()", "()", "a list in brackets"),
        ('symbol in ("A", 3)', '("A", 3)', "a list of texts in quotes"),
        ("last in (bid, 3)", "(bid, 3)", "a list of numbers"),
        ("3 in (3, 4)", "(3, 4)", "a column"),
        ("(last > 3) in (1, 2)", "(1, 2)", "a list of"),
        ("last is 3", "last is 3", "compare by"),
        ("3 > 2", "3 > 2", "two constants"),
        ("isnan(3)", "isnan(3)", "isnan asks of a column"),
        ("foo(last) > 1", "foo", "no such function"),
        ("min(last) > 1", "min(last)", "min takes 2 to 8 arguments, and got 1"),
        ("abs(last, 1) > 1", "abs(last, 1)", "abs takes 1 argument, and got 2"),
        ("abs(*last) > 1", "abs(*last)", "one after the other"),
        ("round(last, digits=2) > 1", "round(last, digits=2)", "one after the other"),
        ("round(last, 99) > 1", "99", "0 to 15 digits"),
        ("round(last, bid) > 1", "bid", "0 to 15 digits"),
        ("round(last, -1) > 1", "-1", "0 to 15 digits"),
        ('symbol.upper() == "A"', "symbol.upper()", "symbol.startswith(...)"),
        ('last.startswith("6")', 'last.startswith("6")', "symbol.startswith(...)"),
        ("symbol.startswith(6)", "symbol.startswith(6)", "texts in quotes"),
        ("symbol.startswith()", "symbol.startswith()", "texts in quotes"),
        ("last.__class__ > 3", "last.__class__", "not allowed"),
        ("[x for x in last]", "[x for x in last]", "not allowed"),
        ("lambda: 3", "lambda: 3", "not allowed"),
        ("last if bid else 3", "last if bid else 3", "not allowed"),
        ("(last := 3) > 1", "last := 3", "not allowed"),
        ("last[0] > 3", "last[0]", "not allowed"),
        ('f"{last}" == symbol', 'f"{last}"', "not allowed"),
        ('__import__("os").system("true")', '__import__("os").system("true")', "no others"),
        ("True", "True", "only numbers and texts"),
        ("last > None", "None", "only numbers and texts"),
        ("last > 3j", "3j", "only numbers and texts"),
        ('last > b"3"', 'b"3"', "only numbers and texts"),
        ("last > ...", "...", "only numbers and texts"),
        ("last @ bid > 3", "last @ bid", "no such operator"),
        ('symbol == "é" and é > 3', "é", "no column 'é'"),
        ("last > " + "9" * 400, "9" * 400, "only numbers and texts"),
        ("last >", "", "no expression"),
        ("last > 3 bid", None, "no expression"),
        ("abs(last", None, "never closed"),
        ("last > 3; bid > 2", None, "no expression"),
        ("import os", None, "no expression"),
        ("", "", "nothing in this expression"),
        (" \t ", "", "nothing in this expression"),
        ("last > 3 " * 200, "", "at most 1000 characters"),
        ("(" * 500, None, "no expression"),
        ("-" * 900 + "last > 1", None, ""),
        ("not " * 200 + "last > 1", None, ""),
        ("last > '\0'", None, "no expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, marked: str | None, reason: str) -> None:
    try:
        held(text)
    except ExpressionError as error:
        assert reason in str(error)
        if marked is not None:
            assert error.expression[error.start : error.end] == marked if error.start is not None else not marked
        assert "\n" not in str(error)
    else:
        pytest.fail("it was understood")


def test_the_place_is_pointed_at_also_behind_what_cannot_be_printed() -> None:
    assert refusal("last > 3 and foo > 2").pointed().splitlines()[1:] == [
        "    last > 3 and foo > 2",
        "                 ^^^",
    ]
    lines = refusal('symbol == "\x1b[31m" and\nfoo > 2').pointed().splitlines()
    assert len(lines) == 3
    assert lines[1][lines[2].index("^") :].startswith("foo")
    assert "\x1b" not in "".join(lines)


def test_what_ends_too_early_is_pointed_at_behind_its_end() -> None:
    lines = refusal("last > 3 and").pointed().splitlines()
    assert lines[2].index("^") >= len("    last > 3 and")


def test_a_number_is_no_condition_and_a_constant_no_order() -> None:
    assert Expression("turnover / 2", KNOWN).number(Frame(TABLE)).tolist() == [1.5e6, 1e6, 5e5, 0, 0]
    with pytest.raises(ExpressionError, match="this is a number"):
        TABLE.scan("turnover")
    with pytest.raises(ExpressionError, match="the same for all symbols"):
        TABLE.scan("last > 0", sort="3 + 4")


def test_an_expression_knows_what_it_looks_at() -> None:
    found = Expression('change_pct > 3 and (symbol == "A" or min(bid, 3) > ask)', KNOWN)
    assert found.names == {"change_pct", "bid", "ask"}
    assert found.is_condition


def test_the_rest_of_an_and_is_computed_for_the_rows_that_are_left() -> None:
    rows = 1000
    columns = {"last": np.arange(rows, dtype=float), "bid": np.ones(rows), "ask": np.full(rows, 2.0)}
    many = Snapshot.of_columns("test", tuple(map(str, range(rows))), columns)
    # With a remainder, which only numpy has.
    assert many.scan("last >= 990 and mid == 1.5 and spread_bps % 2 >= 0").symbols == tuple(map(str, range(990, 1000)))
    assert not many.is_computed("spread_bps")
    assert many.scan("last % 1000 >= 1 and mid == 1.5").symbols == tuple(map(str, range(1, 1000)))
    assert many.is_computed("mid")


# ---- against Python itself, and against nonsense ----

NUMBERS = ("last", "prev_close", "bid", "ask", "turnover")


def _numbers() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(NUMBERS) | st.floats(-100, 100).map(repr) | st.integers(-9, 9).map(str)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda each: f"({' '.join(each)})"),
            inner.map(lambda each: f"abs({each})"),
            inner.map(lambda each: f"-({each})"),
        ),
        max_leaves=6,
    )


def _conditions() -> st.SearchStrategy[str]:
    compared = st.tuples(st.sampled_from(NUMBERS), st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), _numbers()).map(
        " ".join
    )
    chained = st.tuples(_numbers(), st.sampled_from(NUMBERS), _numbers()).map(
        lambda each: f"{each[0]} < {each[1]} <= {each[2]}"
    )
    return st.recursive(
        compared | chained,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda each: f"({' '.join(each)})"),
            inner.map(lambda each: f"not ({each})"),
        ),
        max_leaves=6,
    )


@given(_conditions())
def test_a_condition_holds_where_python_says_so(text: str) -> None:
    columns = {name: TABLE[name].tolist() for name in NUMBERS}
    expected = [
        place
        for place in range(len(TABLE.symbols))
        if eval(text, {"abs": abs}, {name: values[place] for name, values in columns.items()})
    ]
    assert held(text) == expected


@given(st.integers(0, 2**32), st.integers(0, 1300), _conditions())
def test_the_core_and_numpy_agree_on_markets_of_any_size(seed: int, rows: int, text: str) -> None:
    generator = np.random.default_rng(seed)
    columns = {name: generator.normal(0, 60, rows).round(0) for name in NUMBERS}
    for column in columns.values():
        column[generator.random(rows) < 0.1] = NAN
    market = Snapshot.of_columns("test", tuple(map(str, range(rows))), columns)
    for asked in (text, f"change_pct > 3 and {text}", f"isnan(mid) or ({text}) and min(mid, spread_bps) < sqrt(bid)"):
        expression = Expression(asked, KNOWN)
        assert expression._compiled is not None or compiled(expression._term) is None
        places = expression.places(Frame(market)).tolist()
        expression._compiled = None
        assert expression.places(Frame(market)).tolist() == places


WORDS = st.sampled_from(
    [
        *NAMES,
        *DERIVED,
        *("symbol", "abs", "min", "isnan", "round", "startswith", "matches", "and", "or", "not", "in", "is"),
        *("if", "else", "lambda", "for", "None", "True", "yield"),
        *"+-*/%<>=!()[]{}.,:;@&|^~ \t\n#",
        *("f'{", "}'", "'", '"', "'A'", "\\", "**", "//", "==", "<=", ":="),
        *("0", "1", "3.5", "1e999", "0x", "1_0", "9" * 30),
    ]
)


@given(
    st.one_of(
        st.text(max_size=60), st.lists(WORDS, max_size=30).map(" ".join), st.lists(WORDS, max_size=30).map("".join)
    )
)
def test_no_text_ever_does_anything_but_be_understood_or_refused(text: str) -> None:
    try:
        found = Expression(text, KNOWN)
        answer: Callable[[Frame], Any] = found.places if found.is_condition else found.number
        assert len(answer(Frame(TABLE))) <= len(TABLE.symbols)
    except OpenBellError as error:
        assert isinstance(error, ExpressionError)
        assert error.reason
        assert error.pointed() and "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("last = 3", "equality is ==, not ="),
        ("last === 3", "equality is =="),
        ("last > 3 && bid > 3", "conditions are joined by `and`, not by &&"),
        ("last > 3 || bid > 3", "conditions are joined by `or`, not by ||"),
        ("!(last > 3)", "a condition is reversed by `not`, not by !"),
    ],
)
def test_what_other_languages_have_is_told_in_ours(text: str, said: str) -> None:
    assert said in refusal(text).reason

"""Lists of symbols: what is read of text, CSV and JSON, and what is wanted of it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.config import Universe
from openbell.errors import ConfigError
from openbell.universe.gathering import gather
from openbell.universe.narrowing import narrow
from openbell.universe.reading import Entry, read

STOCKS = {
    "total": 4,
    "data": {
        "list": [
            {"code": "600519", "status": "TRADING", "info": {"st": False}, "tags": ["50", "300"]},
            {"code": "000001", "status": "suspended", "info": {"st": False}, "tags": []},
            {"code": "300750", "status": "TRADING", "info": {"st": True}, "tags": ["300"]},
            {"code": "688981", "info": {"st": False}},
        ]
    },
}
CODES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def codes(body: bytes | str | object, name: str = "list.json", content_type: str = "", **keys: object) -> list[str]:
    """Return the codes of a list with the table ``[source.universe]`` that `keys` make."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    body = body.encode() if isinstance(body, str) else body
    return [entry.code for entry in read(body, name, Universe(**keys), content_type)]  # type: ignore[arg-type]


def chosen(document: object = STOCKS, **keys: object) -> tuple[str, ...]:
    """Return what is wanted of a JSON list."""
    universe = Universe(**({"field": "data.list[].code"} | keys))  # type: ignore[arg-type]
    return narrow(read(json.dumps(document).encode(), "x.json", universe), universe).symbols


# ---- reading ----


@pytest.mark.parametrize(
    ("document", "field", "expected"),
    [
        (STOCKS, "data.list[].code", ["600519", "000001", "300750", "688981"]),
        (STOCKS, "$.data.list[].code", ["600519", "000001", "300750", "688981"]),
        ({"codes": ["A", "B"]}, "codes", ["A", "B"]),
        ({"codes": ["A", "B"]}, "codes[]", ["A", "B"]),
        (["A", " B "], None, ["A", "B"]),
        ([{"s": "A"}, {"s": "B"}], "[].s", ["A", "B"]),
        ({"m": [{"s": [{"c": "A"}, {"c": "B"}]}, {"s": [{"c": "C"}]}]}, "m[].s[].c", ["A", "B", "C"]),
        ({"m": [["A"], ["B", "C"]]}, "m[][]", ["A", "B", "C"]),
        ({"m": [{"a": {"b": {"c": "X"}}}]}, "m[].a.b.c", ["X"]),
        ([{"c": 700}, {"c": None}, {}, {"c": "9988"}], "[].c", ["700", "", "", "9988"]),
        ({"codes": []}, "codes", []),
        ([600519, "000001"], None, ["600519", "000001"]),
    ],
)
def test_a_path_finds_the_codes_in_json(document: object, field: str | None, expected: list[str]) -> None:
    assert codes(document, field=field) == expected


@given(st.lists(CODES, max_size=20))
def test_all_formats_say_the_same(listed: list[str]) -> None:
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(["name", "the code"])
    writer.writerows(["x, y", code] for code in listed)
    assert codes({"a": {"b": [{"c": code} for code in listed]}}, field="a.b[].c") == listed
    assert codes(made.getvalue(), "l.csv", field="The Code") == listed
    assert codes("\n".join(f"  {code}  # a comment" for code in listed), "l.txt") == listed


@pytest.mark.parametrize(
    ("name", "content_type", "body", "keys"),
    [
        ("https://h.example/x", "application/json", '["A"]', {}),
        ("https://h.example/x.csv", "application/json", '["A"]', {}),
        ("https://h.example/x.json?a=b.csv", "text/plain", '["A"]', {}),
        ("https://h.example/x.json", "", '["A"]', {}),
        ("x", "text/csv", "code\nA", {}),
        ("X.CSV", "", "code\nA", {}),
        ("x", "", "A", {}),
        ("x.csv", "text/csv", '["A"]', {"format": "json"}),
        ("x.json", "", "A # it is", {"format": "text"}),
        ("x", "", "A\n", {"format": "csv"}),
    ],
)
def test_a_list_is_read_as_it_is_said_or_as_the_server_says_or_by_its_name(
    name: str, content_type: str, body: str, keys: dict[str, Any]
) -> None:
    assert codes(body, name, content_type, **keys) == ["A"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_spreadsheets_of_all_countries_are_understood(separator: str) -> None:
    text = "\ufeff" + "\n".join(separator.join(row) for row in (["name", "Code"], ["x", "600519"], ["y", "000001"], []))
    assert codes(text, "x.csv", field="code") == ["600519", "000001"]


def test_a_list_in_another_encoding_is_read_as_it_is_said() -> None:
    body = "代码,名称\n600519,贵州茅台\n".encode("gb18030")
    assert codes(body, "x.csv", field="代码", encoding="gb18030") == ["600519"]
    with pytest.raises(ConfigError, match=r"this is not utf-8 text; say what it is.*gb18030"):
        codes(body, "x.csv", field="代码")


def test_entries_without_a_code_are_counted_and_need_no_name() -> None:
    selection = narrow([Entry(""), Entry("A"), Entry("")], Universe())
    assert (selection.symbols, selection.reasons) == (("A",), "2 without a code")


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    assert codes(b"\xef\xbb\xbf" + b'["600519"]') == ["600519"]


def test_what_the_configuration_says_of_an_encoding_counts_more_than_what_the_server_says() -> None:
    body = "代码,名称\n600519,贵州茅台\n".encode("gb18030")
    said = Universe(field="代码", encoding="gb18030")
    assert [entry.code for entry in read(body, "x.csv", said, "text/csv", "utf-8")] == ["600519"]
    assert [entry.code for entry in read(body, "x.csv", Universe(field="代码"), "text/csv", "gb18030")] == ["600519"]
    with pytest.raises(ConfigError, match="this is not utf-8 text"):
        read(body, "x.csv", Universe(field="代码"), "text/csv", "utf-8")


MISTAKES = {
    "no JSON": ('{"a": ', {}, "this is not JSON: "),
    "a web page": ("<html>", {}, "this is not JSON: "),
    "bad UTF-8": (b'["\xff"]', {}, "this is not JSON: "),
    "a number alone": ([600519, 1.5], {}, "entry 1 of the list: it is a number, not a code"),
    "nested too deeply": ("[" * 100_000, {}, "this is not JSON that can be read: it is nested too deeply"),
    "no field said": (STOCKS, {}, "it is an object with 'total', 'data'; say where the codes are, such as"),
    "no field said for objects": ([{"code": "A"}], {}, "it is a list of objects with 'code'; say where"),
    "a misspelt step": (
        STOCKS,
        {"field": "data.lists[].code"},
        "data has no 'lists'; did you mean 'list'?; correct source.universe.field",
    ),
    "a step that is nowhere": (STOCKS, {"field": "zzz[].code"}, "the document has no 'zzz'; there are 'total', 'data'"),
    "a step through a list": (
        STOCKS,
        {"field": "data.list.code"},
        "data.list is a list, and has no 'code'; write data.list[].code",
    ),
    "a list that is none": (STOCKS, {"field": "data[].code"}, "data is an object, not a list; did you mean 'list'?"),
    "a number for a list": (STOCKS, {"field": "total"}, "total is a number, not a list"),
    "a misspelt code": (
        STOCKS,
        {"field": "data.list[].cod"},
        "no entry of the list has 'cod'; did you mean 'code'?; correct source.universe.field",
    ),
    "a code that is none": (STOCKS, {"field": "data.list[].info"}, "entry 0 of the list: info is an object, not a"),
    "a fraction": ([{"c": 1.5}], {"field": "[].c"}, "entry 0 of the list: c is a number, not a code"),
    "a truth": ([{"c": True}], {"field": "[].c"}, "entry 0 of the list: c is true or false, not a code"),
    "codes that are lists": ({"c": [["A"]]}, {"field": "c"}, "entry 0 of the list: it is a list, not a code"),
    "no path": (STOCKS, {"field": "data..code"}, "source.universe.field: 'data..code' is no path"),
    "an index": (STOCKS, {"field": "data.list[0].code"}, "source.universe.field: 'data.list[0].code' is no path"),
}


@pytest.mark.parametrize(("body", "keys", "said"), MISTAKES.values(), ids=[name.replace(" ", "-") for name in MISTAKES])
def test_json_that_cannot_be_used_is_explained(body: bytes | str | object, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        codes(body, **keys)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("body", "name", "content_type", "keys", "said"),
    [
        ("<html>", "x", "text/html", {}, "a web page came, not a list"),
        ("<html>", "x", "", {}, "it begins with '<' and is no text with a code a line; say what it is"),
        (' ["A"]', "x", "text/plain", {}, "it begins with '[' and is no text with a code a line"),
        ("code,x\nA,1", "x.csv", "", {"field": "cod"}, "no column has the title 'cod'; did you mean 'code'?"),
        ("code,x\nA,1", "x.csv", "", {"field": "zzz"}, "no column has the title 'zzz'; there are 'code', 'x'"),
        ("<html>\n<body>", "x.csv", "", {}, "it begins with '<' and is no CSV"),
        ('{"error": "busy"}', "x.csv", "text/csv", {}, "it begins with '{' and is no CSV"),
        ("A" * 200_000, "x.csv", "", {}, "this is not CSV: field larger than"),
    ],
)
def test_text_that_cannot_be_used_is_explained(
    body: str, name: str, content_type: str, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        codes(body, name, content_type, **keys)
    assert str(caught.value).startswith(said)


@given(st.binary(max_size=60), st.sampled_from(["json", "csv", "text"]), st.sampled_from([None, "a[].b", "x"]))
def test_nothing_that_may_come_breaks_the_reader(body: bytes, kind: str, field: str | None) -> None:
    try:
        found = codes(body, format=kind, field=field)
    except ConfigError as error:
        assert str(error)
    else:
        assert all(code == code.strip() for code in found)


# ---- narrowing ----


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ("600519", "000001", "300750", "688981")),
        ({"leave_out": {"status": ("Suspended", "halted")}}, ("600519", "300750", "688981")),
        ({"keep": {"status": ("trading",)}}, ("600519", "300750")),
        ({"leave_out": {"info.st": (True,)}}, ("600519", "000001", "688981")),
        ({"leave_out": {"status": ("suspended",), "info.st": (True,)}}, ("600519", "688981")),
        ({"keep": {"tags": (300,)}}, ("600519", "300750")),
        ({"match": "^6"}, ("600519", "688981")),
        ({"match": "5"}, ("600519", "300750")),
        ({"exclude": "^(6|0)"}, ("300750",)),
        ({"suffix": "by-code", "match": r"\.SZ$"}, ("000001.SZ", "300750.SZ")),
        ({"boards": ("star", "sz-main")}, ("000001", "688981")),
        ({"boards": ("chinext",), "suffix": "by-code"}, ("300750.SZ",)),
    ],
)
def test_filters_keep_what_is_wanted(keys: dict[str, object], expected: tuple[str, ...]) -> None:
    assert chosen(**keys) == expected


def test_each_reason_for_leaving_something_out_is_counted_with_the_first_few() -> None:
    document = [{"c": f"{600_000 + number}", "s": "on"} for number in range(20)]
    document += [{"c": "510300", "s": "on"}, {"s": "on"}, {"c": "600001", "s": "on"}, {"c": "600100", "s": "halted"}]
    universe = Universe(
        field="[].c",
        leave_out={"s": ("halted",)},
        boards=("sh-main",),
        exclude="60001[0-9]",
        suffix="by-code",
    )
    selection = narrow(read(json.dumps(document).encode(), "x.json", universe), universe)
    assert selection.symbols == tuple(f"{600_000 + number}.SH" for number in range(10))
    assert selection.entries == 24
    assert {reason: each.count for reason, each in selection.left_out.items()} == {
        "that `exclude` matches": 10,
        "on no board of `boards`": 1,
        "without a code": 1,
        "whose s is 'halted' (leave_out)": 1,
    }
    assert selection.repeated.count == 1
    assert selection.reasons.startswith(
        "10 that `exclude` matches (600010.SH, 600011.SH, 600012.SH, 600013.SH, 600014.SH, and 5 more); "
        "1 on no board of `boards` (510300.SH)"
    )


@pytest.mark.parametrize(
    ("body", "name", "keys", "said"),
    [
        (STOCKS, "x.json", {"leave_out": {"state": ("x",)}}, "leave_out: no entry of the list has 'state'; did"),
        (STOCKS, "x.json", {"keep": {"info.sd": (True,)}}, "keep: no entry of the list has 'info.sd'"),
        ("A\nB", "x.txt", {"keep": {"status": ("x",)}}, "keep: the list has no fields to choose by; take 'status' out"),
        ("600519,x\n000001,y", "x.csv", {"keep": {"status": ("x",)}}, "keep: the list has no fields to choose by"),
        (["A"], "x.json", {"field": None, "keep": {"s": ("x",)}}, "keep: the list has no fields to choose by"),
    ],
)
def test_a_filter_by_a_field_that_is_nowhere_is_refused(
    body: object, name: str, keys: dict[str, object], said: str
) -> None:
    universe = Universe(**({"field": "data.list[].code" if body is STOCKS else None} | keys))  # type: ignore[arg-type]
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(ConfigError) as caught:
        narrow(read(text.encode(), name, universe), universe)
    assert str(caught.value).startswith(f"source.universe.{said}")


def test_symbols_of_the_configuration_itself_have_no_fields_to_be_left_out_by() -> None:
    universe = Universe(field="code", keep={"on": ("yes",)}, exclude="^X")
    entries = [Entry("HAND"), Entry("XHAND"), *read(b"code,on\nA,yes\nB,no\nC\n", "x.csv", universe)]
    assert narrow(entries, universe).symbols == ("HAND", "A")


@given(
    st.lists(CODES | st.sampled_from(["600519", "00700", "1"]), max_size=30),
    st.sampled_from([None, "by-code", ".HK"]),
    st.sampled_from([None, "[0-9]", "^A"]),
    st.sampled_from([(), ("sh-main",)]),
)
def test_every_entry_is_wanted_once_or_accounted_for(
    listed: list[str], suffix: str | None, pattern: str | None, boards: tuple[str, ...]
) -> None:
    universe = Universe(suffix=suffix, match=pattern, boards=boards, hk_digits=1)  # type: ignore[arg-type]
    selection = narrow([Entry(code) for code in listed], universe)
    assert len(set(selection.symbols)) == len(selection.symbols)
    left_out = sum(each.count for each in selection.left_out.values())
    assert len(selection.symbols) + left_out + selection.repeated.count == selection.entries == len(listed)
    again = narrow([Entry(symbol) for symbol in selection.symbols], universe)
    assert again.symbols == selection.symbols


def test_an_empty_list_is_never_used() -> None:
    with pytest.raises(ConfigError) as caught:
        gather(["600519", "000001"], None, None, Universe(match="^X"))
    assert str(caught.value) == (
        "source.universe: of 2 symbols none is left: 2 that `match` does not match (600519, 000001); loosen what "
        "leaves them out"
    )

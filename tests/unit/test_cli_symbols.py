"""``openbell symbols``: what a configuration would subscribe to, and what it would not."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openbell import config, vendors
from openbell.asking import asked_for
from openbell.cli import main
from openbell.simulator.codes import cn_codes, us_codes


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLTICK_TOKEN", "c0ffee-very-secret")


def write(tmp_path: Path, source: str, feed: str = "") -> Path:
    file = tmp_path / "feed.toml"
    file.write_text(f'[feed]\nname = "x"\n{feed}\n[[source]]\n{source}', "utf-8")
    return file


def shown(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what the command says as JSON."""
    assert main(["symbols", str(file), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


ALLTICK = 'vendor = "alltick"\ntoken_env = "ALLTICK_TOKEN"\n'


def test_a_whole_market_is_shown_connection_by_connection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = cn_codes()[:5_200]
    (tmp_path / "codes.txt").write_text("\n".join(codes), "utf-8")
    file = write(
        tmp_path,
        ALLTICK + 'symbols_file = "codes.txt"\nconnections = "auto"\nstreams = ["trade", "book"]\n',
        "receivers = 2",
    )
    found = shown(file, capsys)
    assert (found["feed"], found["symbols"], found["messages"]) == ("x", 5_200, 4)
    first, second = found["connections"]
    assert (first["label"], first["receiver"], first["limit"]) == ("alltick 1/2", 0, 3_000)
    assert (second["label"], second["receiver"]) == ("alltick 2/2", 1)
    assert first["symbols"] == codes[0::2]
    assert second["symbols"] == codes[1::2]
    assert first["address"] == "wss://quote.alltick.co/quote-stock-b-ws-api"
    # Three seconds between the connections of a token, one and some between the requests of one, some for connecting.
    assert (first["begins_s"], first["done_s"]) == (0.0, 1.2)
    assert 3.0 + first["done_s"] <= second["begins_s"] <= 5.0
    assert found["seconds"] == second["done_s"] == pytest.approx(second["begins_s"] + 1.2)
    assert found["bytes"] == first["bytes"] + second["bytes"]


def test_the_messages_and_bytes_are_those_that_are_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = ", ".join(f'"C{number}USDT"' for number in range(450))
    source = f'vendor = "binance"\nsymbols = [{pairs}]\nstreams = ["trade", "bookTicker"]\n'
    file = write(tmp_path, source)
    (only,) = shown(file, capsys)["connections"]
    loaded = config.load(file)
    (vendor,) = vendors.check(loaded, file)
    requests = list(vendor.requests(loaded.source.symbols))
    assert (only["messages"], only["bytes"]) == (len(requests), sum(len(request.payload) for request in requests))
    assert only["messages"] == 5
    assert only["done_s"] == pytest.approx(4 * 0.25)


def test_why_something_is_left_out_is_counted_with_the_first_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{code[:6]},{'halted' if number % 2 else 'trading'}" for number, code in enumerate(cn_codes()[:40])]
    (tmp_path / "codes.csv").write_text("\n".join(["ticker,state", *rows, rows[0], "HSI,trading"]), "utf-8")
    table = (
        '[source.universe]\nfield = "ticker"\nsuffix = "by-code"\nleave_out = { state = ["Halted"] }\n'
        'exclude = "^3"\nfaulty = "leave_out"\n'
    )
    file = write(tmp_path, ALLTICK + 'symbols_file = "codes.csv"\nsymbols = ["700.HK", "0.HK"]\n' + table)
    found = shown(file, capsys)
    (source,) = found["sources"]
    assert source["entries"] == 44
    assert source["repeated"] == {"count": 1, "examples": ["600519.SH"]}
    reasons = {each["reason"]: each for each in source["left_out"]}
    halted = reasons["whose state is 'halted' (leave_out)"]
    assert (halted["count"], len(halted["examples"])) == (20, 5)
    assert reasons["whose exchange their code does not say (suffix = 'by-code')"]["examples"] == ["HSI"]
    assert reasons["that the vendor cannot know"]["examples"][0].startswith("'0.HK' is no code of alltick")
    left_out = sum(each["count"] for each in source["left_out"])
    assert found["symbols"] + left_out + source["repeated"]["count"] == source["entries"]

    assert main(["symbols", str(file)]) == 0
    text = capsys.readouterr().out
    assert f"left out: {left_out} of 44" in text
    assert f"{20:>7} whose state is 'halted' (leave_out): " in text
    assert "and 15 more" in text
    assert "c0ffee" not in text


def test_every_symbol_is_listed_with_its_connection_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ALLTICK + 'symbols = ["700.HK", "9988.HK", "5.HK"]\nconnections = 2\n'
    source += '[[source]]\nvendor = "binance"\nprefix = "all:"\nstreams = ["miniTicker"]\nopen = true\n'
    file = write(tmp_path, source)
    assert main(["symbols", str(file), "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "700.HK\talltick 1/2",
        "5.HK\talltick 1/2",
        "9988.HK\talltick 2/2",
    ]
    assert main(["symbols", str(file)]) == 0
    text = capsys.readouterr().out
    assert "3 symbols on 3 connections" in text
    assert "whatever comes" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (ALLTICK + 'symbols = ["00700.HK"]\n', "did you mean '700.HK'?"),
        (ALLTICK + 'symbols_file = "nope.txt"\n', "there is no such file"),
        (ALLTICK + 'symbols_url = "http://127.0.0.1:1/x"\n', "it cannot be reached: Connection refused"),
        (ALLTICK + 'symbols = ["700.HK"]\n[source.universe]\nmatch = "^9"\n', "of 1 symbols none is left"),
        (ALLTICK + 'symbols = ["700.HK"]\n[source.universe]\nmatch = "("\n', "is not a regular expression"),
        (ALLTICK + 'symbols = ["700.HK"]\n[source.subscribing]\nbatch = 5\n', "source.subscribing.batch: "),
    ],
)
def test_what_cannot_be_used_ends_with_status_2_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    file = write(tmp_path, source)
    assert main(["symbols", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"openbell: {file}: source.")
    assert said in captured.err


GENERIC = 'vendor = "generic"\nurl = "ws://127.0.0.1:1/feed"\ngeneric = { profile = "symbol-text" }\n'


def test_symbols_that_look_like_markup_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, GENERIC + 'symbols = ["[/red]", "A[bold]B"]\n')
    assert main(["symbols", str(file)]) == 0
    assert "[/red], A[bold]B" in capsys.readouterr().out


def test_a_hostile_list_can_neither_move_the_cursor_nor_flood_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ["\x1b[2Jgone", "two\nlines", "X" * 100_000, "\x07bell"]
    (tmp_path / "codes.json").write_text(json.dumps([*hostile, "600519"]), "utf-8")
    source = GENERIC + 'symbols_file = "codes.json"\n[source.universe]\n'
    left_out = ('faulty = "leave_out"\n', 'match = "^6"\n', 'exclude = "[^0-9]"\n')
    for keys, status in (*((line, 0) for line in left_out), ("", 2)):
        file = write(tmp_path, source + keys)
        for arguments in (["symbols", str(file)], ["symbols", str(file), "--list"], ["run", "--check", str(file)]):
            assert main(arguments) == status
            captured = capsys.readouterr()
            said = captured.out + captured.err
            assert all(line.replace("\t", "").isprintable() for line in said.splitlines())
            assert "lines" not in [line.split(",")[0] for line in said.splitlines()]
            assert len(said) < 2_000
    assert "cannot be printed" in said or "white space" in said


def test_the_name_of_a_feed_is_no_file_and_says_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["symbols", "cn"]) == 2
    assert capsys.readouterr().err == (
        "openbell: cn: there is no such file; of a running feed: openbell symbols cn --live\n"
    )


def test_two_spellings_of_one_symbol_are_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, 'vendor = "binance"\nsymbols = ["btcusdt", "BTCUSDT", "ethusdt"]\n')
    found = shown(file, capsys)
    assert (found["symbols"], found["connections"][0]["symbols"]) == (2, ["btcusdt", "ethusdt"])


def test_all_us_stocks_take_four_connections_three_seconds_apart_at_alltick(tmp_path: Path) -> None:
    (tmp_path / "us.txt").write_text("\n".join(us_codes()[:11_000]), "utf-8")
    file = write(tmp_path, ALLTICK + 'symbols_file = "us.txt"\nconnections = "auto"\n')
    loaded = config.load(file)
    asked = asked_for(loaded, vendors.check(loaded, file))
    assert [len(each.symbols) for each in asked] == [2_750] * 4
    assert [each.messages for each in asked] == [1] * 4
    begins = [each.begins_s for each in asked]
    assert begins[0] == 0.0
    assert all(3.0 <= later - earlier <= 4.0 for earlier, later in pairwise(begins))

"""Lists of symbols that are read again: what changes is passed on, and what cannot be right changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_server import until

from openbell import config
from openbell.errors import FeedGone, OpenBellError
from openbell.universe.refreshing import Refresher


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Told:
    """A controller that remembers what it was told; it refuses some symbols, or fails."""

    def __init__(self, refused: Mapping[str, str] | None = None, error: OpenBellError | None = None) -> None:
        self.refused = refused or {}
        self.error = error
        self.changes: list[tuple[int, list[str], list[str]]] = []

    def change(self, source: int, new: Sequence[str], gone: Sequence[str]) -> Mapping[str, str]:
        if self.error is not None:
            raise self.error
        self.changes.append((source, list(new), list(gone)))
        return {symbol: why for symbol, why in self.refused.items() if symbol in new or symbol in gone}


class Scene:
    """A feed whose list is a file, which a test may write anew."""

    def __init__(self, tmp_path: Path, symbols: str, universe: str = "") -> None:
        self.list = tmp_path / "list.txt"
        self.write(symbols)
        file = tmp_path / "feed.toml"
        file.write_text(
            '[feed]\nname = "x"\n[[source]]\nvendor = "alltick"\nurl = "ws://127.0.0.1:1/"\nsymbols = ["1.HK"]\n'
            f'symbols_file = "list.txt"\n[source.universe]\nrefresh_minutes = 60\n{universe}\n',
            "utf-8",
        )
        self.told = Told()
        self.now = 0.0
        self.refresher = Refresher(config.load(file), self.told, lambda: self.now)

    def write(self, symbols: str) -> None:
        self.list.write_text("\n".join(symbols.split()), "utf-8")

    def refresh(self, symbols: str | None = None) -> list[tuple[int, list[str], list[str]]]:
        """Read the list again, with what it has by now; return what was passed on."""
        if symbols is not None:
            self.write(symbols)
        before = len(self.told.changes)
        self.refresher.refresh(self.refresher.lists[0])
        return self.told.changes[before:]


def test_what_is_new_is_subscribed_and_what_is_gone_unsubscribed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, "700.HK 9988.HK")
    with caplog.at_level(logging.INFO, "openbell.universe"):
        assert scene.refresh() == []
        assert scene.refresh("700.HK 5.HK 941.HK") == [(1, ["5.HK", "941.HK"], ["9988.HK"])]
        assert scene.refresh() == []
    assert [record.message for record in caplog.records] == [
        "the list was read again: its 3 symbols are the same",
        "the list was read again: 2 new (5.HK, 941.HK), 1 gone (9988.HK), 4 symbols now",
        "the list was read again: its 4 symbols are the same",
    ]


def test_a_list_is_narrowed_and_spelled_as_at_the_start(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "00700 09988", 'suffix = ".HK"\nhk_digits = 1\nexclude = "^8"')
    assert scene.refresh("00700 09988 08001 00005") == [(1, ["5.HK"], [])]


@pytest.mark.parametrize(
    ("symbols", "said"),
    [
        ("", "lists no symbol; the 5 symbols from before stay"),
        ('{"code": 1}', "it begins with '{' and is no text with a code a line"),
        ("700.HK", "source.universe: 3 of 5 symbols are in the list no more (3.HK, 4.HK, 5.HK), and max_shrink = 0.5"),
        ("700.HK 3.HK 4.HK 5.HK 00005.HK", "1 of 6 symbols cannot be asked for: '00005.HK' is no code of alltick; did"),
        ("700.HK 3.HK 4.HK 5.HK A,B", "1 of 6 symbols cannot be asked for: 'A,B' is no code of alltick"),
    ],
)
def test_a_list_that_cannot_be_right_changes_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, symbols: str, said: str
) -> None:
    scene = Scene(tmp_path, "700.HK 3.HK 4.HK 5.HK")
    assert scene.refresh(symbols) == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert said in record.message
    assert record.message.endswith("; the 5 symbols from before stay")
    assert scene.refresh("700.HK 3.HK 4.HK 6.HK") == [(1, ["6.HK"], ["5.HK"])]


def test_a_file_that_vanishes_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path, "700.HK 3.HK")
    scene.list.unlink()
    assert scene.refresh() == []
    assert caplog.records[-1].message.endswith("list.txt: there is no such file; the 3 symbols from before stay")


def test_how_much_a_list_may_lose_is_ones_own_choice(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "2.HK 3.HK 4.HK", "max_shrink = 1")
    assert scene.refresh("5.HK") == [(1, ["5.HK"], ["2.HK", "3.HK", "4.HK"])]
    strict = Scene(tmp_path, "2.HK 3.HK 4.HK", "max_shrink = 0")
    assert strict.refresh("2.HK 3.HK") == []
    assert strict.refresh("2.HK 3.HK 4.HK 5.HK") == [(1, ["5.HK"], [])]


def test_codes_that_cannot_be_are_left_out_where_that_is_said(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "700.HK", 'faulty = "leave_out"')
    assert scene.refresh("700.HK 00005.HK 5.HK") == [(1, ["5.HK"], [])]
    anything = Scene(tmp_path, "700.HK", 'faulty = "ask"')
    assert anything.refresh("700.HK 00005.HK 5.HK") == [(1, ["00005.HK", "5.HK"], [])]


def test_what_was_refused_is_asked_for_again_with_the_next_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, "700.HK 3.HK")
    scene.told.refused = {"5.HK": "there is no room", "3.HK": "it cannot be cancelled"}
    assert scene.refresh("700.HK 5.HK 6.HK") == [(1, ["5.HK", "6.HK"], ["3.HK"])]
    assert caplog.records[-1].message == (
        "2 changes were refused: 5.HK: there is no room; 3.HK: it cannot be cancelled"
    )
    scene.told.refused = {}
    assert scene.refresh() == [(1, ["5.HK"], ["3.HK"])]
    assert scene.refresh() == []


def test_receivers_that_cannot_be_told_are_told_with_the_next_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, "700.HK")
    scene.told.error = FeedGone("nobody answers")
    assert scene.refresh("700.HK 5.HK") == []
    assert caplog.records[-1].message == (
        "the list has changed, and nobody could be told: nobody answers; next time again"
    )
    scene.told.error = None
    assert scene.refresh() == [(1, ["5.HK"], [])]


def test_messages_say_which_of_several_sources_they_are_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = Scene(tmp_path, "700.HK", '[[source]]\nvendor = "binance"\nprefix = "b:"\nsymbols = ["BTCUSDT"]')
    both.refresh("")
    assert caplog.records[-1].message.startswith("[[source]] 1 of 2: source.symbols_file: ")


def test_lists_are_read_when_they_are_due_and_not_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "700.HK")
    (listed,) = scene.refresher.lists
    assert listed.due == 3600.0
    scene.now = 5000.0
    scene.refresh()
    assert listed.due == 8600.0


def test_a_thread_reads_the_lists_until_it_is_stopped(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "700.HK")
    loaded = config.load(tmp_path / "feed.toml")
    told = Told()
    refresher = Refresher(loaded, told)
    refresher.lists[0].due = 0.0
    scene.write("700.HK 5.HK")
    refresher.start()
    try:
        until(lambda: told.changes)
    finally:
        refresher.stop()
    refresher.stop()
    assert told.changes == [(1, ["5.HK"], [])]


def test_only_lists_of_which_it_is_wanted_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("A", "utf-8")
    file = tmp_path / "feed.toml"
    file.write_text('[feed]\nname = "x"\n[source]\nvendor = "binance"\nsymbols_file = "codes.txt"\n', "utf-8")
    loaded = config.load(file)
    assert not loaded.source.refreshes
    refresher = Refresher(loaded, Told())
    refresher.start()
    refresher.stop()
    assert refresher.lists == []


@settings(max_examples=30)
@given(st.lists(st.sets(st.integers(1, 12), min_size=1), min_size=2, max_size=6))
def test_the_changes_of_all_refreshes_together_lead_from_the_first_list_to_the_last(
    tmp_path_factory: pytest.TempPathFactory, lists: list[set[int]]
) -> None:
    def text(numbers: set[int]) -> str:
        return " ".join(f"{number}.HK" for number in sorted(numbers))

    scene = Scene(tmp_path_factory.mktemp("lists"), text(lists[0]), "max_shrink = 1")
    subscribed = set(scene.refresher.lists[0].symbols)
    for numbers in lists[1:]:
        for _, new, gone in scene.refresh(text(numbers)):
            assert not subscribed & set(new)
            assert set(gone) <= subscribed
            subscribed = (subscribed | set(new)) - set(gone)
        # The configuration itself lists one.
        assert subscribed == {f"{number}.HK" for number in numbers} | {"1.HK"}

"""A session roll as a program: one record that changes several rows, each under the one undo word, then is counted.

To roll a row is: previous := volume, volume := 0, session := `NEW`, in one odd window; a row that has the session is
passed over. Behind the rows the record is counted in a row of its own. Rolled twice, a row's previous is 0; counted
twice, the count is 2. In the other ring, from the worker's first restart on, waits a record that sets row 0's session.
"""

from __future__ import annotations

from collections.abc import Callable

from .explorer import Results, Scenario
from .machine import Process
from .program import Memory, Program, Step, check, jump, let, load, load_fence, only, store, store_fence, unless

VOLUME, NEW, OTHER = 5, 1, 2
NONE, ROLL, HALT = -1, 10, 20  # the undo word: of nothing, of the roll, of the other ring's record
DISARMED = 100  # added to it: there is nothing to put back
COLUMNS = ("volume", "previous", "session")
COUNT_ROW = 2
NEITHER = "the restart leaves the undo armed and begins with the first ring"


def _words(rows: int) -> Memory:
    columns = {f"{column}{row}": VOLUME + row if column == "volume" else 0 for row in range(rows) for column in COLUMNS}
    versions = {f"version{row}": 0 for row in (*range(rows), COUNT_ROW)}
    images = {f"image.{column}": 0 for column in (*COLUMNS, "count")}
    undo = {"undo.word": NONE, "undo.row": 0, **images}
    return {"applied0": 0, "applied1": 0, f"count{COUNT_ROW}": 0, **columns, **versions, **undo}


def _window(row: int, word: int, columns: tuple[str, ...], data: list[Step], broken: str) -> list[Step | str]:
    """Change some columns of a row: images, word, odd, data, even."""
    return [
        *unless(broken == "no fence before the images", store_fence()),  # SYNC POINT: undo-reuse
        *[step for column in columns for step in (load(column, f"{column}{row}"), _image(column))],
        store("undo.row", row),
        store("undo.word", word, release=True),  # SYNC POINT: undo-armed
        load("version", f"version{row}"),
        store(f"version{row}", lambda version: version + 1, release=True),  # SYNC POINT: undo-armed
        store_fence(),  # SYNC POINT: row-odd
        *data,
        store(f"version{row}", lambda version: version + 2, release=True),  # SYNC POINT: row-even
    ]


def _image(column: str) -> Step:
    copies: dict[str, Callable[..., int]] = {
        "volume": lambda volume: volume,
        "previous": lambda previous: previous,
        "session": lambda session: session,
        "count": lambda count: count,
    }
    return store(f"image.{column}", copies[column])


def _roll(rows: int, broken: str, tag: str = "", *, counts: bool = True) -> list[Step | str]:
    """Roll what is not rolled yet, then count the record, unless it is applied."""
    disarm = unless(
        broken == "the undo stays armed between two rows",
        store("undo.word", ROLL + DISARMED),  # SYNC POINT: undo-done
    )
    count = _window(COUNT_ROW, ROLL, ("count",), [store(f"count{COUNT_ROW}", lambda count: count + 1)], broken)
    each: list[Step | str] = []
    for row in range(rows):
        data = [
            store(f"previous{row}", lambda volume: volume),
            store(f"volume{row}", 0),
            store(f"session{row}", NEW),
        ]
        again = broken == "a row that has the session is rolled again"
        passed = [load("held", f"session{row}"), jump(f"rolled {row}{tag}", lambda held: held == NEW)]
        each += [*unless(again, *passed), *disarm, *_window(row, ROLL, COLUMNS, data, broken), f"rolled {row}{tag}"]
    first = broken == "the record is counted before the rows"
    return [
        jump(f"applied{tag}", lambda applied1: applied1 > 0),
        *only(first, *disarm, *count),
        *each,
        *only(counts and not first, *disarm, *count),
        store("applied1", 1, release=True),  # SYNC POINT: ring-gate
        let("applied1", 1),
        f"applied{tag}",
    ]


def _halt(broken: str) -> list[Step | str]:
    """Apply the record of the other ring, unless it is applied."""
    return [
        jump("halted", lambda applied0: applied0 > 0),
        *_window(0, HALT, COLUMNS, [store("session0", OTHER)], broken),
        store("applied0", 1, release=True),  # SYNC POINT: ring-gate
        "halted",
    ]


def _put_back(row: int) -> list[Step | str]:
    """Put the images back, if they are of this row."""
    images: dict[str, Callable[..., int]] = {
        "volume": lambda volume: volume,
        "previous": lambda previous: previous,
        "session": lambda session: session,
        "count": lambda count: count,
    }
    columns = ("count",) if row == COUNT_ROW else COLUMNS
    return [
        jump(f"not row {row}", _differs_from(row)),
        load("version", f"version{row}"),
        jump(f"odd {row}", lambda version: version % 2 == 1),
        let("version", lambda version: version + 1),
        store(f"version{row}", lambda version: version),
        f"odd {row}",
        store_fence(),  # SYNC POINT: row-odd
        *[
            step
            for column in columns
            for step in (load(column, f"image.{column}"), store(f"{column}{row}", images[column]))
        ],
        store(f"version{row}", lambda version: version + 1, release=True),  # SYNC POINT: row-even
        f"not row {row}",
    ]


def _differs_from(wanted: int) -> Callable[..., bool]:
    return lambda row: row != wanted


def _restarted(rows: int, halted: bool, broken: str) -> Program:
    """Put back what was half done, finish the record that it was half of, and go on with the first ring."""
    armed = broken in ("the restart leaves the undo armed", NEITHER)
    first = broken in ("the restart begins with the first ring", NEITHER)
    disarm = store("undo.word", lambda word: word + DISARMED, release=True)  # SYNC POINT: undo-done
    finish = [
        jump("nothing begun", lambda word: word % DISARMED != ROLL),
        *_roll(rows, broken, " first"),
        "nothing begun",
    ]
    return Program(
        [
            load("applied0", "applied0"),
            load("applied1", "applied1"),
            load("word", "undo.word"),
            load("row", "undo.row"),
            jump("go on", lambda word, applied1: word == ROLL and applied1 > 0),
            jump("go on", lambda word, applied0: word == HALT and applied0 > 0),
            jump("whole", lambda word: word not in (ROLL, HALT)),
            *[step for row in (*range(rows), COUNT_ROW) for step in _put_back(row)],
            *unless(armed, disarm),
            "whole",
            *unless(first, *finish),
            "go on",
            *only(halted, *_halt(broken)),
            *_roll(rows, broken),
        ]
    )


def rolled(rows: int = 2, *, crashes: int = 2, halted: bool = True, broken: str = "") -> Scenario:
    """A worker killed anywhere in a roll, again and again: each row rolled once, the record counted once."""

    def last(memory: Memory, _results: Results) -> str | None:
        for row in range(rows):
            held = [memory[f"{column}{row}"] for column in COLUMNS]
            if held not in ([0, VOLUME + row, NEW], [0, VOLUME + row, OTHER]):
                return f"row {row} is {held}: not rolled once"
        odd = [name for name in memory if name.startswith("version") and int(str(memory[name])) % 2]
        if odd or memory[f"count{COUNT_ROW}"] != 1:
            return f"counted {memory[f'count{COUNT_ROW}']} times, left odd: {odd}"
        return None

    worker = Program([let("applied1", 0), *_roll(rows, broken)])
    again = _restarted(rows, halted, broken)
    return Scenario(_words(rows), [Process("worker", worker, again, crashes, owns=_words(rows))], last)


def _reader(broken: str) -> Program:
    """Copy row 0, out of the undo area while it is odd."""
    columns = [load(column, f"{column}0") for column in COLUMNS]
    images = [load(column, f"image.{column}") for column in COLUMNS]
    whole = check(
        lambda volume, previous, session: (volume, previous, session) in ((VOLUME, 0, 0), (0, VOLUME, NEW)),
        "the reader took a row that is half rolled",
    )
    judged: list[Step | str] = [load("after", "version0"), jump("retry", lambda before, after: before != after)]
    return Program(
        [
            "retry",
            load("before", "version0", acquire=True),  # SYNC POINT: row-even, undo-armed
            jump("in flight", lambda before: before % 2 == 1),
            *columns,
            load_fence(),  # SYNC POINT: row-odd
            *judged,
            jump("copied"),
            "in flight",
            load("word", "undo.word", acquire=True),
            jump("retry", lambda word: word < 0 or word >= DISARMED),
            load("row", "undo.row"),
            jump("retry", lambda row: row != 0),
            *images,
            *unless(broken == "no fence after the images are read", load_fence()),  # SYNC POINT: undo-reuse
            *unless(broken == "the version is not read again", *judged),
            "copied",
            whole,
        ]
    )


def watched(*, broken: str = "") -> Scenario:
    """A worker that is killed anywhere in a roll and never comes back, and a reader of its first row.

    The undo word is the same for all rows of a roll: it is the version that tells whose the images are.
    """
    worker = Process("worker", Program([let("applied1", 0), *_roll(2, broken, counts=False)]), None, 1, owns=_words(2))
    return Scenario(_words(2), [worker, Process("reader", _reader(broken))])

"""The reader that meets an odd row, and the seam between a copied row and the ring that it follows from there.

The reader remembers `applied`, takes a consistent copy of row 0 (out of the undo area if the version is odd), and is
then given the records from `applied` on that the copy does not hold yet. Whatever crashes, copy and records together
must come to the full sum in each column: no hole, no double.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .explorer import Results, Scenario
from .machine import Process
from .program import Memory, Program, Step, check, jump, let, load, load_fence, only, unless
from .undo import BITS, ONE_COLUMN, Record, applied_once, columns_of, process, words_of


def _whole(records: Sequence[Record], column: str) -> Callable[..., bool]:
    full = sum(record.adds(column) for record in records)

    def holds(copied: int, updated: int, applied: int) -> bool:
        since = max(applied, updated)
        return full == copied + sum(record.adds(column) for record in records if record.position >= since)

    if column == "a":
        return lambda a, updated, applied0: holds(a, updated, applied0)
    return lambda b, updated, applied0: holds(b, updated, applied0)


def _before_the_record(column: str, masked: bool) -> list[Step | str]:
    """Read a column as it was before the record in flight: its image if the record touches it, else itself."""
    if not masked:
        return [load(column, f"image.{column}")]
    bit = BITS[column]
    choose: Callable[..., int] = lambda mask, image, live: image if mask & bit else live  # noqa: E731
    return [load("image", f"image.{column}"), load("live", f"{column}0"), let(column, choose)]


def _follower(records: Sequence[Record], broken: str) -> Program:
    columns = columns_of(records)
    masked = len(columns) > 1
    several_rows = len({record.row for record in records}) > 1
    applied: list[Step | str] = [load("applied0", "applied0", acquire=broken != "applied is a plain load")]
    late = broken == "applied is read after the row"
    word: list[Step | str] = [
        load("word_after", "undo.word"),
        jump("retry", lambda word, word_after: word != word_after),
    ]
    row: list[Step | str] = [load("row", "undo.row"), jump("retry", lambda row: row != 0)]
    version: list[Step | str] = [load("after", "version0"), jump("retry", lambda before, after: before != after)]
    mine = [record for record in records if record.row == 0]
    without_word = broken == "the undo word is not looked at"  # no mutant: it is right as well
    return Program(
        [
            "retry",
            *unless(late, *applied),
            load("before", "version0", acquire=True),  # SYNC POINT: row-even, undo-armed
            jump("retry" if broken == "the undo is not read" else "in flight", lambda before: before % 2 == 1),
            *[load(column, f"{column}0") for column in (*columns, "updated")],
            load_fence(),  # SYNC POINT: row-odd
            *version,
            jump("copied"),
            "in flight",
            *unless(without_word, load("word", "undo.word", acquire=True)),
            *only(several_rows and broken != "the undo row is not compared", *row),
            *only(masked, load("mask", "undo.mask")),
            *[step for column in columns for step in _before_the_record(column, masked)],
            load("updated", "image.updated"),
            *unless(broken == "no fence after the images are read", load_fence()),  # SYNC POINT: undo-reuse
            *unless(without_word, *word),
            *unless(broken == "the version is not read again", *version),
            "copied",
            *only(late, *applied),
            *[
                check(_whole(mine, column), f"column {column}: copy and following records leave a hole or a double")
                for column in columns
            ],
        ]
    )


def followed(records: Sequence[Record] = ONE_COLUMN, *, crashes: int = 0, broken: str = "") -> Scenario:
    """A worker, killed anywhere and restarted, and a follower."""

    def last(memory: Memory, _results: Results) -> str | None:
        return applied_once(records, memory)

    reader = Process("reader", _follower(records, broken))
    return Scenario(words_of(records), [process(records, crashes, broken=broken), reader], last)


def abandoned(records: Sequence[Record] = ONE_COLUMN, *, broken: str = "") -> Scenario:
    """A worker that is killed anywhere and never comes back, and a follower: it gets its copy all the same."""
    worker = process(records, 1, restarts=False, broken=broken)
    return Scenario(words_of(records), [worker, Process("reader", _follower(records, broken))])

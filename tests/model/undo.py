"""Apply, undo and restart of a worker as programs.

A record adds an amount to some columns of one row, and its position + 1 becomes the row's `updated`. The worker can be
killed before, between and after any of its stores, and so can its successor in the middle of the undo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .explorer import Results, Scenario
from .machine import Process
from .program import Memory, Program, Step, jump, let, load, only, store, store_fence, unless

NONE = -1  # the undo word before the first record
RING = 10  # the undo word of ring r, position p is r * RING + p
BITS = {"a": 1, "b": 2}


class Record(NamedTuple):
    """What the worker finds at a position of a ring."""

    ring: int
    position: int
    row: int
    columns: str  # which of "a" and "b" it touches
    amount: int

    def adds(self, column: str) -> int:
        """Return what the record adds to a column."""
        return self.amount if column in self.columns else 0


ONE_COLUMN = (Record(0, 0, 0, "a", 1), Record(0, 1, 0, "a", 10))
TWO_COLUMNS = (Record(0, 0, 0, "ab", 1), Record(0, 1, 0, "b", 10))
TWO_ROWS = (Record(0, 0, 0, "a", 1), Record(0, 1, 1, "a", 10), Record(0, 2, 0, "a", 100))
OTHER_COLUMN = (Record(0, 0, 0, "a", 1), Record(0, 1, 0, "b", 10))
OTHER_ROW = (Record(0, 0, 0, "a", 1), Record(0, 1, 1, "a", 10))
TWO_RINGS = (Record(0, 0, 0, "a", 1), Record(1, 0, 0, "a", 10))


def columns_of(records: Sequence[Record]) -> list[str]:
    """Return the columns that a scenario needs; `updated` comes with each."""
    return sorted({column for record in records for column in record.columns})


def words_of(records: Sequence[Record]) -> Memory:
    """Return the shared words that a scenario needs; what could never differ is left out."""
    columns = [*columns_of(records), "updated"]
    rows = {f"{column}{row}": 0 for row in sorted({r.row for r in records}) for column in (*columns, "version")}
    undo = {"undo.word": NONE, "undo.row": 0, "undo.mask": 0, **{f"image.{column}": 0 for column in columns}}
    return {**{f"applied{ring}": 0 for ring in (0, 1)}, **rows, **undo}


def applied_before(record: Record) -> Callable[..., bool]:
    """Return whether the worker had applied a record when it (re)started."""
    if record.ring == 0:
        return lambda applied0: applied0 > record.position
    return lambda applied1: applied1 > record.position


def _apply(at: int, record: Record, several: tuple[bool, bool], broken: str) -> list[Step | str]:
    """Apply one record, in the order that lets a successor decide what became of it."""
    row, columns = record.row, [*record.columns, "updated"]
    several_rows, several_columns = several
    applied = store(f"applied{record.ring}", record.position + 1, release=True)  # SYNC POINT: ring-gate
    armed = store("undo.word", record.ring * RING + record.position, release=broken != "the undo word is a plain store")
    images: list[Step | str] = [
        *[load(column, f"{column}{row}") for column in columns],
        store("image.a", lambda a: a) if "a" in columns else store("image.b", lambda b: b),
        *only("a" in columns and "b" in columns, store("image.b", lambda b: b)),
        store("image.updated", lambda updated: updated),
        *only(several_rows, store("undo.row", row)),
        *only(several_columns, store("undo.mask", sum(BITS[column] for column in record.columns))),
    ]
    first = store(f"a{row}", lambda a: a + record.amount)
    second = store(f"b{row}", lambda b: b + record.amount)
    data = [*only("a" in columns, first), *only("b" in columns, second)]
    updated = store(f"updated{row}", record.position + 1)
    odd = store(f"version{row}", lambda version: version + 1, release=broken != "the odd version is a plain store")
    even = store(f"version{row}", lambda version: version + 2, release=True)
    early_word = broken == "the undo word is stored before the images"
    late_word = broken == "the undo word is stored after the odd version"
    early_applied = broken == "applied moves before the row is written"
    applied_before_even = broken == "applied moves before the version is even"
    late_updated = broken == "updated is stored after the even version"
    return [
        jump(f"applied {at}", applied_before(record)),
        *unless(broken == "no fence before the images", store_fence()),  # SYNC POINT: undo-reuse
        *only(early_word, armed),
        *images,
        *unless(early_word or late_word, armed),  # SYNC POINT: undo-armed
        load("version", f"version{row}"),
        odd,  # SYNC POINT: undo-armed
        *only(late_word, armed),
        store_fence(),  # SYNC POINT: row-odd
        *only(early_applied, applied),
        *data,
        *unless(late_updated, updated),
        *only(applied_before_even, applied),
        even,  # SYNC POINT: row-even
        *only(late_updated, updated),
        *unless(early_applied or applied_before_even, applied),
        f"applied {at}",
    ]


def _apply_all(records: Sequence[Record], broken: str) -> list[Step | str]:
    several = len({record.row for record in records}) > 1, len(columns_of(records)) > 1
    return [step for at, record in enumerate(records) for step in _apply(at, record, several, broken)]


def _worker(records: Sequence[Record], broken: str) -> Program:
    return Program([let("applied0", 0), let("applied1", 0), *_apply_all(records, broken)])


def _restarted_worker(records: Sequence[Record], broken: str) -> Program:
    """Put the images back if the dead worker stood between arming them and moving `applied`; then go on."""
    restore: list[Step | str] = []
    for column, image in (("a", lambda image_a: image_a), ("b", lambda image_b: image_b)):
        if column in columns_of(records):
            restore.append(load(f"image_{column}", f"image.{column}"))
            if len(columns_of(records)) > 1:
                restore.append(jump(f"not {column}", _untouched(BITS[column])))
            restore += [store(_of_row(column), image), f"not {column}"]
    restore += [load("image_updated", "image.updated"), store(_of_row("updated"), lambda image_updated: image_updated)]
    odd: list[Step | str] = [
        jump("odd", lambda version: version % 2 == 1),
        let("version", lambda version: version + 1),
        store(_of_row("version"), lambda version: version),
        "odd",
        store_fence(),  # SYNC POINT: row-odd
    ]
    back = broken == "the version goes back at restart"
    even = store(_of_row("version"), lambda version: version - 1 if back else version + 2 - version % 2, release=True)
    return Program(
        [
            load("applied0", "applied0"),
            load("applied1", "applied1"),
            load("word", "undo.word"),
            load("row", "undo.row"),
            load("mask", "undo.mask"),
            jump("go on", _nothing_in_flight(broken)),
            load("version", _of_row("version")),
            *unless(broken == "the restart does not make the version odd", *odd),
            *unless(broken == "the restart does not put the images back", *restore),
            *unless(broken == "the restart leaves the version odd", even),  # SYNC POINT: row-even
            "go on",
            *_apply_all(records, broken),
        ]
    )


def _of_row(column: str) -> Callable[[int], str]:
    return lambda row: f"{column}{row}"


def _untouched(bit: int) -> Callable[..., bool]:
    return lambda mask: mask & bit == 0


def _nothing_in_flight(broken: str) -> Callable[..., bool]:
    if broken == "the restart does not compare the undo word":
        return lambda word: word == NONE
    if broken == "the restart does not compare the ring":
        return lambda word, applied0, applied1: word == NONE or word % RING not in (applied0, applied1)
    return lambda word, applied0, applied1: word not in (applied0, RING + applied1)


def process(records: Sequence[Record], crashes: int, *, restarts: bool = True, broken: str = "") -> Process:
    """Return a worker that may be killed ``crashes`` times. All words of an undo scenario are its own."""
    again = _restarted_worker(records, broken) if restarts else None
    return Process("worker", _worker(records, broken), again, crashes, owns=words_of(records))


def applied_once(records: Sequence[Record], memory: Memory) -> str | None:
    """Return what is wrong with the rows when every record should have been applied exactly once, or None."""
    for row in sorted({record.row for record in records}):
        for column in columns_of(records):
            full = sum(record.adds(column) for record in records if record.row == row)
            if memory[f"{column}{row}"] != full:
                return f"row {row} column {column} is {memory[f'{column}{row}']}, not {full}"
        version = memory[f"version{row}"]
        if not isinstance(version, int) or version % 2:
            return f"row {row} is left at the odd version {version}"
    for ring in (0, 1):
        if memory[f"applied{ring}"] != sum(record.ring == ring for record in records):
            return f"ring {ring}: not all records were applied"
    return None


def worker(records: Sequence[Record] = TWO_COLUMNS, *, crashes: int = 2, broken: str = "") -> Scenario:
    """A worker alone, killed anywhere, again and again: every record applied exactly once."""

    def last(memory: Memory, _results: Results) -> str | None:
        return applied_once(records, memory)

    return Scenario(words_of(records), [process(records, crashes, broken=broken)], last)

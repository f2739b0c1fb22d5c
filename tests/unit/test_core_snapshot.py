"""The snapshot: consistent copies, also of a row whose worker died in the middle of it."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from corelab.memory import memory
from corelab.oracle import Copy
from corelab.records import Record, quote, trade
from corelab.rig import Rig

from openbell.core import snapshot, words
from openbell.core.snapshot import SnapshotReader

NAMES = [name for name, _ in snapshot.COLUMNS]
PRICES = {"last", "open", "high", "low", "prev_close", "bid", "ask"}
TRADE = (
    "last", "size", "open", "high", "low", "volume", "turnover", "trades", "trade_exchange_ns", "trade_sequence",
    "receive_ns", "updated",
)  # fmt: skip
QUOTE = ("bid", "bid_size", "ask", "ask_size", "quote_exchange_ns", "quote_sequence", "receive_ns", "updated")
READ_NS = 50_000_000


# ---- layout ----


@pytest.mark.parametrize(("rows", "workers"), [(64, 1), (128, 3), (16384, 4)])
def test_a_new_snapshot_holds_nan_in_prices_and_zero_elsewhere(rows: int, workers: int) -> None:
    buffer = memory(snapshot.size(rows, workers))
    snapshot.format(buffer, rows, workers)
    reader = SnapshotReader(memoryview(buffer).toreadonly())
    assert (reader.rows, reader.data_rows, reader.workers) == (rows + 64 * workers, rows, workers)
    copy = Copy.all(reader)
    for name, kind in snapshot.COLUMNS:
        assert kind in ("f8", "i8")
        column = copy[name]
        assert np.isnan(column).all() if name in PRICES else not column.any(), name


def test_a_column_is_contiguous_and_can_be_read_in_place() -> None:
    rig = Rig(rows=128)
    rig.feed([trade(row, 100.0 + row, 1.0) for row in range(128)])
    for name, kind in snapshot.COLUMNS:
        live = np.frombuffer(rig.snapshot, f"<{kind}", rig.reader.rows, rig.reader.column_offset(name))
        np.testing.assert_array_equal(live, rig.copy()[name])
    with pytest.raises(KeyError, match="no column 'price'"):
        rig.reader.column_offset("price")


def test_columns_do_not_all_begin_in_the_same_cache_set() -> None:
    reader = Rig(rows=16384 - 64).reader
    offsets = [reader.column_offset(name) for name in NAMES]
    assert all(offset % 64 == 0 for offset in offsets)
    assert len({offset % 4096 for offset in offsets}) > 20


def test_every_feed_row_has_a_block_of_its_own() -> None:
    assert [snapshot.feed_row(128, worker) for worker in range(3)] == [128, 192, 256]


@pytest.mark.parametrize(("rows", "workers"), [(0, 1), (63, 1), (100, 1), (64, 0), (64, 65), (-64, 1)])
def test_an_impossible_snapshot_is_refused(rows: int, workers: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        snapshot.size(rows, workers)


def test_memory_that_holds_no_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        SnapshotReader(memory(snapshot.size(64, 1)))
    with pytest.raises(ValueError, match="are needed"):
        SnapshotReader(memory(100))
    whole = Rig(rows=1024).snapshot
    with pytest.raises(ValueError, match="shorter than the snapshot"):
        SnapshotReader(memoryview(whole)[: snapshot.size(64, 1)])
    with pytest.raises(ValueError, match="are needed"):
        snapshot.format(memory(4096), 64, 1)


# ---- copies ----


def test_a_copy_of_no_rows_is_empty() -> None:
    assert Copy.of(Rig().reader, []).rows == 0


@pytest.mark.parametrize("row", [-1, 128, 2**40])
def test_a_row_that_does_not_exist_is_refused_before_anything_is_copied(row: int) -> None:
    reader = Rig().reader
    out = np.full((len(NAMES), 2), 7, np.uint64)
    with pytest.raises(IndexError, match=f"row {row} of 128"):
        reader.copy_rows(np.array([0, row], np.intp), out)
    assert (out == 7).all()


def test_a_target_that_is_too_small_is_refused() -> None:
    reader = Rig().reader
    with pytest.raises(ValueError, match="are needed"):
        reader.copy_rows(np.array([1, 2], np.intp), np.empty((len(NAMES), 1), np.uint64))
    with pytest.raises(ValueError, match="are needed"):
        reader.copy_all(np.empty((len(NAMES), reader.rows - 1), np.uint64))


def test_a_target_that_cannot_be_written_is_refused() -> None:
    reader = Rig().reader
    out = np.empty((len(NAMES), reader.rows), np.uint64)
    out.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        reader.copy_all(out)


def traded(rows: int = 1600) -> Rig:
    """Return a rig of which every row holds something else."""
    rig = Rig(rows=rows)
    rig.feed([trade(row, 100.0 + row, 1.0 + row, exchange_ns=row) for row in range(rows)])
    rig.feed([quote(row, 99.0 + row, 2.0, 101.0 + row, 3.0, row) for row in range(0, rows, 3)])
    return rig


@pytest.mark.parametrize(
    "rows",
    [
        range(1600),
        range(511, 1537),
        [5],
        [1599],
        [0, 1, 2, 64, 65, 1598, 1599, 1600],
        [9, 8, 7, 7, 8, 9, 3, 3],
        range(0, 1600, 2),
        [*range(64), *range(128, 1152), *range(3)],
    ],
    ids=str,
)
def test_runs_of_rows_are_copied_as_single_rows_are(rows: Sequence[int]) -> None:
    rig = traded()
    whole = rig.copy()
    copy = Copy.of(rig.reader, rows)
    for name, kind in snapshot.COLUMNS:
        assert copy[name].tobytes() == whole[name][list(rows)].astype(kind).tobytes(), name
    assert copy.undone == 0


@pytest.mark.parametrize("names", [["last"], ["updated", "bid", "version", "last"], ["last", "last"], NAMES[::-1], []])
def test_only_the_columns_that_are_wanted_are_copied_in_their_order(names: list[str]) -> None:
    rig = traded()
    wanted = np.array([*range(600), 700, 3], np.intp)
    out = np.full((len(names) + 1, len(wanted)), 7, np.uint64)
    whole = rig.copy()
    assert rig.reader.copy_rows(wanted, out, [NAMES.index(name) for name in names]) == 0
    for name, found in zip(names, out, strict=False):
        assert found.tobytes() == whole[name][wanted].tobytes(), name
    assert (out[-1] == 7).all()


def test_columns_that_do_not_exist_or_are_too_many_are_refused() -> None:
    reader = Rig().reader
    out = np.empty((100, 1), np.uint64)
    for place in (-1, len(NAMES)):
        with pytest.raises(IndexError, match=f"column {place} of {len(NAMES)}"):
            reader.copy_rows(np.zeros(1, np.intp), out, [1, place])
    with pytest.raises(ValueError, match="at most 65 columns"):
        reader.copy_rows(np.zeros(1, np.intp), out, [1] * 66)
    with pytest.raises(ValueError, match="are needed"):
        reader.copy_rows(np.zeros(1, np.intp), out[:2], [1, 2, 3])


# ---- a row whose worker died ----


class Dead:
    """A worker that died while it applied a record to `row`: some columns changed, the version odd, the undo armed."""

    def __init__(self, row: int, touched: tuple[str, ...], worker: int = 0, workers: int = 1) -> None:
        self.rig = Rig(rows=128, worker=worker, workers=workers)
        self.row = row
        self.rig.feed([trade(row, 10.0, 2.0, 21.0, 5, exchange_ns=3), quote(row, 9.0, 1.0, 11.0, 4.0, 6)])
        self.before = Copy.of(self.rig.reader, [row])
        self.touched = touched
        self.rig.arm_undo(row, {name: self.rig.image(name, row) for name in touched}, self.rig.applied())
        self.rig.put("version", row, int(self.before["version"][0]) + 1)

    def overwrite(self, count: int) -> None:
        """Change the first `count` of the columns, as far as the dead worker had come."""
        for name in self.touched[:count]:
            self.rig.put(name, self.row, 777)

    def copies(self) -> list[Copy]:
        """Return the row, copied alone and copied with all."""
        whole = self.rig.copy()
        bits = np.array([[np.array(whole[name][self.row]).view(np.uint64)] for name in NAMES])
        return [Copy.of(self.rig.reader, [self.row]), Copy(bits, whole.undone)]


@pytest.mark.parametrize(("touched", "count"), [(TRADE, n) for n in range(13)] + [(QUOTE, n) for n in range(9)])
def test_a_reader_of_a_dead_workers_row_gets_the_values_from_before_the_record(
    touched: tuple[str, ...], count: int
) -> None:
    dead = Dead(70, touched)
    dead.overwrite(count)
    for copy in dead.copies():
        assert copy.undone == 1
        assert copy.tobytes() == dead.before.tobytes()
    assert dead.rig.reader.undone == 2


@pytest.mark.parametrize("names", [["last"], ["bid", "version", "trades"], ["prev_close"]])
def test_some_columns_of_a_dead_workers_row_are_those_from_before_the_record(names: list[str]) -> None:
    dead = Dead(70, TRADE)
    dead.overwrite(12)
    wanted = np.arange(60, 80, dtype=np.intp)
    out = np.empty((len(names), len(wanted)), np.uint64)
    assert dead.rig.reader.copy_rows(wanted, out, [NAMES.index(name) for name in names]) == 1
    for name, found in zip(names, out, strict=True):
        assert found[10:11].tobytes() == dead.before[name].tobytes(), name


@pytest.mark.parametrize("worker", [0, 1, 2])
def test_the_undo_area_is_found_whichever_worker_died(worker: int) -> None:
    dead = Dead(3, TRADE, worker, 3)
    dead.overwrite(5)
    # The other workers are in the middle of something of their own, elsewhere.
    for other in {0, 1, 2} - {worker}:
        dead.rig.worker = other
        dead.rig.arm_undo(100, {"last": bytes(8)}, 5)
    for copy in dead.copies():
        assert copy.tobytes() == dead.before.tobytes()


def test_the_feed_row_of_a_dead_worker_is_read_too() -> None:
    rig = Rig()
    rig.feed([Record(0xFFFFFFFF, 0)] * 3)
    before = Copy.of(rig.reader, [rig.feed_row])
    names = ("trades", "gaps", "receive_ns", "updated")
    rig.arm_undo(rig.feed_row, {name: rig.image(name, rig.feed_row) for name in names}, 3)
    rig.put("version", rig.feed_row, 7)
    rig.put("trades", rig.feed_row, 777)
    assert Copy.of(rig.reader, [rig.feed_row]).tobytes() == before.tobytes()


def test_only_the_row_of_the_dead_worker_comes_from_its_undo_area() -> None:
    dead = Dead(70, TRADE)
    dead.overwrite(12)
    dead.rig.put("last", 71, 42.0)
    copy = dead.rig.copy()
    assert copy.undone == 1
    assert copy["last"][71] == 42.0
    assert copy["last"][70] == 10.0


def quickest(act: Callable[[], object]) -> int:
    """Return the shortest of some runs, in ns of this thread's own time: a reader gives way, and on a busy machine
    others then run for as long as they like."""
    times = []
    for _ in range(7):
        before = time.thread_time_ns()
        act()
        times.append(time.thread_time_ns() - before)
    return min(times)


def test_a_reader_waits_for_a_dead_worker_less_than_50_ms() -> None:
    dead = Dead(70, TRADE)
    dead.overwrite(12)
    wanted = np.full(100, 70, np.intp)
    out = np.empty((len(NAMES), 100), np.uint64)
    assert dead.rig.reader.copy_rows(wanted[:1], out) == 1
    assert quickest(lambda: dead.rig.reader.copy_rows(wanted[:1], out)) < READ_NS
    assert quickest(dead.rig.copy) < READ_NS
    # Nor does it add up.
    assert quickest(lambda: dead.rig.reader.copy_rows(wanted, out)) < READ_NS
    np.testing.assert_array_equal(out, np.repeat(np.frombuffer(dead.before.tobytes(), np.uint64)[:, None], 100, 1))


def test_after_the_restart_the_row_is_read_from_its_columns_again() -> None:
    dead = Dead(70, TRADE)
    dead.overwrite(12)
    assert dead.copies()[0].undone == 1
    assert dead.rig.restarted().recover() == 1
    for copy in dead.copies():
        assert copy.undone == 0
        assert copy["version"][0] == dead.before["version"][0] + 2
        assert copy.tobytes()[8:] == dead.before.tobytes()[8:]


def test_a_row_that_a_living_worker_is_about_to_finish_is_waited_for() -> None:
    # An odd version without an undo area that names the row: the worker is alive, and stops for a moment only.
    rig = Rig()
    rig.feed([trade(5, 10.0, 1.0), trade(6, 1.0)])
    version = rig.cell("version", 5)
    words.store(rig.snapshot, version, 3)
    rig.put("last", 5, 11.0)
    finish = threading.Timer(0.05, lambda: words.store(rig.snapshot, version, 4))
    finish.start()
    row = Copy.of(rig.reader, [5])
    finish.join()
    assert (row.undone, row["version"][0], row["last"][0]) == (0, 4, 11.0)


def test_an_undo_area_of_a_record_that_is_done_changes_nothing() -> None:
    rig = Rig()
    rig.feed([trade(5, 10.0, 1.0)])
    rig.arm_undo(5, {"last": struct.pack("<d", 777.0)}, 0)
    row = Copy.of(rig.reader, [5])
    assert (row.undone, row["last"][0]) == (0, 10.0)

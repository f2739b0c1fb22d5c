"""A worker killed after each store, with books, tickers, merged trades, sessions, halts and gaps in its two rings."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from corelab import minutes
from corelab.oracle import Copy, Oracle
from corelab.records import TICKER, Record, trade

from faults.mixed import EVERY, KINDS, Unit, expected, named, session, undo_word, unit
from faults.shared import BARS, LEVELS, RECEIVERS, SYMBOLS, Shared, ring_name
from faults.walking import Walk, finished
from openbell.core import ring, snapshot
from openbell.core.bars import BarsReader

# Points of core/apply.pyx in the order of its stores, at passages that fall into every kind, sessions above all: they
# pass each point 64 times in a row. And the way back: odd, images, even, disarmed, twice and three times over.
APPLY = [(point, passage) for point in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14) for passage in (3, 41, 227)]
# The bars: their images, what a trade changes of them, what is kept when a minute is over. And the way back: the sums
# of a bar are six words, a bar and its row's counts twelve.
BARRED = [
    *[(16, 3), (16, 200), (16, 331), *[(17, passage) for passage in (1, 4, 8, 9, 23, 40, 111)]],
    *[(19, passage) for passage in (1, 4, 8, 13, 24)],
    *[(17, 9), (18, 1), (17, 30), (18, 4), (17, 51), (18, 6), (19, 9), (18, 8), (18, 11), (18, 12), (17, 2)],
]
RECOVERY = [
    (7, 9), (10, 1), (7, 300), (11, 1), (6, 40), (11, 2), (9, 61), (12, 1), (5, 33), (15, 1), (7, 11), (15, 1),
    (2, 400), (8, 5), (11, 3), (11, 2), (15, 1), (14, 17), (1, 1), (2, 3), (6, 1), (10, 1), (12, 1), (12, 1),
    *[(7, 15), (2, 2)] * 3, *[(7, 90), (2, 4)] * 2,
]  # fmt: skip
STORED = 8
"""The point at which all of a unit is stored and its row is still odd."""
PATIENCE_S = 10.0
"""Far more than a reader takes that does not wait for the restart, on however busy a machine."""


class Feeder:
    """Feeds worker 0 through both of its rings while it dies, and remembers what it was killed in."""

    def __init__(self, walk: Walk, shared: Shared, crashes: list[tuple[int, int]]) -> None:
        self.walk, self.shared, self.pending = walk, shared, list(crashes)
        table = shared.table()
        self.rows = [table.lookup(symbol.encode()) for symbol in SYMBOLS if table.shard_of(symbol.encode()) == 0]
        self.owned = [row for block in {row // 64 for row in self.rows} for row in range(64 * block, 64 * block + 64)]
        self.writers = [shared.writer(0, receiver) for receiver in range(RECEIVERS)]
        for writer in self.writers:
            writer.recover()
        self.reader = snapshot.SnapshotReader(shared.maps["snapshot"])
        self.bars = BarsReader(shared.maps["bars"], shared.maps["snapshot"])
        self.odd = 0
        self.units: list[Unit] = []
        self.begins: dict[tuple[int, int], str] = {}
        self.killed_in: list[str] = []
        self.number = self.changes = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        crash = self.pending.pop(0) if self.pending else None
        self.doomed = crash is not None
        return self.walk.start("worker_harness", 0, crash)

    def _look_after(self) -> None:
        if self.process.poll() is None or finished(self.process) == "done":
            return
        self._autopsy()
        self.process = self._start()

    def _autopsy(self) -> None:
        """Note what the worker was killed in, and look at the snapshot that it left."""
        found = named(undo_word(self.shared.maps["snapshot"][:4096], 0))
        if found in self.begins and self._applied(found[0]) == found[1]:
            self.killed_in.append(self.begins[found])
        # Whoever looks now must not wait for the restart: rows caught odd come from the undo area.
        before = time.monotonic()
        copy = Copy.all(self.reader)
        bars = minutes.copied(self.bars, list(range(self.bars.rows)))
        assert time.monotonic() - before < PATIENCE_S
        live = self.shared.maps["snapshot"]
        at = self.reader.column_offset("version")
        if any(live[at + 8 * row] & 1 for row in range(self.reader.rows)):
            # In the middle of a record: readers have the bars of all the records before it, and no others.
            self.odd += 1
            minutes.compare(*bars, self._model((self._applied(0), self._applied(1))).minutes)
        assert copy.undone <= 1

    def _applied(self, receiver: int) -> int:
        return ring.positions(self.shared.maps[ring_name(0, receiver)])["applied"]

    def feed(self, one: Unit) -> None:
        """Write a unit, as soon as there is room."""
        writer = self.writers[one.receiver]
        self.begins[(one.receiver, writer.position_next)] = one.kind
        while not writer.append_group(one.pack()):
            self._look_after()
        self.units.append(one)
        if len(self.units) % 3 == 0:
            writer.publish()

    def settle(self) -> None:
        """Wait until everything is applied: what two rings tell of one row has no order otherwise."""
        for writer in self.writers:
            writer.publish()
        while any(self._applied(receiver) < writer.position_next for receiver, writer in enumerate(self.writers)):
            self._look_after()
            time.sleep(0.0005)

    def run(self, count: int, kinds: tuple[str, ...] = KINDS[:-1]) -> None:
        """Feed `count` units at least, and as many more as the crashes take."""
        first = self.number
        while self.number < first + count or self.doomed:
            if (self.number - first) % EVERY == 0:
                self._roll()
            self.number += 1
            self.feed(unit(self.number, self.rows, kinds))
        self.settle()
        self.finish()

    def _roll(self) -> None:
        first, again = session(self.changes)
        self.changes += 1
        self.settle()
        self.feed(first)
        self.settle()
        self.feed(again)

    def finish(self) -> None:
        """Have the worker end by itself."""
        self.shared.stop()
        while finished(self.process) == "crashed":
            self.process = self._start()

    def kill_in(self, kinds: list[str]) -> None:
        """Kill the worker once in a unit of each of `kinds`, whatever is scheduled when: it is alone in the rings."""
        self.shared.resume()
        for index, kind in enumerate(kinds):
            # Every unit passes this point once. The one that the last worker was killed in is begun anew before.
            self.pending.append((STORED, 1 if index == 0 else 2))
            self.process = self._start()
            if kind == "session":
                self.feed(session(self.changes)[0])
                self.changes += 1
            else:
                self.number += 1
                self.feed(unit(self.number, self.rows, (kind,)))
            for writer in self.writers:
                writer.publish()
            assert finished(self.process) == "crashed"
            self._autopsy()
        self.process = self._start()
        self.settle()
        self.finish()

    def _model(self, applied: tuple[int, int] | None = None) -> Oracle:
        feed_row = snapshot.feed_row(self.reader.data_rows, 0)
        return expected(self.units, self.reader.data_rows, feed_row, self.owned, LEVELS, BARS, applied)

    def wrong_bars(self) -> str:
        """Return how the bars differ from the model; empty if they do not."""
        try:
            minutes.check(self.bars, self._model().minutes)
        except AssertionError as difference:
            return str(difference)
        return ""

    def wrong(self) -> str:
        """Return how the snapshot differs from the model; empty if it does not."""
        feed_row = snapshot.feed_row(self.reader.data_rows, 0)
        model = self._model()
        copy = Copy.all(self.reader)
        versions = copy["version"].copy()
        # Both rings tell of no symbol, in no order.
        if feed_row in model.touched:
            model.touched[feed_row].updated = int(copy["updated"][feed_row])
        assert not (versions % 2).any()
        # Each time that a row was put back moved its version further; it moved by two at least for each record.
        for row, state in model.touched.items():
            if versions[row] < state.version:
                return f"the version of row {row} is {versions[row]}, not at least {state.version}"
            state.version = int(versions[row])
        try:
            model.check(copy)
        except AssertionError as difference:
            return str(difference)
        return self.wrong_bars()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("crashes", [APPLY, RECOVERY, BARRED], ids=["apply", "recovery", "bars"])
def test_a_worker_killed_after_any_store_applies_every_kind_exactly_once(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], crashes: list[tuple[int, int]]
) -> None:
    feeder = Feeder(Walk(core, tmp_path, processes), Shared(tmp_path, create=True), crashes)
    feeder.run(400)
    killed = sum(process.returncode == -signal.SIGKILL for process in processes)
    assert killed == len(crashes), f"only {killed} of {len(crashes)} crash points were reached"
    assert feeder.wrong() == ""
    if crashes == BARRED:
        assert feeder.odd > len(crashes) // 2
        assert "trade" in feeder.killed_in
    # What a point is passed in depends on what is scheduled when. What none of them fell into is gone through by name.
    missed = [kind for kind in KINDS if kind not in feeder.killed_in]
    if crashes == APPLY and missed:
        feeder.kill_in(missed)
        assert set(feeder.killed_in) == set(KINDS), feeder.killed_in
        assert feeder.wrong() == ""


SESSION = 64
"""Rows that a session rolls, before it is counted in the feed row."""
# Where a second application shows. A ticker, a quote and a row that is rolled are assignments: for them the undo is
# there for readers alone.
DOUBLED = {
    "book": [(9, SESSION + 9)],
    "merged": [(9, SESSION + 9)],
    "gap": [(9, SESSION + 9)],
    "halt": [(9, SESSION + 9)],
    "repair": [(9, SESSION + 9)],
    "feed": [(9, SESSION + 9)],
    "session": [(9, SESSION + 1)],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "undo"), [("session", True), *((kind, False) for kind in DOUBLED)])
def test_without_the_undo_each_kind_is_seen_to_be_applied_twice(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], kind: str, undo: bool
) -> None:
    walk = Walk(core, tmp_path, processes, undo=undo)
    feeder = Feeder(walk, Shared(tmp_path, create=True), DOUBLED[kind])
    feeder.run(EVERY - 1, ("book",) if kind == "session" else (kind,))
    assert feeder.killed_in == [kind]
    assert (feeder.wrong() == "") is undo


# Behind the sums of the very first bar; in the middle of another trade's; and behind a whole trade.
HALF_BARS = {
    "a bar that is begun": [(17, 8)],
    "the sums of a bar": [(17, 40)],
    "a trade that is done": [(9, SESSION + 9)],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("crash", HALF_BARS)
@pytest.mark.parametrize("undo", [True, False], ids=["undone", "not undone"])
def test_without_the_undo_bars_are_wrong(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], crash: str, undo: bool
) -> None:
    feeder = Feeder(Walk(core, tmp_path, processes, undo=undo), Shared(tmp_path, create=True), HALF_BARS[crash])
    feeder.run(EVERY - 1, ("trade",))
    assert feeder.killed_in == ["trade"]
    assert (feeder.wrong_bars() == "") is undo


@pytest.mark.timeout(300)
@pytest.mark.parametrize("undo", [True, False], ids=["undone", "not undone"])
def test_without_the_undo_a_row_is_left_half_a_ticker(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], undo: bool
) -> None:
    """What readers find between the restart and the second application."""
    # A trade makes 11 stores. Killed behind the second one of the ticker, and again before it is begun anew.
    shared = Shared(tmp_path, create=True)
    feeder = Feeder(Walk(core, tmp_path, processes, undo=undo), shared, [(7, 13), (5, 1)])
    row = feeder.rows[0]
    feeder.feed(Unit(0, "trade", [trade(row, 10.0, 1.0)]))
    feeder.feed(Unit(0, "ticker", [Record(row, TICKER, 0, 15, 0, 0, 5, 12.0, 9.0, 70.0, 700.0)]))
    feeder.writers[0].publish()
    assert [finished(process) for process in processes] == ["crashed"]
    feeder.process = feeder._start()
    assert finished(feeder.process) == "crashed"
    copy = Copy.of(feeder.reader, [row])
    assert copy["version"][0] % 2 == 0
    assert (copy["last"][0], copy["volume"][0]) == (10.0 if undo else 12.0, 1.0)
    feeder.process = feeder._start()
    feeder.settle()
    shared.stop()
    assert finished(feeder.process) == "done"
    assert feeder.wrong() == ""

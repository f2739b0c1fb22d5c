"""The symbol table between processes: inserts agree, and one that was cut short is finished or forgotten."""

from __future__ import annotations

import mmap
import random
import struct
import time
from pathlib import Path

import pytest
from corelab.memory import shared
from corelab.processes import program, said, tell
from corelab.programs.symbols import symbol

from openbell.core import symbols
from openbell.core.symbols import ROW_BLOCK, SymbolTable

HEADER = 1024
SLOT = 64
# Words of the header.
COUNT, BLOCKS, PENDING, PENDING_SHARD, PENDING_NEXT, PENDING_BLOCKS, PENDING_COUNT, SHARD_NEXT = (
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    16,
)


def made(path: Path, capacity: int, shards: int) -> mmap.mmap:
    buffer = shared(path, symbols.size(capacity, shards))
    symbols.format(buffer, capacity, shards)
    return buffer


def consistent(table: SymbolTable) -> dict[bytes, int]:
    """Check that a table, at rest, contradicts itself nowhere, and return what it holds."""
    items = table.items()
    found = {key: row for row, key in items}
    assert len(found) == len(items) == table.count
    owners: dict[int, int] = {}
    for key, row in found.items():
        assert table.lookup(key) == row
        assert table.key(row) == key
        assert owners.setdefault(row // ROW_BLOCK, table.shard_of(key)) == table.shard_of(key)
    return found


@pytest.mark.timeout(60)
def test_processes_that_insert_the_same_symbols_at_once_agree_on_every_row(tmp_path: Path) -> None:
    path, lock = tmp_path / "table", tmp_path / "lock"
    table = SymbolTable(made(path, 4096, 3), str(lock))
    # Overlapping thirds: some symbols are inserted by one process, some by two, some by all.
    ranges = [(0, 900), (300, 900), (600, 900)]
    with (
        program("symbols", path, lock, 1, *ranges[0]) as first,
        program("symbols", path, lock, 2, *ranges[1]) as second,
        program("symbols", path, lock, 3, *ranges[2]) as third,
    ):
        processes = (first, second, third)
        for process in processes:
            said(process)
        for process in processes:
            tell(process)
        told = [said(process)["rows"] for process in processes]
    found = consistent(table)
    assert set(found) == {symbol(number) for number in range(1500)}
    for rows in told:
        assert {key: found[key.encode()] for key in rows} == rows


@pytest.mark.timeout(90)
def test_a_table_whose_inserting_process_is_killed_again_and_again_stays_whole(tmp_path: Path) -> None:
    path, lock = tmp_path / "table", tmp_path / "lock"
    table = SymbolTable(made(path, 1 << 17, 4), str(lock))
    generator = random.Random(40)
    before: dict[bytes, int] = {}
    for _ in range(8):
        with program("symbols", path, lock, 0, len(before), 0) as process:
            said(process)
            tell(process)
            # Somewhere in the middle of an insert, whatever else the machine is doing.
            enough = len(before) + generator.randrange(2, 2000)
            deadline = time.monotonic() + 20
            while table.count < enough and time.monotonic() < deadline:
                time.sleep(0.0005)
            process.kill()
            process.wait(10)
        # The next insert finds the lock free, and mends what the killed one left.
        newest = symbol(len(table.items()) + 1_000_000)
        table.insert(newest)
        found = consistent(table)
        assert before.items() <= found.items(), "a symbol lost its row"
        assert len(found) > enough, "the process had no time to insert anything"
        before = found


class Interrupted:
    """An insert, store by store, as the table does it; `stores` may be cut short anywhere."""

    def __init__(self, buffer: mmap.mmap, lock: str, key: bytes) -> None:
        table = SymbolTable(buffer, lock)
        before = bytes(buffer)
        self.row = table.insert(key)
        after = bytes(buffer)
        buffer[:] = before
        slots = HEADER + (table.rows * 4 + 63) // 64 * 64
        self.slot = next(
            at for at in range(slots, len(before), SLOT) if before[at : at + SLOT] != after[at : at + SLOT]
        )
        index = (self.slot - slots) // SLOT
        shard = table.shard_of(key)

        def word(number: int) -> tuple[int, bytes]:
            return number * 8, after[number * 8 : number * 8 + 8]

        row_slot = HEADER + self.row * 4
        self.stores: list[tuple[int, bytes]] = [
            word(PENDING_SHARD),
            word(PENDING_NEXT),
            word(PENDING_BLOCKS),
            word(PENDING_COUNT),
            (PENDING * 8, struct.pack("<Q", index + 1)),
            (self.slot + 8, after[self.slot + 8 : self.slot + 16]),
            (self.slot + 16, after[self.slot + 16 : self.slot + SLOT]),
            (row_slot, after[row_slot : row_slot + 4]),
            (self.slot, after[self.slot : self.slot + 8]),
            word(SHARD_NEXT + shard),
            word(BLOCKS),
            word(COUNT),
            (PENDING * 8, bytes(8)),
        ]
        for at, value in self.stores:
            buffer[at : at + len(value)] = value
        assert bytes(buffer) == after, "the stores above are no longer those of the table"
        buffer[:] = before

    @property
    def published_at(self) -> int:
        """How many stores it takes for look-ups to find the key."""
        return next(index for index, (at, _) in enumerate(self.stores) if at == self.slot) + 1


@pytest.mark.parametrize("present", [0, 1, 63, 64, 65])
def test_an_insert_cut_short_after_any_store_is_finished_or_forgotten_by_the_next(tmp_path: Path, present: int) -> None:
    # 64 symbols of one shard fill a block: the interrupted insert is one that opens a block, or goes on with one.
    buffer = made(tmp_path / "table", 200, 1)
    lock = str(tmp_path / "lock")
    table = SymbolTable(buffer, lock)
    rows = {symbol(number): table.insert(symbol(number)) for number in range(present)}
    full = bytes(buffer)
    victim = Interrupted(buffer, lock, b"VICTIM")
    for cut in range(len(victim.stores) + 1):
        for next_key in (b"VICTIM", b"OTHER", *rows):
            buffer[:] = full
            for at, value in victim.stores[:cut]:
                buffer[at : at + len(value)] = value
            # Readers meanwhile: the victim is there with its row, or not at all.
            seen = SymbolTable(memoryview(buffer).toreadonly()).lookup(b"VICTIM")
            assert seen == (victim.row if cut >= victim.published_at else -1)
            expected = dict(rows)
            if seen >= 0:
                expected[b"VICTIM"] = seen
            survivor = SymbolTable(buffer, lock)
            expected[next_key] = survivor.insert(next_key)
            if next_key in rows:
                # Found without the lock, so that nothing was mended yet: the next new one does it.
                assert expected == {**rows, **({b"VICTIM": seen} if seen >= 0 else {})}
                expected[b"OTHER"] = survivor.insert(b"OTHER")
            elif next_key == b"VICTIM" and seen >= 0:
                assert expected[next_key] == seen
                expected[b"OTHER"] = survivor.insert(b"OTHER")
            assert len(set(expected.values())) == len(expected)
            assert consistent(survivor) == expected
            # And it goes on as if nothing had happened, to the last row.
            if next_key in (b"VICTIM", b"OTHER"):
                for number in range(len(expected), 200):
                    survivor.insert(symbol(1000 + number))
                assert len(consistent(survivor)) == 200
            else:
                break

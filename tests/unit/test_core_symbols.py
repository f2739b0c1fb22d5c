"""The symbol table: every symbol its own row, whatever its bytes, whatever collides, however full."""

from __future__ import annotations

import itertools
import mmap
import random
from collections import defaultdict
from pathlib import Path

import pytest
from corelab import hashing
from corelab.memory import memory
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.core import symbols
from openbell.core.symbols import KEY_BYTES_MAX, ROW_BLOCK, SymbolTable
from openbell.errors import SymbolTableFull

KEYS = st.one_of(
    st.binary(min_size=1, max_size=KEY_BYTES_MAX),
    st.text(min_size=1, max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")[:KEY_BYTES_MAX]),
    # Few bytes of a small alphabet: prefixes of one another, zero bytes at the end.
    st.lists(st.sampled_from([b"A", b"B", b"\0"]), min_size=1, max_size=18).map(b"".join),
)


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "symbols.lock")


def made(capacity: int, shards: int = 1) -> mmap.mmap:
    buffer = memory(symbols.size(capacity, shards))
    symbols.format(buffer, capacity, shards)
    return buffer


def check(table: SymbolTable, expected: dict[bytes, int]) -> None:
    """Check that a table holds exactly `expected`, seen from every side."""
    assert len(set(expected.values())) == len(expected), "two symbols share a row"
    assert table.items() == sorted((row, key) for key, row in expected.items())
    assert table.count == len(table) == len(expected)
    for key, row in expected.items():
        assert table.lookup(key) == row
        assert table.key(row) == key
        assert 0 <= row < table.rows


# ---- the hash ----


@given(KEYS)
def test_the_hash_is_the_one_that_is_documented(key: bytes) -> None:
    assert symbols.stable_hash(key) == hashing.stable_hash(key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # Shards of every running feed hang on these numbers: they may never change.
        (b"A", 0xCEEB21CF982ECD62),
        (b"BTCUSDT", 0xB0562772B5C221EB),
        (b"600519.SH", 0x8EEE7D7D7F00BD8C),
        (b"usdm:1000SHIBUSDT", 0xEC97A8955E4975E0),
        ("贵州茅台".encode(), 0x35B50864392767DF),
        (b"0123456789012345678901234567890", 0x769A47C59596BC6A),
    ],
)
def test_the_hash_never_changes(key: bytes, expected: int) -> None:
    assert symbols.stable_hash(key) == expected


@pytest.mark.parametrize("length", range(1, KEY_BYTES_MAX + 1))
def test_every_byte_of_a_key_counts(length: int) -> None:
    key = bytes(range(65, 65 + length))
    hashes = {symbols.stable_hash(key)}
    for index in range(length):
        changed = bytearray(key)
        changed[index] ^= 0x80
        hashes.add(symbols.stable_hash(bytes(changed)))
    assert len(hashes) == length + 1


def test_nothing_behind_a_key_counts() -> None:
    # The bytes object of a slice ends where the key ends; what a longer one holds there must not matter.
    for length in range(1, KEY_BYTES_MAX):
        text = bytes(range(1, KEY_BYTES_MAX + 1))
        assert symbols.stable_hash(text[:length]) == hashing.stable_hash(text[:length])


@pytest.mark.parametrize("key", [b"", b"x" * 32, b"x" * 1024])
def test_a_key_of_no_or_too_many_bytes_has_no_hash_no_row_and_no_place(key: bytes, lock: str) -> None:
    buffer = made(4)
    table = SymbolTable(buffer, lock)
    before = bytes(buffer)
    with pytest.raises(ValueError, match=f"1 to 31 bytes, not {len(key)}"):
        symbols.stable_hash(key)
    with pytest.raises(ValueError, match=f"1 to 31 bytes, not {len(key)}"):
        table.insert(key)
    assert table.lookup(key) == -1
    assert bytes(buffer) == before


# ---- keys ----


@pytest.mark.parametrize("length", range(1, KEY_BYTES_MAX + 1))
def test_a_key_of_every_length_is_found_again_and_its_neighbours_are_not(length: int, lock: str) -> None:
    table = SymbolTable(made(16), lock)
    key = bytes(200 - index for index in range(length))
    row = table.insert(key)
    check(table, {key: row})
    assert table.lookup(key[:-1]) == -1
    assert table.lookup(key + b"x") == -1
    assert table.lookup(key[:-1] + b"\0") == -1
    assert table.insert(key) == row
    check(table, {key: row})


def test_a_zero_byte_is_a_byte_like_any_other(lock: str) -> None:
    table = SymbolTable(made(64), lock)
    keys = [b"\0" * length for length in range(1, 32)] + [b"A", b"A\0", b"A\0\0", b"\0A", b"A\0B", b"A" + b"\0" * 30]
    check(table, {key: table.insert(key) for key in keys})


def test_a_symbol_may_be_any_utf_8(lock: str) -> None:
    table = SymbolTable(made(16), lock)
    keys = [text.encode() for text in ("贵州茅台", "币安人生USDT", "ÄÖÜ", "🚀", "é", "e\u0301")]
    check(table, {key: table.insert(key) for key in keys})


@settings(max_examples=60)
@given(st.lists(KEYS, max_size=80), st.integers(1, 5), st.integers(1, 40))
def test_the_table_is_a_dict_that_gives_rows_and_refuses_when_full(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], shards: int, capacity: int
) -> None:
    lock = str(tmp_path_factory.getbasetemp() / "model.lock")
    buffer = made(capacity, shards)
    table = SymbolTable(buffer, lock)
    model: dict[bytes, int] = {}
    for key in keys:
        assert table.lookup(key) == model.get(key, -1)
        if key in model or len(model) < capacity:
            row = table.insert(key)
            assert model.setdefault(key, row) == row
        else:
            before = bytes(buffer)
            with pytest.raises(SymbolTableFull, match=f"{capacity} symbols"):
                table.insert(key)
            assert bytes(buffer) == before, "a refused symbol changed something"
    check(table, model)
    # Whoever maps it later sees the same.
    check(SymbolTable(memoryview(buffer).toreadonly()), model)


# ---- collisions ----


def test_keys_of_one_bucket_all_have_rows_of_their_own(lock: str) -> None:
    table = SymbolTable(made(32), lock)
    keys = list(itertools.islice(hashing.keys_of_bucket(61, 64), 20))
    # From slot 61 twenty keys run over the end of the 64 slots to the beginning.
    check(table, {key: table.insert(key) for key in keys})
    stranger = next(key for key in hashing.keys_of_bucket(61, 64) if key not in keys)
    assert table.lookup(stranger) == -1


@pytest.mark.parametrize("length", [16, 17, 24, 31])
def test_keys_of_the_same_64_bit_hash_are_never_merged(length: int, lock: str) -> None:
    generator = random.Random(length)
    key = generator.randbytes(length)
    keys = [key] + [hashing.same_hash_as(key, generator.randbytes(8)) for _ in range(10)]
    assert len(set(keys)) == 11
    assert len({symbols.stable_hash(each) for each in keys}) == 1
    table = SymbolTable(made(64), lock)
    rows: dict[bytes, int] = {}
    for each in keys:
        assert table.lookup(each) == -1
        rows[each] = table.insert(each)
        check(table, rows)


def test_a_hash_of_zero_does_not_look_like_an_empty_slot(lock: str) -> None:
    keys = [hashing.hash_of_zero(bytes([65 + index]) * 8) for index in range(5)]
    assert {symbols.stable_hash(key) for key in keys} == {1}
    table = SymbolTable(made(8), lock)
    check(table, {key: table.insert(key) for key in keys})


# ---- fullness, rows and shards ----


@pytest.mark.parametrize("capacity", [1, 2, 31, 64, 65])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_table_takes_its_capacity_and_not_one_more(capacity: int, shards: int, lock: str) -> None:
    buffer = made(capacity, shards)
    table = SymbolTable(buffer, lock)
    assert (table.capacity, table.shards) == (capacity, shards)
    rows = {key: table.insert(key) for key in (f"S{n}".encode() for n in range(capacity))}
    before = bytes(buffer)
    for extra in (b"one-more", "übrig".encode()):
        with pytest.raises(SymbolTableFull, match="raise symbols_capacity"):
            table.insert(extra)
        assert table.lookup(extra) == -1
    assert bytes(buffer) == before
    assert {key: table.insert(key) for key in rows} == rows, "what is there keeps its row"
    check(table, rows)


def test_a_full_table_takes_symbols_that_all_fall_to_one_shard(lock: str) -> None:
    capacity, shards = 130, 4
    buffer = made(capacity, shards)
    table = SymbolTable(buffer, lock)
    keys = itertools.islice((key for n in itertools.count() if table.shard_of(key := f"S{n}".encode()) == 2), capacity)
    check(table, {key: table.insert(key) for key in keys})


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64])
def test_a_block_of_rows_belongs_to_one_shard(shards: int, lock: str) -> None:
    table = SymbolTable(made(1000, shards), lock)
    rows = {key: table.insert(key) for key in (f"60{n:04}.SH".encode() for n in range(1000))}
    check(table, rows)
    owners = defaultdict(set)
    for key, row in rows.items():
        owners[row // ROW_BLOCK].add(table.shard_of(key))
    assert all(len(shards_of_block) == 1 for shards_of_block in owners.values())
    assert {shard for (shard,) in owners.values()} == {table.shard_of(key) for key in rows}
    assert max(rows.values()) < table.rows == symbols.physical_rows(1000, shards)
    # Blocks are filled one after the other: no more of them than that takes.
    per_shard = [sum(table.shard_of(key) == shard for key in rows) for shard in range(shards)]
    assert len(owners) == sum(-(-count // ROW_BLOCK) for count in per_shard)


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_symbols_spread_over_the_shards(shards: int) -> None:
    table = SymbolTable(made(8, shards))
    counts = [0] * shards
    for number in range(5000):
        key = f"{600000 + number}.SH".encode()
        shard = table.shard_of(key)
        assert shard == (hashing.stable_hash(key) >> 40) % shards
        counts[shard] += 1
    assert max(counts) < 1.3 * 5000 / shards
    assert min(counts) > 0.7 * 5000 / shards


@given(st.integers(1, 3000), st.integers(1, 64), st.randoms(use_true_random=False))
def test_the_rows_suffice_for_any_spread(capacity: int, shards: int, generator: random.Random) -> None:
    cuts = sorted(generator.randint(0, capacity) for _ in range(shards - 1))
    sizes = [end - start for start, end in itertools.pairwise([0, *cuts, capacity])]
    assert sum(-(-size // ROW_BLOCK) for size in sizes) * ROW_BLOCK <= symbols.physical_rows(capacity, shards)


# ---- misuse ----


@pytest.mark.parametrize(("capacity", "shards"), [(0, 1), (-1, 1), (2**24 + 1, 1), (10, 0), (10, 65)])
def test_an_impossible_table_is_refused(capacity: int, shards: int) -> None:
    with pytest.raises(ValueError, match="must be from"):
        symbols.size(capacity, shards)
    with pytest.raises(ValueError, match="must be from"):
        symbols.physical_rows(capacity, shards)


def test_a_table_opened_for_look_ups_inserts_nothing_new(lock: str) -> None:
    buffer = made(8)
    row = SymbolTable(buffer, lock).insert(b"OLD")
    reader = SymbolTable(memoryview(buffer).toreadonly())
    assert reader.insert(b"OLD") == row
    with pytest.raises(ValueError, match="look-ups only"):
        reader.insert(b"NEW")
    check(reader, {b"OLD": row})


def test_a_row_without_a_symbol_has_no_key(lock: str) -> None:
    table = SymbolTable(made(8), lock)
    table.insert(b"A")
    for row in (-1, 1, table.rows, 2**40):
        with pytest.raises(KeyError):
            table.key(row)


def test_memory_that_holds_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no symbol table"):
        SymbolTable(memory(symbols.size(8, 1)))
    whole = made(1000)
    with pytest.raises(ValueError, match="shorter than the symbol table"):
        SymbolTable(memoryview(whole)[: symbols.size(8, 1)])
    with pytest.raises(ValueError, match="are needed"):
        symbols.format(memory(symbols.size(8, 1) - 8), 8, 1)


def test_a_table_that_may_insert_needs_writable_memory(lock: str) -> None:
    with pytest.raises(BufferError):
        SymbolTable(memoryview(made(8)).toreadonly(), lock)


def test_a_lock_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    link = tmp_path / "link"
    link.symlink_to(target)
    table = SymbolTable(made(8), str(link))
    with pytest.raises(OSError, match="symbolic link"):
        table.insert(b"A")
    assert not target.exists()
    assert table.count == 0

"""The stable hash of a symbol, written again from its definition, and keys that are made to collide."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

K = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def words(key: bytes) -> list[int]:
    """Return the little-endian 64-bit words of a key, the last one zero-padded."""
    return [int.from_bytes(key[at : at + 8], "little") for at in range(0, len(key), 8)]


def mixed(state: int, word: int) -> int:
    """Take one more word in."""
    product = (state ^ word) * K & _MASK
    return product ^ product >> 32


def stable_hash(key: bytes) -> int:
    """Return the 64-bit hash of a key; never 0."""
    state = len(key) * K & _MASK
    for word in words(key):
        state = mixed(state, word)
    return (state ^ state >> 29) or 1


def same_hash_as(key: bytes, other_start: bytes) -> bytes:
    """Return another key of the same 64-bit hash, which begins with `other_start` (8 bytes) and ends like `key`.

    The second word is solved for: it must bring the other beginning to the state that the key's own words lead to.
    """
    first, second = words(key)[:2]
    start = len(key) * K & _MASK
    wanted = mixed(start, first) ^ second
    solved = wanted ^ mixed(start, int.from_bytes(other_start, "little"))
    return other_start + solved.to_bytes(8, "little") + key[16:]


def hash_of_zero(start: bytes) -> bytes:
    """Return a key of 16 bytes beginning with `start` (8 bytes) whose words cancel to a state of 0."""
    return start + mixed(16 * K & _MASK, int.from_bytes(start, "little")).to_bytes(8, "little")


def keys_of_bucket(bucket: int, slots: int) -> Iterator[bytes]:
    """Return different keys whose first slot in a table of `slots` slots is the same."""
    for number in itertools.count():
        key = f"B{number}".encode()
        if stable_hash(key) % slots == bucket:
            yield key

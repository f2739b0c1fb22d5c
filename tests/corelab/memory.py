"""Memory for the core to work on: page-aligned, of exactly the size asked for, alone or shared through a file."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

PAGE = mmap.PAGESIZE
FENCE = 1 << 20


def memory(size: int) -> mmap.mmap:
    """Return zeroed, page-aligned memory of this process."""
    return mmap.mmap(-1, size)


def shared(path: Path, size: int) -> mmap.mmap:
    """Create a file of `size` bytes and map it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def attached(path: Path, *, writable: bool = True) -> mmap.mmap:
    """Map the file that another process made with `shared`."""
    fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    try:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
    finally:
        os.close(fd)


def shared_before_fence(path: Path, size: int) -> memoryview:
    """Create a file of `size` bytes that end with a page, and a fence behind them; map it without minding the fence."""
    whole = shared(path, -size % PAGE + size + FENCE)
    return memoryview(whole)[-size % PAGE : -FENCE]


def attached_before_fence(path: Path, size: int) -> memoryview:
    """Map the file that another process made with `shared_before_fence`.

    Whoever reads beyond the `size` bytes is killed by SIGSEGV, instead of reading what happens to be there.
    """
    whole = attached(path)
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(whole))
    if libc.mprotect(ctypes.c_void_p(address + len(whole) - FENCE), ctypes.c_size_t(FENCE), 0):
        raise OSError(ctypes.get_errno(), "mprotect failed")
    return memoryview(whole)[-size % PAGE : -FENCE]

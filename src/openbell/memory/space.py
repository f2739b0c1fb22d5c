"""How much memory there is, and how sizes are written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEBIBYTE = 1 << 20


def free_bytes(directory: Path) -> int:
    """Return the bytes that new files in `directory` may take; as good as endless where the system sets no limit."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize if status.f_blocks else sys.maxsize


def mebibytes(size: int) -> str:
    """Write `size` bytes for people."""
    return f"{size / MEBIBYTE:,.1f} MiB"

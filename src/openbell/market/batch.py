"""A batch of records, borrowed from a ring or copied."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from openbell.errors import FeedError, ReaderCut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Batch:
    """Records of one read; from `Ticks.batches`.

    **Borrowed** (`borrowed` is true): `records` is the ring's own memory, read-only. The feed's receiver cannot write
    over it until `release`, for which it waits no longer than ``max_hold_ms``: then it cuts this reader off and goes
    on, and the records may change while they are looked at. `release` says so, by raising `ReaderCut`: what was
    computed from the batch is then to be thrown away. Arrays that were taken from `records` stay readable after the
    release, and show whatever is written there next: copy what you want to keep, before.

    **Copied**: `records` is yours; `release` has nothing to do.

    A context manager: leaving the block releases the batch.

    Attributes
    ----------
    ring : int or None
        Index of the ring that all records are of (receiver x workers + worker); None: of several.
    """

    def __init__(
        self, records: NDArray[np.void], ring: int | None, settle: Callable[[int, int], bool] | None = None
    ) -> None:
        self._records: NDArray[np.void] | None = records
        self.ring = ring
        self._settle = settle

    @property
    def borrowed(self) -> bool:
        """Whether this is a ring's own memory, until it is released."""
        return self._settle is not None

    @property
    def records(self) -> NDArray[np.void]:
        """The records, shape (n,), dtype `openbell.record.dtype`.

        Raises
        ------
        FeedError
            The batch was released.
        """
        if self._records is None:
            raise FeedError("this batch was released: its records may be overwritten; copy what you keep, before")
        return self._records

    def __len__(self) -> int:
        return len(self.records)

    def release(self) -> None:
        """Let the feed have its memory back. To be called once the records were looked at; may be called again.

        Raises
        ------
        ReaderCut
            This reader held the feed's writer for longer than it may, and was cut off: the records may have been
            overwritten while they were looked at. They count as skipped; the next batch says how many those were.
        """
        settle, self._settle = self._settle, None
        if settle is None:
            return
        count = len(self.records)
        self._records = None
        assert self.ring is not None
        if not settle(self.ring, count):
            raise ReaderCut(
                f"this reader was cut off while it held {count:,} records: throw away what was computed from them, "
                "release sooner, or read with a tap"
            )

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
            return
        try:
            self.release()
        except ReaderCut as cut:
            # Nobody will use the records, and another error is on its way.
            error.add_note(str(cut))

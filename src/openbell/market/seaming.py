"""A copy of the market and the ticks after it, without a hole and without a double."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from openbell.core import ring
from openbell.core.watch import Watch
from openbell.errors import FeedError, FeedNotFound
from openbell.market.selection import Selection
from openbell.market.stream import Held, Options, Seam, Stream
from openbell.market.taking import take
from openbell.market.ticks import Ticks

if TYPE_CHECKING:
    from openbell.market.attachment import Attachment
    from openbell.market.session import Session
    from openbell.market.snapshot import Snapshot
    from openbell.record import Kind as RecordKind

APPLY_S: Final = 10.0
"""How long workers may need, restarts included, for what was published before a tethered reader joined."""
_LOOK_NS: Final = 50_000_000


def snapshot_and_follow(
    attachment: Attachment,
    symbols: Iterable[str] | str | None,
    kinds: Iterable[RecordKind | str] | RecordKind | str | None,
    options: Options,
) -> tuple[Snapshot, Ticks]:
    """Copy the market and follow it from there; the parameters are those of `Market.snapshot_and_follow`."""
    wanted = None if symbols is None else tuple(dict.fromkeys((symbols,) if isinstance(symbols, str) else symbols))
    selection = Selection(wanted, kinds)

    def begin(session: Session) -> tuple[Snapshot, Stream]:
        snapshot, seam = _tethered(session, wanted, options) if options.mode == "tethered" else _tap(session, wanted)
        try:
            return snapshot, Stream(session, selection, options, seam)
        except BaseException:
            if seam.held is not None:
                seam.held.close()
            raise

    snapshot, stream = attachment.read(begin)
    return snapshot, Ticks(attachment, selection, options, stream)


def _tap(session: Session, symbols: tuple[str, ...] | None) -> tuple[Snapshot, Seam]:
    # Loaded before the copy: whatever is applied by then, is in it.
    starts = [ring.positions(body)["applied"] for body in session.rings()]
    snapshot = take(session, symbols, None, False)
    return snapshot, Seam(starts, _updated(session, snapshot))


def _tethered(session: Session, symbols: tuple[str, ...] | None, options: Options) -> tuple[Snapshot, Seam]:
    held = Held(session, options.label, "now")
    try:
        # What is published from here on is kept for this reader; what was before has to be in the copy.
        starts = [tether.position for tether in held.tethers]
        _await_applied(session, starts)
        snapshot = take(session, symbols, None, False)
        return snapshot, Seam(starts, _updated(session, snapshot), held)
    except BaseException:
        held.close()
        raise


def _await_applied(session: Session, starts: Sequence[int]) -> None:
    rings = session.rings()
    watch = Watch(rings, "applied", session.consumers.applied_bell)
    deadline = time.monotonic() + APPLY_S
    while any(ring.positions(body)["applied"] < start for body, start in zip(rings, starts, strict=True)):
        if not session.alive:
            raise FeedNotFound(f"feed {session.feed!r} was stopped while its market was copied")
        if time.monotonic() > deadline:
            raise FeedError(
                f"the workers of feed {session.feed!r} did not apply within {APPLY_S:.0f} s what was published before; "
                "see `openbell status`"
            )
        watch.wait(_LOOK_NS)


def _updated(session: Session, snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    seam = np.zeros(session.reader.data_rows, np.int64)
    seam[snapshot.rows] = snapshot.updated
    return seam

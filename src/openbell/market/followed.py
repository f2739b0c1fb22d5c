"""A feed whose single records can be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbell.market import seaming
from openbell.market.attached import Attached
from openbell.market.stream import Options
from openbell.market.ticks import Ticks, ticks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openbell.market.snapshot import Snapshot
    from openbell.market.stream import Mode, Order, Start, Wait
    from openbell.record import Kind as RecordKind


class Followed(Attached):
    """What a `Market` is besides its prices, and every single record of them."""

    def ticks(
        self,
        symbols: Iterable[str] | str | None = None,
        kinds: Iterable[RecordKind | str] | RecordKind | str | None = None,
        mode: Mode = "tap",
        start: Start = "now",
        *,
        order: Order = "receive",
        wait: Wait = "adaptive",
        label: str = "",
    ) -> Ticks:
        """Follow the feed's records, one by one or in arrays.

        Parameters
        ----------
        symbols : iterable of str, optional
            Only these. GAP and STATUS records that concern everybody come all the same.
        kinds : iterable of Kind or str, optional
            Only these, as ``"trade"`` or ``Kind.TRADE``; GAP records come all the same. Where trades had to be merged,
            ``"trade"`` brings what they were merged into (``"trades"``).
        mode : {"tap", "tethered"}
            ``"tap"``: never holds anybody back; who is more than a ring behind misses records, and is told exactly how
            many. ``"tethered"``: the feed's receivers wait for this reader before they overwrite what it has not read,
            for ``max_hold_ms`` at most. Beyond that it is cut off, told, and joins again by itself. 16 readers of a
            feed can be tethered at a time.
        start : {"now", "oldest"}
            With the next record, or the oldest that can be had.
        order : {"receive", "shard"}
            ``"receive"``: merged in the order of receipt; exact for what one receiver brings, between receivers as far
            as what has arrived tells. ``"shard"``: one ring after the other, each in its own order; a little quicker.
        wait : {"adaptive", "spin", "yield", "park"}
            What to do while there is nothing: spin 20 us, then sleep; keep a processor busy for the lowest latency; the
            same but let others have it; sleep at once.
        label : str
            What a tethered reader calls itself in ``openbell status``.

        Returns
        -------
        Ticks
            An iterable; close it, or use it in a ``with`` statement.

        Raises
        ------
        UnknownSymbol
            The feed has no symbol of that name; the message names those that are like it.
        InvalidArgument
            A word is none of those above.
        TooManyConsumers
            All places for tethered readers are taken; the message says by whom.
        FeedGone
            The feed does not run.

        Examples
        --------
        ::

            with market.ticks(["600519.SH"], kinds=["trade"]) as ticks:
                for tick in ticks:
                    print(tick.symbol, tick.price, tick.size)
        """
        return ticks(self._attachment, symbols, kinds, start, Options(mode, order, wait, label))

    def snapshot_and_follow(
        self,
        symbols: Iterable[str] | str | None = None,
        kinds: Iterable[RecordKind | str] | RecordKind | str | None = None,
        mode: Mode = "tap",
        *,
        order: Order = "receive",
        wait: Wait = "adaptive",
        label: str = "",
    ) -> tuple[Snapshot, Ticks]:
        """Return a copy of the market, and the ticks after it: no record is missing between them, none is in both.

        For each symbol by itself: its row in the copy is what all records up to some point came to, and the ticks
        begin with the next one. So whoever adds the ticks to the copy has, at any time, what the feed has. Records that
        concern everybody may come although the copy shows what they did.

        Parameters
        ----------
        symbols, kinds, mode, order, wait, label
            As in `ticks`. The copy has all of `symbols`, traded or not.

        Raises
        ------
        UnknownSymbol, InvalidArgument, TooManyConsumers, FeedGone
            As `ticks`.
        FeedError
            Tethered: a worker did not get as far as the ticks within 10 s.

        Examples
        --------
        ::

            snapshot, ticks = market.snapshot_and_follow(kinds=["trade"])
            volume = dict(zip(snapshot.symbols, snapshot.volume))
            for tick in ticks:
                if tick.size is not None:
                    volume[tick.symbol] = volume.get(tick.symbol, 0.0) + tick.size
        """
        return seaming.snapshot_and_follow(self._attachment, symbols, kinds, Options(mode, order, wait, label))

"""The ``[source.liveness]`` table: when a connection counts as dead, and when it comes back."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from openbell.errors import ConfigError

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Interval = Annotated[float, Meta(gt=0, le=86_400)]

_REFUSED_S: Final = 60.0
_REFUSED_LOCAL_S: Final = 1.0


class Liveness(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a connection counts as dead, and when it comes back.

    Attributes
    ----------
    ping_s : float
        Time between two WebSocket pings; 0: none are sent by the clock.
    missed_pongs : int
        After so many pings without an answer the connection is dropped.
    pong_s : float
        Most time for the answer to the ping that silence gave cause for.
    silence_s : float
        Shortest silence of a connection that had a rate which is looked into.
    silence_times : float
        It must also be so many times the mean time between two messages, and twice the longest silence before it.
    symbol_silence_s : float
        The same for one symbol; and how long one that never ticked is waited for while the others do.
    always_open : bool
        The source's market never closes, whatever calendar the feed has.
    backoff_first_s, backoff_longest_s : float
        The first pause before another attempt to connect, and the longest; the vendor's rule holds as well.
    stable_s : float
        A connection that lasted so long starts the pauses anew.
    refused_pause_s : float or None
        Shortest pause after an answer that more attempts would not better: token refused, too many requests. None: a
        minute; a second where the other side is on this machine.
    forgets_after_s : float or None
        How long the vendor may count a connection that ended without its goodbye; None: the vendor's rule.
    replace_after_s : float or None
        A connection is replaced after so long; None: the vendor's rule, 0: never.
    overlap_s : float
        How long the old and the new one run side by side then.
    repair_after_gap : bool
        Ask the vendor's HTTP interface for the latest prices after a gap.
    repair_pause_s : float or None
        Pause between two such requests; None: the vendor's rule.
    """

    ping_s: Seconds = 30.0
    missed_pongs: Annotated[int, Meta(ge=1, le=100)] = 2
    pong_s: Interval = 10.0
    silence_s: Interval = 15.0
    silence_times: Annotated[float, Meta(ge=2, le=1_000_000)] = 20.0
    symbol_silence_s: Interval = 300.0
    always_open: bool = False
    backoff_first_s: Interval = 1.0
    backoff_longest_s: Interval = 30.0
    stable_s: Interval = 60.0
    refused_pause_s: Seconds | None = None
    forgets_after_s: Seconds | None = None
    replace_after_s: Seconds | None = None
    overlap_s: Interval = 1.0
    repair_after_gap: bool = False
    repair_pause_s: Seconds | None = None

    def after_refusal_s(self, *, local: bool) -> float:
        """Return the shortest pause after a refusal, in seconds."""
        if self.refused_pause_s is not None:
            return self.refused_pause_s
        return _REFUSED_LOCAL_S if local else _REFUSED_S

    def __post_init__(self) -> None:
        if self.backoff_longest_s < self.backoff_first_s:
            raise ConfigError(
                f"source.liveness.backoff_longest_s: {self.backoff_longest_s:g} s is less than backoff_first_s, "
                f"{self.backoff_first_s:g} s"
            )

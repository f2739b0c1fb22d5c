"""The ``[source.subscribing]`` table: how subscriptions are asked for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Subscribing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How subscriptions are asked for.

    Attributes
    ----------
    batch : int or None
        Symbols of a request at most, where requests add to one another; None: as many as the vendor likes.
    pause_s : float or None
        Pause between two requests of a connection; None: the vendor's own rule, which it cannot undercut.
    spacing_s : float or None
        Least time between requests of two connections with one token; None: the vendor's own rule, which it cannot
        undercut.
    ack_s : float
        A request that was not answered for so long is asked again.
    retries : int
        How often it is, before its symbols count as unconfirmed.
    retry_s, retry_longest_s : float
        Pause before the first repetition, doubled with each, and the longest one.
    refused_again_s : float
        A symbol that the vendor refused is not asked for again by itself before this time has passed.
    """

    batch: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    pause_s: Annotated[float, Meta(ge=0, le=60)] | None = None
    spacing_s: Annotated[float, Meta(ge=0, le=600)] | None = None
    ack_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    retries: Annotated[int, Meta(ge=0, le=100)] = 3
    retry_s: Annotated[float, Meta(ge=0, le=600)] = 1.0
    retry_longest_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    refused_again_s: Annotated[float, Meta(ge=0, le=86_400)] = 3600.0

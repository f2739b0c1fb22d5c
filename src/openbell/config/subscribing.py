"""The ``[source.subscribing]`` table: how subscriptions are asked for."""

from __future__ import annotations

from msgspec import Struct


class Subscribing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How subscriptions are asked for."""

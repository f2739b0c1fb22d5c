"""The ``[source.universe]`` table: where the list of symbols comes from, and what is left out of it."""

from __future__ import annotations

from msgspec import Struct


class Universe(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the list of symbols comes from, and what is left out of it."""

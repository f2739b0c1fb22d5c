"""The ``[source.liveness]`` table: when a connection counts as dead, and when it comes back."""

from __future__ import annotations

from msgspec import Struct


class Liveness(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a connection counts as dead, and when it comes back."""

"""The ``[source.network]`` table: how the vendor is reached."""

from __future__ import annotations

from msgspec import Struct


class Network(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the vendor is reached."""

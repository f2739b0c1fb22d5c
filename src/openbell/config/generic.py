"""The ``[source.generic]`` table: the messages of a vendor that is described here."""

from __future__ import annotations

from msgspec import Struct


class Generic(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The messages of a vendor that is described here."""

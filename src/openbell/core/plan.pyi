"""A vendor's declaration, compiled: from the members of a decoded Struct to the fields of a record."""

from typing_extensions import disjoint_base

from openbell.vendors.plan import Ignore, Route

@disjoint_base
class Plan:
    def __init__(self, declaration: tuple[Route | Ignore, ...], prefix: bytes = b"") -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def streams(self) -> int: ...
    @property
    def declaration(self) -> tuple[Route | Ignore, ...]: ...

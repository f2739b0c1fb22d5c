"""Two connections side by side: which events the first one has brought already."""

from typing_extensions import disjoint_base

@disjoint_base
class Overlap:
    def __init__(self, rows: int) -> None: ...
    @property
    def rows(self) -> int: ...

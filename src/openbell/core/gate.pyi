"""The producer's side of tethered readers: how far they let it go, how long each holds it, and the cut."""

from _typeshed import WriteableBuffer
from typing_extensions import disjoint_base

@disjoint_base
class Cuts:
    def __init__(self) -> None: ...

@disjoint_base
class TetherGate:
    def __init__(self, buffer: WriteableBuffer, capacity: int, budget_ns: int, cuts: Cuts) -> None: ...

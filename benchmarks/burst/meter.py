"""The CPU time of a feed's processes, from the moment they are ready to the moment everything is applied."""

from __future__ import annotations

from benchmarks.processes import cpu_ns
from openbell.demo import View
from openbell.market import Market


class Meter(View):
    """Looks at a demonstration without showing anything.

    Attributes
    ----------
    cpu_ns : dict of str to int
        By process, once the market is over. The supervisor is this process.
    """

    def __init__(self) -> None:
        self.cpu_ns: dict[str, int] = {}
        self._pids: dict[str, int] = {}

    def attach(self, market: Market) -> None:
        """Begin."""
        self._pids = {each.name: each.pid for each in market.status().processes}
        self._began = {name: cpu_ns(pid) for name, pid in self._pids.items()}

    def close(self) -> None:
        """End; the processes are still there the first time."""
        if self._pids:
            self.cpu_ns = {name: cpu_ns(pid) - self._began[name] for name, pid in self._pids.items()}
            self._pids = {}

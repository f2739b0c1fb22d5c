"""A venue's limits, and who keeps within them.

Sources: AllTick's "interface limitation" page, its table of plans (3,000 codes a connection and 10 connections on the
largest ones; two requests a second apart on a connection, three seconds on different ones of a token) and its error
codes; Binance's web-socket-streams.md (1,024 streams a connection, 5 messages a second).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Rules:
    """What a venue enforces; 0 is no limit.

    Attributes
    ----------
    codes : int
        Codes (AllTick) or streams (Binance) of a connection at most. AllTick takes the first ones of a request and says
        nothing about the others, Binance refuses the request.
    request_spacing_s : float
        AllTick rejects a request (605) that comes sooner after the one before it on the same connection. Heartbeats do
        not count.
    connection_spacing_s : float
        AllTick rejects the first request of a connection that comes sooner after one of another connection (606), and
        closes.
    connections : int
        AllTick closes what is opened above so many connections (606).
    messages_per_s : int
        Binance hangs up on a client that sends more.
    ping_s : float
        Binance sends a PING frame this often, and hangs up on a client that answers none of three.
    """

    codes: int = 0
    request_spacing_s: float = 0.0
    connection_spacing_s: float = 0.0
    connections: int = 0
    messages_per_s: int = 0
    ping_s: float = 0.0

    def overridden(self, **values: float | None) -> Rules:
        """Return these rules with those of the given values that are not None."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]

    def enforced(self) -> list[str]:
        """Return the names of the rules that hold."""
        return [field.name for field in fields(self) if getattr(self, field.name)]


NO_RULES = Rules()

PUBLISHED = {
    "alltick": Rules(codes=3_000, request_spacing_s=1.0, connection_spacing_s=3.0, connections=10),
    "binance": Rules(codes=1_024, messages_per_s=5, ping_s=20.0),
    "ticks": Rules(),
}
"""By dialect, what the vendor says it enforces."""

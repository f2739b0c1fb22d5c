"""How a vendor takes subscriptions: what a request does, what answers it, and what a connection may have."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from openbell.config.subscribing import Subscribing
from openbell.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Request:
    """One message that asks for something, or cancels it.

    Attributes
    ----------
    payload : bytes
        The message.
    symbols : tuple of str
        Whom its answer is about, as configured; empty: a whole market, or nobody in particular.
    number : int or None
        What its answer repeats, where the vendor repeats anything; without it, answers come in order.
    """

    # It may have the token in it.
    payload: bytes = field(repr=False)
    symbols: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Semantics:
    """How a vendor takes subscriptions.

    Attributes
    ----------
    adds : bool
        A request adds to those before it. False: it replaces those of its kind, so all symbols go into each.
    cancels : str
        What can be cancelled: ``"symbols"`` (:meth:`Vendor.unsubscribe`), ``"all"`` at once
        (:meth:`Vendor.unsubscribe_all`), or ``"never"``.
    many : bool
        A request may name many symbols.
    batch : int
        Symbols of a request at most, where requests add; 0: as many as there are.
    pause_s : float
        Least time between two requests of a connection, in seconds.
    fixed : bool
        What is asked for is part of the address: nothing can be added or cancelled while the connection lasts.
    acknowledges : bool
        The vendor answers requests; if not, no answer is missed.
    limit : int or None
        Symbols that a connection takes at most; None: no limit is known.
    heartbeat_is_request : bool
        A heartbeat, too, keeps the distance `pause_s` to a request, on either side.
    forgets_after_s : float
        How long the vendor may still count a connection that ended without a goodbye, in seconds.
    overlaps : bool
        A second connection may be opened beside one that is about to end.
    lifetime_s : float
        The vendor ends a connection after this long, in seconds; 0: never.
    """

    adds: bool = True
    cancels: Literal["symbols", "all", "never"] = "never"
    many: bool = True
    batch: int = 0
    pause_s: float = 0.0
    fixed: bool = False
    acknowledges: bool = True
    limit: int | None = None
    heartbeat_is_request: bool = False
    forgets_after_s: float = 0.0
    overlaps: bool = False
    lifetime_s: float = 0.0

    def configured(self, asked: Subscribing, *, local: bool) -> Semantics:
        """Return these semantics as the ``[source.subscribing]`` table has them.

        Parameters
        ----------
        asked : Subscribing
            The table; what it leaves out stays.
        local : bool
            Whether the other side is on this machine, and the vendor's rules need not hold.

        Raises
        ------
        ConfigError
            The table asks for batches of a vendor that has none.
        """
        batch, pause_s = self.batch, self.pause_s
        if asked.batch is not None:
            if not self.adds:
                raise ConfigError(
                    "source.subscribing.batch: with this vendor a request replaces the one before it, so all symbols "
                    "go into one; leave the key out"
                )
            if not self.many and asked.batch > 1:
                raise ConfigError(
                    "source.subscribing.batch: with this vendor a request names one symbol; leave the key out"
                )
            batch = asked.batch
        if asked.pause_s is not None:
            pause_s = asked.pause_s if local else max(pause_s, asked.pause_s)
        return replace(self, batch=batch if self.many else 1, pause_s=pause_s)

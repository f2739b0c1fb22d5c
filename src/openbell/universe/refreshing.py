"""Reading the lists of symbols again while a feed runs, and telling its receivers what is new and what is gone.

A list that cannot be had, is empty, or has lost more than ``max_shrink`` of its symbols changes nothing: the old one
stays, and the log says so. Symbols that somebody subscribed to or unsubscribed by hand are not touched: only what the
list itself gains and loses is passed on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from openbell.config import Config, Source, place
from openbell.control import FeedControl
from openbell.errors import ConfigError, OpenBellError
from openbell.printable import word
from openbell.universe.gathering import gather
from openbell.universe.leftout import LeftOut
from openbell.universe.narrowing import Selection
from openbell.vendors.settling import fault_of, faults, sample

log = logging.getLogger("openbell.universe")

_STOP_S: Final = 0.5
"""How long a stop waits for what is under way; a list that is being fetched is given up at once."""


class Controller(Protocol):
    """Who passes changes on to the receivers of a running feed."""

    def change(self, source: int, new: Sequence[str], gone: Sequence[str]) -> Mapping[str, str]:
        """Subscribe source number `source` (from 1) to `new` and unsubscribe `gone`; return what was refused, and why.

        Raises
        ------
        OpenBellError
            Nothing was changed, or nobody knows.
        """


class RunningFeed:
    """Passes changes on to the receivers of a feed by its control sockets.

    Parameters
    ----------
    feed : str
        Its name.
    """

    def __init__(self, feed: str) -> None:
        self._feed = feed

    def change(self, source: int, new: Sequence[str], gone: Sequence[str]) -> Mapping[str, str]:
        """See `Controller.change`."""
        # Attached anew each time: this happens a few times an hour at most.
        with FeedControl(self._feed) as control:
            return control.change(source, new, gone)


@dataclass(slots=True)
class Listed:
    """The list of one source, as it is now.

    Attributes
    ----------
    source : Source
    number : int
        Of the source in the configuration, from 1.
    hand : tuple of str
        What the table of the source lists itself.
    where : str
        What begins a message about it.
    symbols : set of str
        What the list has, as far as the receivers were told.
    due : float
        When it is read again, in monotonic seconds.
    """

    source: Source
    number: int
    hand: tuple[str, ...]
    where: str
    symbols: set[str] = field(default_factory=set)
    due: float = 0.0

    def read(self, stop: threading.Event) -> tuple[str, ...]:
        """Read the list again.

        Raises
        ------
        OpenBellError
            It cannot be had or used.
        """
        source, universe = self.source, self.source.universe
        selection = gather(self.hand, source.symbols_file, source.symbols_url, universe, source.prefix, stop)
        symbols = self._known(selection)
        lost = self.symbols.difference(symbols)
        if len(lost) > universe.max_shrink * len(self.symbols):
            raise ConfigError(
                f"source.universe: {len(lost):,} of {len(self.symbols):,} symbols are in the list no more "
                f"({_few(lost)}), and max_shrink = {universe.max_shrink:g} believes no list that has lost so many; if "
                "it is right, raise that, or restart the feed"
            )
        return symbols

    def _known(self, selection: Selection) -> tuple[str, ...]:
        """Return the symbols that the vendor can know, if that is what the table wants."""
        faulty = self.source.universe.faulty
        if faulty == "ask":
            return selection.symbols
        vendor = sample(self.source)
        if faulty == "leave_out":
            return tuple(symbol for symbol in selection.symbols if not fault_of(vendor, symbol))
        found = faults(vendor, selection.symbols)
        if found.count:
            raise ConfigError(
                f"source.universe: {found.count:,} of {len(selection.symbols):,} symbols cannot be asked for: {found}; "
                'write faulty = "leave_out" to do without them'
            )
        return selection.symbols


class Refresher:
    """Reads the lists of a feed again, each when it is due, in a thread of its own.

    Parameters
    ----------
    config : Config
        As it was read from its file: what that lists itself is in `Config.listed`.
    controller : Controller
        Used from the thread alone.
    clock : callable
        Monotonic seconds; for tests.
    """

    def __init__(self, config: Config, controller: Controller, clock: Callable[[], float] = time.monotonic) -> None:
        self._controller = controller
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lists = [
            Listed(source, number, hand, place(number, len(config.sources)), set(source.symbols))
            for number, (source, hand) in enumerate(zip(config.sources, config.listed, strict=False), 1)
            if source.refreshes
        ]
        for each in self.lists:
            each.due = clock() + each.source.universe.refresh_minutes * 60

    def start(self) -> None:
        """Begin, unless there is no list to be read again."""
        if self.lists:
            self._thread = threading.Thread(target=self._run, name="symbols", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; what is being fetched is given up. May be called again."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_STOP_S)

    def refresh(self, listed: Listed) -> None:
        """Read one list now, and pass on what changed; whatever goes wrong is logged, and the old list stays."""
        listed.due = self._clock() + listed.source.universe.refresh_minutes * 60
        try:
            symbols = listed.read(self._stop)
        except OpenBellError as error:
            if not self._stop.is_set():
                log.error("%s%s; the %d symbols from before stay", listed.where, error, len(listed.symbols))
            return
        new = [symbol for symbol in symbols if symbol not in listed.symbols]
        gone = sorted(listed.symbols.difference(symbols))
        if not new and not gone:
            log.info("%sthe list was read again: its %d symbols are the same", listed.where, len(symbols))
            return
        try:
            refused = self._controller.change(listed.number, new, gone)
        except OpenBellError as error:
            if not self._stop.is_set():
                log.error("%sthe list has changed, and nobody could be told: %s; next time again", listed.where, error)
            return
        # What was refused is asked for again with the next list, if it is still there.
        listed.symbols = set(symbols).difference(refused) | {symbol for symbol in gone if symbol in refused}
        log.info(
            "%sthe list was read again: %d new%s, %d gone%s, %d symbols now",
            listed.where,
            len(new),
            f" ({_few(new)})" if new else "",
            len(gone),
            f" ({_few(gone)})" if gone else "",
            len(symbols),
        )
        if refused:
            said = LeftOut(separator="; ")
            for symbol, why in refused.items():
                said.tell(f"{word(symbol)}: {why}")
            log.error("%s%d changes were refused: %s", listed.where, len(refused), said)

    def _run(self) -> None:
        while not self._stop.wait(max(0.0, min(each.due for each in self.lists) - self._clock())):
            for each in self.lists:
                if each.due <= self._clock() and not self._stop.is_set():
                    self.refresh(each)


def _few(symbols: Sequence[str] | set[str]) -> str:
    found = LeftOut()
    for symbol in sorted(symbols):
        found.add(symbol)
    return str(found)

"""How a running demonstration is shown: a live table on a terminal, a line a second elsewhere."""

import contextlib
import time
from typing import TYPE_CHECKING

from openbell.cli.output import Output
from openbell.demo import View
from openbell.errors import FeedGone
from openbell.monitor.table import FeedTable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from openbell.market import Market

_FRAME_S = 0.25
_LINE_S = 1.0


class LineView(View):
    """Prints a line a second.

    Parameters
    ----------
    output : Output
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._table: FeedTable | None = None
        self._due = 0.0

    def say(self, text: str) -> None:
        """See `View.say`."""
        self._output.say(text)

    def attach(self, market: "Market") -> None:
        """See `View.attach`."""
        self._table = FeedTable(market)
        self._due = time.monotonic() + _LINE_S

    def look(self) -> None:
        """See `View.look`."""
        now = time.monotonic()
        if self._table is not None and now >= self._due:
            self._due = now + _LINE_S
            self._output.say(self._table.line())

    def close(self) -> None:
        """See `View.close`."""
        self._table = None


class LiveView(View):
    """Draws a live table.

    Parameters
    ----------
    console : Console
        A terminal.
    """

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._table: FeedTable | None = None
        self._live: Live | None = None
        self._due = 0.0

    def say(self, text: str) -> None:
        """See `View.say`."""
        self._console.print(text, markup=False)

    def attach(self, market: "Market") -> None:
        """See `View.attach`."""
        from rich.live import Live

        self._table = FeedTable(market)
        # Refreshed by `look` in our own thread: a feed is supervised from the thread that started it, and drawing
        # must not run beside it. The last picture stays on the screen, above the verdict.
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=True)
        self._live.start()

    def look(self) -> None:
        """See `View.look`."""
        now = time.monotonic()
        if self._table is not None and self._live is not None and now >= self._due:
            self._due = now + _FRAME_S
            self._live.update(self._table.render(), refresh=True)

    def close(self) -> None:
        """See `View.close`."""
        table, live = self._table, self._live
        self._table = self._live = None
        if table is None or live is None:
            return
        try:
            # Of a feed that is gone, the picture before stays.
            with contextlib.suppress(FeedGone):
                live.update(table.render(), refresh=True)
        finally:
            # Whatever happened: it has hidden the cursor.
            live.stop()


def choose_view(output: Output) -> View:
    """Return the view for the stream that belongs to people."""
    console = output.console()
    return LiveView(console) if console.is_terminal else LineView(output)

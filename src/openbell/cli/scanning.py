"""What a scan was asked, and the ways of showing what it finds."""

import csv
import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from openbell.cli.output import Output
from openbell.errors import UnknownColumn
from openbell.market.derived import DERIVED
from openbell.market.export import TIMES
from openbell.market.expression import Expression
from openbell.printable import printable, word

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from openbell.market import Market, Snapshot

_SHOWN = ("last", "change_pct", "volume", "turnover", "bid", "ask")
_CHANGES = frozenset({"change", "change_pct"})


class Question:
    """What was asked.

    Parameters
    ----------
    market : Market
    expression, sort, top, descending
        As of `Market.scan`.
    columns : sequence of str
        What to show; nothing: the usual, and what was asked about.
    everything : bool
        Whether to show what has not traded, where the feed leaves it out.

    Raises
    ------
    ExpressionError
        An expression cannot be understood.
    click.BadParameter
        There is no such column.
    """

    def __init__(
        self,
        market: "Market",
        expression: str,
        sort: str | None,
        top: int | None,
        descending: bool,
        columns: Sequence[str],
        everything: bool,
    ) -> None:
        self.market = market
        self.expression, self.sort, self.top = expression, sort, top
        self._descending = descending
        self._only_traded = False if everything else None
        known = (*market.snapshot(symbols=()), *DERIVED)
        looked_at = set(Expression(expression, known).names)
        if sort is not None and sort != "symbol":
            looked_at |= Expression(sort, known).names
        for name in columns:
            if name not in known:
                raise click.BadParameter(str(UnknownColumn(name, known)), param_hint="--columns")
        # What was asked about is what somebody wants to see.
        shown = columns or (*_SHOWN, *(each for each in known if each in looked_at))
        self.shown = tuple(dict.fromkeys(shown))
        self._looked_at = looked_at

    def answer(self) -> "Snapshot":
        """Return all that match, in order; `top` is for whoever shows them."""
        return self.market.scan(
            self.expression,
            self.sort,
            descending=self._descending,
            columns=self.shown,
            only_traded=self._only_traded,
        )

    def summary(self, found: "Snapshot") -> str:
        """Say how many match, and what is not shown."""
        count = len(found.symbols)
        text = f"{count:,} of {len(self.market):,} symbols"
        return text + (f", {self.top:,} shown" if self.top is not None and self.top < count else "")

    def hint(self) -> str | None:
        """Say which columns that were asked about are empty for all symbols, and why if it is known."""
        import numpy as np

        columns = self.market.snapshot(columns=sorted(self._looked_at), only_traded=self._only_traded)
        empty = [name for name in sorted(self._looked_at) if bool(np.isnan(columns.column(name)).all())]
        if not columns.symbols or not empty:
            return None
        text = f"{', '.join(empty)}: empty for all symbols"
        if "volume_z" in empty and not self.market.keeps_bars:
            text += "; volume_z needs a feed that keeps bars (bars = 20 in its configuration)"
        if _CHANGES.intersection(empty):
            text += "; no previous close has been seen yet"
        return text

    def result(self, found: "Snapshot") -> dict[str, object]:
        """Return the answer as JSON."""
        return {
            "feed": self.market.feed,
            "expression": self.expression,
            "sort": self.sort,
            "taken_ns": found.taken_ns,
            "symbols": len(self.market),
            "matched": len(found.symbols),
            "rows": [self.row(found, place) for place in range(len(found.symbols[: self.top]))],
        }

    def row(self, found: "Snapshot", place: int) -> dict[str, object]:
        """Return one match as JSON; null where nothing has arrived."""
        values = ((name, found.column(name)[place].item()) for name in self.shown)
        return {"symbol": found.symbols[place]} | {
            name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values
        }


class View:
    """Shows what is found.

    Parameters
    ----------
    question : Question
    output : Output
    as_csv : bool
        Whether stdout is for comma-separated values.
    """

    def __init__(self, question: Question, output: Output, as_csv: bool) -> None:
        self._question = question
        self._output = output
        self._as_csv = as_csv
        # Whatever is no data goes where data does not.
        self._people = Output(output.as_json or as_csv)
        if hint := question.hint():
            self._people.say(hint)

    def look(self) -> None:
        """Look once, and show it."""
        raise NotImplementedError

    def miss(self, why: str) -> None:
        """Say why nothing can be shown now."""
        self._people.say(printable(why))

    def close(self) -> None:
        """Show nothing any more."""

    def _csv(self, values: Sequence[object]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(values)
        click.echo(line.getvalue())

    def _values(self, found: "Snapshot", place: int) -> list[object]:
        row = self._question.row(found, place)
        # A program reads it: nothing for what is not there, all digits of the rest.
        return ["" if value is None else value for value in row.values()]

    def _rows_as_csv(self, found: "Snapshot") -> None:
        for place in range(len(found.symbols[: self._question.top])):
            self._csv([found.taken_ns, *self._values(found, place)])


class Once(View):
    """Shows one answer."""

    def look(self) -> None:
        """See `View.look`."""
        question = self._question
        found = question.answer()
        if self._as_csv:
            self._csv(["taken_ns", "symbol", *question.shown])
            self._rows_as_csv(found)
        elif not self._output.as_json:
            _print(question, found)
        self._people.say(question.summary(found))
        self._output.result(question.result(found))


class Watch(View):
    """Shows one answer after the other: in place on a terminal, else below each other."""

    def __init__(self, question: Question, output: Output, as_csv: bool) -> None:
        from rich import live

        super().__init__(question, output, as_csv)
        self._live: Live | None = None
        console = output.console()
        if as_csv:
            self._csv(["taken_ns", "symbol", *question.shown])
        elif console.is_terminal and not output.as_json:
            # The alternate screen would be gone with what was seen last; this leaves it.
            self._live = live.Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")
            self._live.start()

    def look(self) -> None:
        """See `View.look`."""
        from rich.console import Group

        question = self._question
        found = question.answer()
        if self._as_csv:
            self._rows_as_csv(found)
        elif self._output.as_json:
            self._output.result(question.result(found))
        elif self._live is not None:
            title = f"{_clock(found.taken_ns)}  {question.summary(found)}"
            # Title, header, and the line of the cursor are on the screen as well.
            fit = max(self._live.console.height - 3, 1)
            self._live.update(Group(title, table(question, found, fit)), refresh=True)
        else:
            self._output.say(f"{_clock(found.taken_ns)}  {question.summary(found)}")
            _print(question, found)

    def miss(self, why: str) -> None:
        """See `View.miss`."""
        if self._live is None:
            super().miss(why)
        else:
            from rich.text import Text

            # No prices that look as if they were current.
            self._live.update(Text(printable(why)), refresh=True)

    def close(self) -> None:
        """See `View.close`."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()


class Alerts(View):
    """Shows what matches and did not at the look before; at the first look, all that does."""

    def __init__(self, question: Question, output: Output, as_csv: bool) -> None:
        super().__init__(question, output, as_csv)
        self._before: frozenset[str] = frozenset()
        if as_csv:
            self._csv(["taken_ns", "symbol", *question.shown])

    def look(self) -> None:
        """See `View.look`."""
        question = self._question
        found = question.answer()
        fresh = [place for place, symbol in enumerate(found.symbols) if symbol not in self._before]
        for place in fresh[: question.top]:
            if self._as_csv:
                self._csv([found.taken_ns, *self._values(found, place)])
            elif self._output.as_json:
                self._output.result({"taken_ns": found.taken_ns} | question.row(found, place))
            else:
                cells = (f"{name} {_cell(name, found.column(name)[place].item())}" for name in question.shown)
                self._output.say(f"{_clock(found.taken_ns)}  {word(found.symbols[place])}  {'  '.join(cells)}")
        if question.top is not None and len(fresh) > question.top:
            self._people.say(f"{len(fresh) - question.top:,} more newly match")
        self._before = frozenset(found.symbols)


def _print(question: Question, found: "Snapshot") -> None:
    """Print the answer. A whole market takes a drawn table ten seconds, and this one of them."""
    from rich.cells import cell_len

    shown = [word(symbol) for symbol in found.symbols[: question.top]]
    columns = [["symbol", *shown]]
    for name in question.shown:
        values = found.column(name)[: len(shown)].tolist()
        columns.append([name, *(_cell(name, value) for value in values)])
    widths = [max(map(cell_len, column)) for column in columns]
    for place, row in enumerate(zip(*columns, strict=True)):
        symbol, *cells = (
            " " * (width - cell_len(cell)) + cell if at else cell + " " * (width - cell_len(cell))
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        if place == 0:
            click.secho("  ".join((symbol, *cells)), bold=True)
            continue
        coloured = (_in_colour(name, cell, found, place - 1) for name, cell in zip(question.shown, cells, strict=True))
        click.echo("  ".join((symbol, *coloured)))


def _in_colour(name: str, cell: str, found: "Snapshot", place: int) -> str:
    if name not in _CHANGES:
        return cell
    value = found.column(name).item(place)
    return click.style(cell, fg="green" if value > 0 else "red") if value and value == value else cell


def table(question: Question, found: "Snapshot", most: int) -> "Table":
    """Return the first rows of the answer for a terminal."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    drawn.add_column("symbol", no_wrap=True)
    for name in question.shown:
        drawn.add_column(name, justify="right", no_wrap=True)
    for place, symbol in enumerate(found.symbols[: question.top][:most]):
        cells = (_coloured(name, found.column(name)[place].item()) for name in question.shown)
        drawn.add_row(Text(word(symbol)), *cells)
    return drawn


def _coloured(name: str, value: float | int) -> str:
    text = _cell(name, value)
    if name not in _CHANGES or not value or value != value:
        return text
    return f"[{'green' if value > 0 else 'red'}]{text}[/]"


def _cell(name: str, value: float | int) -> str:
    if name in TIMES:
        return _clock(value) if value else "–"
    if isinstance(value, int):
        return f"{value:,}" if name != "session" else str(value)
    if math.isnan(value):
        return "–"
    if name in _CHANGES:
        return f"{value:+,.2f}"
    if name in DERIVED:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return f"{value:,.0f}" if name in ("turnover", "volume") else f"{value:,.10g}"


def _clock(taken_ns: Any) -> str:
    # To the ms, and in UTC as all times are.
    return datetime.fromtimestamp(taken_ns // 1_000_000 / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]

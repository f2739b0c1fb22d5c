"""Where a command's words go: people read one stream, programs the last line of the other."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., int])


def json_option(function: Command) -> Command:
    """Give a command its ``--json`` flag, passed on as ``as_json``."""
    text = "End with one JSON object on stdout; everything for people goes to stderr."
    return click.option("--json", "as_json", is_flag=True, help=text)(function)


@dataclass(frozen=True, slots=True)
class Output:
    """Text for people on stdout, or on stderr when stdout belongs to the JSON."""

    as_json: bool

    def say(self, text: str = "") -> None:
        """Print one line for people."""
        click.echo(text, err=self.as_json)

    def result(self, result: Mapping[str, object]) -> None:
        """Print the JSON object a program waits for; nothing without ``--json``.

        Raises
        ------
        ValueError
            If a float is not finite: JSON has no word for it, say ``None``.
        """
        if self.as_json:
            click.echo(json.dumps(result, allow_nan=False))

    def console(self) -> "Console":
        """Return a rich console on the stream for people; wide when nobody's terminal limits it."""
        from rich.console import Console

        console = Console(stderr=self.as_json, highlight=False)
        return console if console.is_terminal else Console(stderr=self.as_json, highlight=False, width=200)

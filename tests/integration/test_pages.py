"""What the page on reading and the notebook tell a user to type, works: against a feed that runs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest
from command_line import REPOSITORY, started

import openbell
from openbell.cli import main
from openbell.cli.root import root
from openbell.simulator import a_shares

pytestmark = pytest.mark.timeout(60)

FEED = "cn"
"""As the pages name it. It runs in a runtime directory that nobody else has."""
SYMBOLS = 60
READING = REPOSITORY / "docs" / "reading.md"
NOTEBOOK = REPOSITORY / "examples" / "notebook.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block of a page."""

    page: Path
    line: int
    """Number of its first line of code."""
    language: str
    text: str

    @property
    def name(self) -> str:
        """Return what the test of it is called."""
        return f"{self.page.stem}-line-{self.line}"

    def run(self, namespace: dict[str, Any], *, flags: int = 0) -> None:
        """Run it, with the page's own line numbers in what goes wrong."""
        code = compile("\n" * (self.line - 1) + self.text, str(self.page), "exec", flags, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(FunctionType(code, namespace)())
        else:
            exec(code, namespace)


def blocks(page: Path, language: str) -> list[Block]:
    """Return the code blocks of a language, in order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        if match[1] == language:
            found.append(Block(page, text.count("\n", 0, match.start(2)) + 1, language, match[2]))
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start an exchange and the feed that the pages speak of, once; return its runtime directory."""
    directory = tmp_path_factory.mktemp("pages")
    runtime = directory / "runtime"
    (directory / "symbols.txt").write_text("\n".join(a_shares(SYMBOLS)))
    exchange_arguments = ("--port", "0", "--symbols", str(SYMBOLS), "--rate", "2000", "--books", "--json")
    with pytest.MonkeyPatch.context() as patch, started("simulate", *exchange_arguments) as exchange:
        patch.setenv("TEST_TOKEN", "a-secret-for-nobody")
        patch.setenv("OPENBELL_RUNTIME_DIR", str(runtime))
        exchange.until(lambda: "\n" in exchange.out)
        url = json.loads(exchange.out.splitlines()[0])["url"]
        config = directory / "feed.toml"
        config.write_text(
            f'[feed]\nname = "{FEED}"\nworkers = 2\nbook_levels = 5\nbars = 20\n\n'
            f'[source]\nvendor = "alltick"\nurl = "{url}"\ntoken_env = "TEST_TOKEN"\n'
            'symbols_file = "symbols.txt"\nstreams = ["trade", "book"]\n'
        )
        with started("run", str(config)) as feed:
            feed.until(applied)
            yield runtime
    assert list(runtime.rglob("*")) == []


def applied() -> bool:
    """Say whether every symbol has a price and a book."""
    try:
        with openbell.attach(FEED) as market:
            snapshot = market.snapshot()
    except openbell.OpenBellError:
        return False
    return bool(len(snapshot.symbols) == SYMBOLS and (snapshot.trades > 0).all() and snapshot.quote_sequence.all())


@pytest.fixture
def feed(shared: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Look for feeds where the shared one is."""
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(shared))
    return FEED


@pytest.mark.parametrize("block", blocks(READING, "python"), ids=lambda block: block.name)
def test_every_block_of_the_page_on_reading_runs(block: Block, feed: str) -> None:
    with openbell.attach(feed) as market:
        block.run({"__name__": "reading", "openbell": openbell, "market": market})


def test_the_cells_of_the_notebook_run_one_after_the_other(feed: str) -> None:
    cells = blocks(NOTEBOOK, "python")
    assert cells
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells:
        # As notebooks do: a cell may await.
        cell.run(namespace, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def commands() -> list[str]:
    """Return the command lines of both pages."""
    lines = (line for page in (READING, NOTEBOOK) for block in blocks(page, "sh") for line in block.text.splitlines())
    return [line for line in lines if line.startswith("openbell ")]


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_runs(line: str, feed: str) -> None:
    verb, *rest = shlex.split(line.removeprefix("openbell "), comments=True)
    if "Ctrl-C" in line:
        # It has no end of its own: that it is understood must do.
        root.commands[verb].make_context(verb, rest)
        return
    assert main([verb, *rest]) == 0

"""What the README and the pages tell a newcomer to type, works; and what they point to, exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from openbell.cli import main
from openbell.cli.root import root

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
README = (REPOSITORY / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return [text for name, text in BLOCK.findall(README) if name == language]


def told_commands() -> list[str]:
    """Return every ``openbell`` command line of the README and the page of commands, from blocks and from prose."""
    text = README + (REPOSITORY / "docs" / "commands.md").read_text()
    found = re.findall(r"(?:^|&& |`)(openbell [^#`\n&]+)", text, re.MULTILINE)
    # A verb in prose stands for itself: `openbell VERB --help`.
    return sorted({line.strip() for line in found if not any(word.isupper() for word in line.split()[1:2])})


def test_two_commands_set_up_and_run_the_demonstration_and_the_tests() -> None:
    commands = [text.strip() for text in blocks("sh")[:2]]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/openbell demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest",
    ]


def test_the_script_of_continuous_integration_finds_the_command_for_the_tests_in_the_readme() -> None:
    pattern = re.search(r"grep -E '(.*)' README\.md", (REPOSITORY / ".ci" / "run").read_text())
    assert pattern is not None
    assert re.findall(pattern[1], README, re.MULTILINE) == [blocks("sh")[1].strip()]


@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: re.findall(r'vendor = "(\w+)"', text)[0])
def test_every_configuration_is_right(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in re.findall(r'token_env = "(\w+)"', text):
        monkeypatch.setenv(name, "a-token")
    path = tmp_path / "feed.toml"
    path.write_text(text)
    assert main(["run", "--check", str(path)]) == 0, capsys.readouterr().err


def test_alltick_takes_ten_lines() -> None:
    assert len(blocks("toml")[0].splitlines()) == 10


def test_reading_from_another_process_takes_five_lines() -> None:
    assert len(blocks("python")[0].splitlines()) == 5


@pytest.mark.parametrize("line", told_commands())
def test_every_command_line_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A capture on the command line must exist to be accepted.
    monkeypatch.chdir(tmp_path)
    for name in ("morning.capture.gz", "FILE"):
        Path(name).touch()
    verb, *rest = shlex.split(line.removeprefix("openbell "))
    assert verb in root.commands
    # A verb alone is spoken of; with anything behind it, it is to be typed.
    if rest and rest != ["--help"]:
        root.commands[verb].make_context(verb, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in target]
    missing = []
    for target in targets:
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            missing.append(target)
        elif anchor and file.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            if anchor not in anchors:
                missing.append(target)
    assert missing == []

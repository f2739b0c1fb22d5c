"""No token is ever shown: not in a log, a status, a command line, a file, shared memory, an error, or after a crash."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from command_line import run, started
from indiscreet import ALLTICK, PATH, Indiscreet, indiscreet

import openbell
from openbell.errors import FeedError

# Where a token may be placed, and what a feed.toml says for it.
PLACES = {
    ALLTICK: 'vendor = "alltick"\nsymbols = ["700.HK"]',
    "/header": 'generic = { profile = "symbol-array", volume_is = "trade", headers = { X-Access = "Key {token}" } }',
    "/query": 'generic = { profile = "symbol-array", volume_is = "trade", query = { token = "{token}" } }',
    PATH: 'generic = { profile = "symbol-array", volume_is = "trade" }',
    "/message": (
        'generic = { profile = "symbol-array", volume_is = "trade", '
        'subscribe = { access = "{token}", symbols = "{symbols}" } }'
    ),
}
WRONG = "/header wrong"
ECHOES = ("echo-error", "echo-broken", "echo-unknown", "echo-body", "echo-reason")


def make_token() -> str:
    """Return a token that addresses, JSON and representations each write in their own way."""
    return f'tk/{uuid.uuid4().hex}+"&={uuid.uuid4().hex}'


def traces(token: str) -> set[bytes]:
    """Return what must not be found anywhere: the token however it is spelled, its halves, and long parts of these."""
    spelled = {token, quote(token, safe=""), quote(token), quote_plus(token), json.dumps(token)[1:-1]}
    first, second = re.findall(r"[0-9a-f]{32}", token)
    parts = {part[start : start + 10] for part in (first, second) for start in (0, 11, 22)}
    return {text.encode() for text in spelled | parts}


class Estate:
    """A feed with a source for each place of a token, and one whose token is wrong."""

    def __init__(self, directory: Path, server: Indiscreet, tokens: dict[str, str], name: str) -> None:
        self.tokens, self.name = tokens, name
        self.config = directory / "feed.toml"
        text = f'[feed]\nname = "{name}"\nworkers = 1\n'
        for number, (place, token) in enumerate(tokens.items()):
            path = place.partition(" ")[0]
            table = PLACES[path] if path == ALLTICK else f'vendor = "generic"\nsymbols = ["A"]\n{PLACES[path]}'
            address = f"ws://127.0.0.1:{server.port}{path}" + ("/{token}" if path == PATH else "")
            text += f'\n[[source]]\n{table}\nurl = "{address}"\nprefix = "s{number}:"\n'
            text += "min_reconnect_s = 0.05\n"
            if number % 2:
                (directory / f"token-{number}").write_text(token + "\n")
                text += f'token_file = "token-{number}"\n'
            else:
                os.environ[f"TEST_TOKEN_{number}"] = token
                text += f'token_env = "TEST_TOKEN_{number}"\n'
        self.config.write_text(text)

    def leaks(self, what: str, shown: bytes | str) -> None:
        """Fail if any token, or a part of one, is in what was shown."""
        content = shown.encode() if isinstance(shown, str) else shown
        for place, token in self.tokens.items():
            for trace in traces(token):
                assert trace not in content, f"the token of {place} is in {what}"


@pytest.fixture
def estate(tmp_path: Path, feed_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Estate, Indiscreet]]:
    # What is set for the feed goes with the test.
    monkeypatch.setattr(os, "environ", os.environ)
    right = {place: make_token() for place in PLACES}
    with indiscreet(right) as server:
        before = dict(os.environ)
        try:
            yield Estate(tmp_path, server, right | {WRONG: make_token()}, feed_name), server
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]


def command_lines(runtime_dir: Path) -> list[bytes]:
    """Return the command lines of all processes of the feed, as ``ps`` shows them."""
    mark = f"OPENBELL_RUNTIME_DIR={runtime_dir}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes() + (entry / "comm").read_bytes())
            except OSError:
                continue
    return found


def receivers(name: str) -> list[int]:
    """Return the pids of a feed's receivers."""
    try:
        with openbell.attach(name) as market:
            return [each.pid for each in market.status().processes if each.name.startswith("receiver")]
    except FeedError:
        return []


def commands(estate: Estate) -> tuple[tuple[str, ...], ...]:
    """Return all that tells of a feed, or of its configuration."""
    return (
        ("status", estate.name, "--json", "--history"),
        ("status", estate.name, "--history"),
        ("snapshot", estate.name, "--json", "--all"),
        ("symbols", str(estate.config), "--json", "--list"),
        ("symbols", estate.name, "--live", "--json"),
        ("subscribe", estate.name, "s1:B", "s0:5.HK", "s9:C", "--timeout", "0.2", "--json"),
        ("run", "--check", str(estate.config)),
    )


def look_everywhere(estate: Estate, runtime_dir: Path, asking: tuple[tuple[str, ...], ...]) -> None:
    """Look at everything a user, an operator or another process can see of a running feed."""
    for arguments in asking:
        done = run(*arguments)
        assert "Traceback" not in done.stderr
        estate.leaks(" ".join(arguments), done.stdout + done.stderr)
    lines = command_lines(runtime_dir)
    assert len(lines) >= 3, "supervisor, receiver and worker"
    estate.leaks("a command line", b"\n".join(lines))
    files = [path for path in runtime_dir.rglob("*") if path.is_file()]
    assert any("ring" in path.name for path in files), "shared memory is looked at, too"
    for path in files:
        estate.leaks(str(path), str(path).encode() + path.read_bytes())


def test_a_running_feed_shows_no_token_anywhere_whatever_its_vendors_repeat(
    estate: tuple[Estate, Indiscreet], runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, server = estate
    # A process that dies of a fault says where it was.
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    with started("run", str(feed.config)) as running:
        running.until(lambda: all(times > 1 for times in server.served.values()) and server.refused > 1)
        running.until(lambda: all(echo in running.err for echo in ECHOES))
        look_everywhere(feed, runtime_dir, commands(feed))
        for number in (signal.SIGKILL, signal.SIGABRT):
            (before,) = receivers(feed.name)
            served = dict(server.served)
            os.kill(before, number)
            running.until(lambda before=before: receivers(feed.name) not in ([], [before]))  # type: ignore[misc]
            running.until(lambda served=served: all(server.served[path] > served[path] for path in served))  # type: ignore[misc]
        look_everywhere(feed, runtime_dir, commands(feed)[:1])
        running.send(signal.SIGTERM)
        assert running.end() == 0
    feed.leaks("what the feed printed", running.out + running.err)
    # It was there to be shown: every word that the server put before it is in the log, with something else behind it.
    for echo in ECHOES:
        assert re.search(rf"{echo} \*\*\*", running.err), running.err
    assert "Fatal Python error: Aborted" in running.err


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('token_env = "{token}"', None),
        ('token = "{token}"', None),
        ('url = "ws://127.0.0.1:1/?token={query}"', None),
        ('url = "ws://user:{query}@127.0.0.1:1/"', None),
        ('token_env = "TEST_TOKEN"', "{token}\n{token}"),
        ('token_env = "TEST_TOKEN"', "{token} {token}"),
        ('generic = {{ profile = "symbol-array", volume_is = "trade", headers = {{ X-Token = "{token}" }} }}', None),
        ('generic = {{ profile = "symbol-array", volume_is = "trade", query = {{ key = "{token}" }} }}', None),
        (
            'generic = {{ profile = "symbol-array", volume_is = "trade", subscribe = {{ a = "{{symbols}}", '
            'token = "{token}" }} }}',
            None,
        ),
    ],
)
def test_a_mistake_in_the_configuration_does_not_show_the_token_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, value: str | None
) -> None:
    token = uuid.uuid4().hex
    if value is not None:
        monkeypatch.setenv("TEST_TOKEN", value.format(token=token))
    keys = line.format(token=token, query=token)
    config = tmp_path / "feed.toml"
    text = '[feed]\nname = "x"\n[source]\nvendor = "generic"\nsymbols = ["A"]\n' + keys
    for key, default in (("url", 'url = "ws://127.0.0.1:1/"'), ("generic", GENERIC)):
        text += f"\n{default}" if f"\n{key} = " not in text else ""
    config.write_text(text)
    done = run("run", str(config))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert token not in done.stdout + done.stderr
    assert "source." in done.stderr


GENERIC = 'generic = { profile = "symbol-array", volume_is = "trade", query = { k = "{token}" } }'

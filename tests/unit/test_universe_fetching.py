"""Fetching a list of symbols: what comes, what is refused, and where the token does not go."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from list_server import ListServer, Page, list_server

from openbell import config
from openbell.config import Universe
from openbell.errors import ConfigError
from openbell.universe import gathering
from openbell.universe.fetching import Fetched, Order, fetch, shown
from openbell.universe.gathering import gather
from openbell.universe.retrieving import retrieve

TOKEN = "c0ffee-very-secret-list"
LIST = json.dumps({"data": [{"code": "600519"}, {"code": "000001"}]}).encode()
TLS = Path(__file__).parent / "tls"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(scope="module")
def server() -> Iterator[ListServer]:
    with list_server() as running:
        yield running


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("LIST_TOKEN", TOKEN)
    return {"token_env": "LIST_TOKEN"}


def retrieve_here(url: str, universe: Universe, stop: threading.Event | None = None) -> Fetched:
    """Fetch a list in this process."""
    return retrieve(Order(url, universe.timeout_s, universe.max_bytes, universe.insecure, "", ""))


def refusal(url: str, **keys: object) -> str:
    """Return the message with which an address is refused; nothing secret is in it."""
    with pytest.raises(ConfigError) as caught:
        gather([], None, url, Universe(field="data[].code", **keys))  # type: ignore[arg-type]
    message = str(caught.value)
    assert TOKEN not in message
    where = f"source.symbols_url: {shown(url)}"
    assert message.startswith(where)
    return message.removeprefix(where).removeprefix(":").strip()


def test_a_list_comes_with_what_the_server_says_of_it(server: ListServer) -> None:
    url = server.at("/csv?page=1", Page("code,name\n600519,贵州茅台\n".encode("gb18030"), "text/csv; charset=GB18030"))
    fetched = fetch(url, Universe())
    assert (fetched.content_type, fetched.charset) == ("text/csv", "gb18030")
    assert gather([], None, url, Universe(suffix="by-code")).symbols == ("600519.SH",)
    assert shown(url) == server.url + "/csv?…"


def test_a_feed_takes_its_symbols_from_its_table_a_file_and_an_address(server: ListServer, tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text('{"data": [{"code": "300750"}, {"code": "600519"}]}', "utf-8")
    file = tmp_path / "feed.toml"
    file.write_text(
        f"""
        [feed]
        name = "cn"
        [source]
        vendor = "ticks"
        url = "ws://127.0.0.1:1/"
        symbols = ["000002"]
        symbols_file = "more.json"
        symbols_url = "{server.at("/list", Page(LIST))}"
        [source.universe]
        field = "data[].code"
        suffix = "by-code"
        exclude = "000001"
        """,
        "utf-8",
    )
    loaded = config.load(file)
    assert loaded.source.symbols == ("000002.SZ", "300750.SZ", "600519.SH")
    assert loaded.listed == (("000002",),)
    assert loaded.notes == (
        "source.symbols: 1 duplicate dropped, 3 symbols left",
        "source.universe: of 5 symbols left out: 1 that `exclude` matches (000001.SZ)",
    )


def test_the_token_goes_into_the_header_that_is_said(server: ListServer, token: dict[str, object]) -> None:
    url = server.at("/header", Page(LIST))
    fetch(url, Universe(**token))  # type: ignore[arg-type]
    assert server.requests[-1]["authorization"] == f"Bearer {TOKEN}"
    fetch(url, Universe(**token, token_header="X-Key", token_format="{token}"))  # type: ignore[arg-type]
    assert server.requests[-1]["x-key"] == TOKEN
    assert "authorization" not in server.requests[-1]
    fetch(url, Universe())
    assert TOKEN not in str(server.requests[-1])


def test_the_token_is_on_no_command_line_and_in_no_environment_of_its_own(
    server: ListServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN, "utf-8")
    seen: list[str] = []
    start = subprocess.Popen

    def spy(command: list[str], **rest: Any) -> Any:
        seen.append(repr(command) + repr(rest))
        return start(command, **rest)

    monkeypatch.setattr(subprocess, "Popen", spy)
    fetch(server.at("/file", Page(LIST)), Universe(token_file=str(tmp_path / "token")))
    assert len(seen) == 1
    assert TOKEN not in seen[0]
    assert server.requests[-1]["authorization"] == f"Bearer {TOKEN}"


def test_a_redirect_is_not_followed_with_a_token(server: ListServer, token: dict[str, object]) -> None:
    with list_server() as other:
        target = other.at("/there", Page(LIST))
        url = server.at("/moved", Page(status=302, headers={"Location": target}))
        said = refusal(url, **token)
        assert said.startswith("it redirects to http://127.0.0.1 (HTTP 302), and the token is not taken there")
        assert other.requests == []
        assert fetch(url, Universe()).body == LIST


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://list.example/x", "it redirects to http://list.example, which is not encrypted"),
        ("file:///etc/passwd", "the answer was HTTP 302 Found; it redirects in circles, or to what is no page"),
        ("/around", "the answer was HTTP 302 Found; it redirects in circles"),
        ("ftp://127.0.0.1/x", "it redirects (HTTP 302) to what is no web address"),
        ("http://[::1/x", "it, or what it redirects to, is no address that can be asked"),
    ],
)
def test_a_redirect_leads_to_no_other_kind_of_place(server: ListServer, location: str, said: str) -> None:
    url = server.at("/around", Page(status=302, headers={"Location": location}))
    assert refusal(url).startswith(said)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(status=404), "the answer was HTTP 404 Not Found; there is no such page; check the address"),
        (Page(status=401), "the answer was HTTP 401 Unauthorized; it wants a token, or another one: see token_env"),
        (Page(status=429), "the answer was HTTP 429 Too Many Requests; it was asked too often"),
        (Page(status=503), "the answer was HTTP 503 Service Unavailable; try again later"),
        (Page(status=418), "the answer was HTTP 418 I'm a Teapot; check the address"),
        (Page(LIST, status=206), "the answer was HTTP 206 Partial Content, without a whole list"),
        (Page(status=204), "the answer was HTTP 204 No Content, without a whole list"),
        (Page(b"<html>", "text/html"), "a web page came, not a list"),
        (Page(b"{", "application/json"), "this is not JSON: "),
        (Page(b'{"data": [{"symbol": "A"}]}'), "no entry of the list has 'code'; there are 'symbol'; correct"),
        (Page(b'{"data": []}'), "lists no symbol"),
        (Page(b"", "text/csv"), "lists no symbol"),
        (Page(b"", "text/plain"), "lists no symbol"),
        (Page(b"x" * 5000), "it has more than 4,096 bytes; is it the right address? Otherwise raise max_bytes"),
        (Page(LIST, headers={"Content-Encoding": "gzip"}), "it came compressed ('gzip') though that was not asked for"),
        (Page(LIST, headers={"Content-Length": "999"}), f"it ended after {len(LIST)} of 999 bytes; try again"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_an_answer_that_cannot_be_used_is_explained(
    server: ListServer, page: Page, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process: one a case would take most of the test's time.
    monkeypatch.setattr(gathering, "fetch", retrieve_here)
    assert refusal(server.at("/bad?page=1", page), max_bytes=4096).startswith(said)


def test_a_list_that_drips_is_given_up(server: ListServer) -> None:
    url = server.at("/slow", Page(LIST * 100, chunk=1, pause_s=0.05))
    assert refusal(url, timeout_s=0.5).startswith("it did not come within 0.5 s; try again, or raise timeout_s")


@contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Let `answer` talk to whoever connects first; the event says that the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                connection, _ = listening.accept()
                with connection:
                    answer(connection, over)
            except OSError:
                # Nobody came, or the other side has had enough.
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_list_that_is_not_wanted_any_more_is_given_up_at_once(server: ListServer) -> None:
    url, stop = server.at("/endless", Page(LIST * 100, chunk=1, pause_s=0.05)), threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(ConfigError, match="it is not wanted any more"):
            fetch(url, Universe(timeout_s=60), stop)
    finally:
        timer.join()
    assert time.monotonic() - began < 30


def test_a_server_that_never_ends_its_headers_is_given_up() -> None:
    def drip(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            connection.sendall(b"X: y\r\n")

    with answering(drip) as url:
        assert refusal(url, timeout_s=0.4).startswith("it did not come within 0.4 s")


def test_what_does_not_speak_http_and_what_does_not_listen_is_explained() -> None:
    def babble(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(1000)
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with answering(babble) as url:
        said = refusal(url)
    assert said.startswith("what answers there speaks no proper HTTP (BadStatusLine); check the address")
    assert refusal(url).startswith("it cannot be reached: Connection refused; check the address")


@pytest.mark.parametrize("certificate", ["localhost", "expired"])
def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{certificate}.pem")
    with list_server(context) as server:
        url = server.at("/x", Page(LIST)).replace("127.0.0.1", "localhost")
        assert refusal(url).startswith("its certificate is not accepted: ")
        assert server.requests == []


def test_an_authority_of_ones_own_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "localhost.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "localhost.pem")
    with list_server(context) as server:
        url = server.at("/x", Page(LIST)).replace("127.0.0.1", "localhost")
        assert fetch(url, Universe()).body == LIST


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://list.example/x", "anybody on the way can read and change what comes over http://"),
        ("ftp://list.example/x", "an HTTP address is needed"),
        ("file:///etc/passwd", "an HTTP address is needed"),
        ("https://me:pw@list.example/x", "a token or password does not belong"),
        ("https://list.example/x?token=1", "a token or password does not belong"),
        ("https://list.example/a b", "there are blanks"),
        ("https://[::1/", "this is not an address"),
    ],
)
def test_an_address_that_should_not_be_asked_is_refused_before_it_is(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gather([], None, url, Universe())
    assert str(caught.value).startswith(f"source.symbols_url: {said}")


def test_plain_http_to_another_machine_must_be_wanted() -> None:
    Universe(insecure=True).check_url("http://list.example/x")
    Universe(refresh_minutes=0.001).check_url("http://127.0.0.1:1/x")
    with pytest.raises(ConfigError, match=r"refresh_minutes: somebody else's address"):
        Universe(refresh_minutes=0.1).check_url("https://list.example/x")


def test_the_process_that_starts_a_feed_loads_no_http_library() -> None:
    code = "import sys, openbell.universe.gathering, openbell.config.file; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"http.client", "ssl", "urllib.request"} & set(done.stdout.split())

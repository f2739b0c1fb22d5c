"""How the vendor is reached: private authorities, proxies, what the handshake offers, and answers that mean "later"."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast

import pytest
from picows import WSCloseCode, WSUpgradeResponse
from test_connection import QUICK, TLS, TOKEN, Run, Scene, Visitor, run, tls_server

from openbell.config import Config, Feed, Liveness, Network, Source
from openbell.errors import ConfigError
from openbell.monitor.control import ConnectionState
from openbell.receiver.dial import retry_after
from openbell.vendors.check import create_all

__all__ = ["run"]

PASSWORD = "hush-hush-proxy"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test here runs with all logs on; none may show the token, or the password of a proxy."""
    caplog.set_level(1)
    yield
    for entry in caplog.get_records("call"):
        text = logging.Formatter().format(entry)
        assert "secret-c-app" not in text and PASSWORD not in text, text


class Tunnels:
    """A proxy on loopback that speaks CONNECT and SOCKS5, and remembers where it was asked to go."""

    def __init__(self, credentials: str = "") -> None:
        self._credentials = credentials
        self.asked: list[tuple[str, int]] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> Any:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            first = await reader.readexactly(1)
            host, port = await (self._socks(reader, writer) if first == b"\x05" else self._connect(reader, writer))
            if not host:
                return
            self.asked.append((host, port))
            inner_reader, inner_writer = await asyncio.open_connection(host, port)
            try:
                await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))
            finally:
                inner_writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            # Whoever came has gone.
            return
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        wanted = base64.b64encode(self._credentials.encode()).decode()
        if self._credentials and f"Basic {wanted}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return "", 0
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = head.split()[1].rpartition(":")
        return host, int(port)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self._credentials:
            assert 2 in methods
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = f"{user.decode()}:{password.decode()}" == self._credentials
            writer.write(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return "", 0
        else:
            writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        size = 4 if kind == 1 else (await reader.readexactly(1))[0]
        address = await reader.readexactly(size)
        host = ".".join(map(str, address)) if kind == 1 else address.decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return host, port


def through(scene: Scene, tunnels: Tunnels, network: Any) -> Any:
    """Return what plays a scene whose connection goes through a proxy, until it is live."""

    async def play() -> None:
        async with tunnels.open():
            scene.network = network(tunnels.port)

            async def act(scene: Scene) -> None:
                await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")
                scene.server.visitors[0].say('{"symbol":"A","price":1}')
                await scene.until(lambda: scene.made[0].published, "data")

            await scene.play(act)

    return play()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_a_proxy_is_gone_through_and_the_certificate_is_the_vendors(run: Run, kind: str, scheme: str) -> None:
    scene, tunnels = Scene(), Tunnels()
    ca_file = None
    if scheme == "wss":
        scene.scheme, scene.host, ca_file = "wss", "localhost", str(TLS / "localhost.pem")
        scene.options = {"ssl": tls_server("localhost.pem")}
    run(through(scene, tunnels, lambda port: Network(proxy=f"{kind}://127.0.0.1:{port}", ca_file=ca_file)))
    assert tunnels.asked[0] == (scene.host, scene.server.port)


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_a_proxys_password_comes_from_the_environment_and_is_not_shown_where_it_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def network(port: int) -> Network:
        monkeypatch.setenv("MY_PROXY", f"{kind}://user:{PASSWORD}@127.0.0.1:{port}")
        return Network(proxy_env="MY_PROXY")

    run(through(Scene(), Tunnels(f"user:{PASSWORD}"), network))

    scene, tunnels = Scene(), Tunnels("user:another")

    async def refused() -> None:
        async with tunnels.open():
            scene.network = network(tunnels.port)

            async def act(scene: Scene) -> None:
                await scene.until(lambda: scene.block.added.get("errors", 0) >= 2, "two attempts")

            await scene.play(act)

    run(refused())
    assert "the proxy refused: " in caplog.text
    assert scene.server.requests == [], "the vendor never hears of it"


def test_a_receive_buffer_of_its_own_is_set_before_a_proxy_too(run: Run) -> None:
    scene, tunnels = Scene(), Tunnels()
    scene.source = {"receive_buffer_bytes": 32768}
    run(through(scene, tunnels, lambda port: Network(proxy=f"http://127.0.0.1:{port}")))
    assert tunnels.asked


def test_a_private_authority_is_trusted_by_configuration_and_nobody_else_is(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(network=Network(ca_file=str(TLS / "localhost.pem")))
    scene.scheme, scene.host = "wss", "localhost"
    scene.options = {"ssl": tls_server("localhost.pem")}

    async def live(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(live))
    scene = Scene(network=Network(ca_file=str(TLS / "expired.pem")))
    scene.scheme, scene.host = "wss", "localhost"
    scene.options = {"ssl": tls_server("localhost.pem")}

    async def refused(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("errors", 0) >= 2, "two attempts")

    run(scene.play(refused))
    assert "not to be trusted" in caplog.text
    assert "source.network.ca_file" in caplog.text
    assert scene.server.requests == []


def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Any) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    with pytest.raises(ConfigError, match="there is no certificate in it"):
        Network(ca_file=str(tmp_path / "empty.pem")).trust()
    with pytest.raises(ConfigError, match="No such file"):
        Network(ca_file=str(tmp_path / "missing.pem")).trust()
    # Told when the feed starts, not when it connects.
    source = Source(vendor="binance", symbols=("BTCUSDT",), network=Network(ca_file=str(tmp_path / "empty.pem")))
    with pytest.raises(ConfigError, match="there is no certificate in it"):
        create_all(Config(feed=Feed(name="x"), sources=(source,)))


def test_every_context_verifies_host_and_certificate_and_speaks_nothing_older_than_tls_1_2() -> None:
    for network in (Network(), Network(ca_file=str(TLS / "localhost.pem"))):
        context = network.trust()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_handshake_offers_no_compression_and_no_subprotocol(run: Run) -> None:
    scene = Scene()

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.server.requests, "a request")

    run(scene.play(act))
    (_, request) = scene.server.requests[0]
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert "Sec-WebSocket-Protocol" not in request.headers
    assert "gzip" not in str(request.headers).lower()


# ---- answers that mean "later" ----


def test_retry_after_is_a_number_or_a_date_and_an_hour_at_most() -> None:
    assert retry_after(None) == 0
    assert retry_after("7") == 7
    assert retry_after("-7") == 0
    assert retry_after("nan") == 0
    assert retry_after("soon") == 0
    assert retry_after("1e9") == 3600
    now = 1_800_000_000.0
    assert retry_after(formatdate(now + 90, usegmt=True), now) == 90
    assert retry_after(formatdate(now - 90, usegmt=True), now) == 0


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS])
def test_a_refused_handshake_is_not_repeated_soon(run: Run, caplog: pytest.LogCaptureFixture, status: int) -> None:
    scene = Scene(Liveness(backoff_first_s=0.01, backoff_longest_s=0.02, refused_pause_s=0.4))
    scene.server.refusal = WSUpgradeResponse.create_error_response(status, b"no")

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 2, "two attempts")

    run(scene.play(act))
    (first, _), (second, _) = scene.server.requests[:2]
    assert second - first >= 0.399
    assert f"HTTP {int(status)}" in caplog.text


def test_the_pause_that_the_other_side_asks_for_is_kept(run: Run) -> None:
    scene = Scene(Liveness(backoff_first_s=0.01, backoff_longest_s=0.02, refused_pause_s=0))
    scene.server.refusal = WSUpgradeResponse.create_error_response(
        HTTPStatus.TOO_MANY_REQUESTS, b"", {"Retry-After": "0.5"}
    )

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.server.requests) >= 2, "two attempts")

    run(scene.play(act))
    (first, _), (second, _) = scene.server.requests[:2]
    assert second - first >= 0.499


@pytest.mark.parametrize(
    ("code", "reason"), [(1008, b"error 606: too many connections"), (4429, b""), (1013, b"429 slow down")]
)
def test_a_close_that_says_too_many_is_answered_by_a_longer_pause(
    run: Run, caplog: pytest.LogCaptureFixture, code: int, reason: bytes
) -> None:
    scene = Scene(Liveness(backoff_first_s=0.01, backoff_longest_s=0.02, refused_pause_s=0.4))

    def close(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.transport.send_close(cast(WSCloseCode, code), reason)

    scene.server.on_connect = close

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    run(scene.play(act))
    (first, _), (second, _) = scene.server.requests[:2]
    assert second - first >= 0.399
    assert "fewer connections or requests" in caplog.text


def test_no_second_connection_is_opened_while_the_vendor_may_count_the_first(run: Run) -> None:
    liveness = Liveness(backoff_first_s=0.01, backoff_longest_s=0.02, forgets_after_s=0.5)
    scene = Scene(liveness)

    def end(visitor: Visitor) -> None:
        if len(scene.server.visitors) == 1:
            visitor.transport.disconnect(graceful=False)
        elif len(scene.server.visitors) == 2:
            visitor.transport.send_close(WSCloseCode.GOING_AWAY)

    scene.server.on_connect = end

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.connection.state is ConnectionState.LIVE, "LIVE")

    began = time.monotonic()
    run(scene.play(act))
    times = [at for at, _ in scene.server.requests]
    assert times[1] - times[0] >= 0.499, "it was cut: nobody knows whether the vendor has noticed"
    assert len(times) == 3
    assert times[2] - times[1] < max(0.45, (time.monotonic() - began) / 2), "a goodbye is known to both"


def test_the_token_is_in_no_answer_that_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(QUICK)
    scene.server.refusal = WSUpgradeResponse.create_error_response(HTTPStatus.FORBIDDEN, TOKEN.encode())

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.block.added.get("errors", 0) >= 1, "a refusal")

    run(scene.play(act))
    assert "HTTP 403 Forbidden" in caplog.text

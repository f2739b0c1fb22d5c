"""Fetching a list of symbols over HTTP: bounded in time and size, and careful with the token.

``python -m openbell.universe.fetching`` is a process of its own, which lives as long as one answer takes: it can be
ended whatever it waits for (a name server, a server that sends a byte a second), and the libraries for HTTP and TLS
stay out of the process that runs a feed for months. The token goes to it through a pipe, never by its arguments.
"""

from __future__ import annotations

import http.client
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from types import FrameType
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from openbell.config.checks import is_loopback
from openbell.config.universe import Universe
from openbell.errors import ConfigError

_START_S: Final = 20.0
"""What the child may take besides, for starting on a slow machine."""
_CHUNK: Final = 1 << 16
_ADVICE: Final = {
    401: "it wants a token, or another one: see token_env, token_header and token_format in [source.universe]",
    403: "it does not allow that: see token_env, token_header and token_format in [source.universe]",
    404: "there is no such page; check the address",
    410: "there is no such page any more; check the address",
    429: "it was asked too often; ask less often (refresh_minutes), or try again later",
}


class _Order(Struct):
    """What the child is asked to fetch, on its stdin."""

    url: str
    timeout_s: float
    max_bytes: int
    insecure: bool
    header: str
    value: str


class _Heading(Struct):
    """What the child says, on a line of its stdout; the list itself follows."""

    error: str = ""
    content_type: str = ""
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came.

    Attributes
    ----------
    body : bytes
        The list.
    content_type, charset : str
        What the server says that it is; empty where it says nothing.
    """

    body: bytes
    content_type: str
    charset: str


def shown(url: str) -> str:
    """Return an address as messages show it: without its query, which nobody promises to be harmless."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"


def fetch(url: str, universe: Universe) -> Fetched:
    """Fetch a list in a process of its own.

    Parameters
    ----------
    url : str
        Its address, as :meth:`Universe.check_url` lets it pass.
    universe : Universe
        The token's place, `timeout_s`, `max_bytes`.

    Raises
    ------
    ConfigError
        It did not come; the message says why and what to do, and holds no secret. It begins with no address.
    """
    token = universe.token()
    value = "" if token is None else universe.token_format.replace("{token}", token.reveal())
    order = _Order(url, universe.timeout_s, universe.max_bytes, universe.insecure, universe.token_header, value)
    command = [sys.executable, "-P", "-m", "openbell.universe.fetching"]
    try:
        done = subprocess.run(
            command,
            input=msgspec.json.encode(order),
            capture_output=True,
            timeout=universe.timeout_s + _START_S,
            check=False,
            process_group=0,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(_late(universe.timeout_s)) from None
    except OSError as error:
        raise ConfigError(f"no process for fetching it could be started: {error.strerror}") from None
    line, _, body = done.stdout.partition(b"\n")
    try:
        heading = msgspec.json.decode(line, type=_Heading)
    except msgspec.MsgspecError:
        # Its own words are not repeated: nobody has looked whether the token is in them.
        raise ConfigError(f"the process that fetches it failed with exit status {done.returncode}") from None
    if heading.error:
        raise ConfigError(heading.error)
    return Fetched(body, heading.content_type, heading.charset)


def retrieve(order: _Order) -> Fetched:
    """Fetch a list in this very process; `timeout_s` holds for each wait, and `main` sees to the whole.

    Raises
    ------
    ConfigError
        As `fetch`.
    """
    request = urllib.request.Request(order.url, headers={"Accept-Encoding": "identity", "User-Agent": "openbell"})
    if order.value:
        # Not for a redirect's target, either: belt and braces, for redirects are refused.
        request.add_unredirected_header(order.header, order.value)
    try:
        with _opener(order).open(request, timeout=order.timeout_s) as response:
            return _body(response, order)
    except urllib.error.HTTPError as error:
        with error:
            advice = _ADVICE.get(error.code, "try again later" if error.code >= 500 else "look at the address")
            raise ConfigError(f"the answer was HTTP {error.code} {_phrase(error.code)}; {advice}") from None
    except urllib.error.URLError as error:
        raise ConfigError(_unreached(error.reason, order.timeout_s)) from None
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(_unreached(error, order.timeout_s)) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, none with a token, and none that gives the encryption up."""

    max_redirections = 5

    def __init__(self, order: _Order) -> None:
        self._order = order

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        parts = urlsplit(newurl)
        if self._order.value:
            raise ConfigError(
                f"it redirects to {parts.scheme}://{parts.hostname} (HTTP {code}), and the token is not taken there; "
                "write the address that it redirects to, if you trust it"
            )
        if parts.scheme != "https" and not self._order.insecure and not is_loopback(parts.hostname):
            raise ConfigError(f"it redirects to {parts.scheme}://{parts.hostname}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(order: _Order) -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and HTTPS, and no other protocol that an address could name."""
    opener = urllib.request.OpenerDirector()
    # By the usual environment variables; what is on this machine is not behind a proxy.
    proxies: dict[str, str] | None = {} if is_loopback(urlsplit(order.url).hostname) else None
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(order),
    ):
        opener.add_handler(handler)
    return opener


def _body(response: http.client.HTTPResponse, order: _Order) -> Fetched:
    if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise ConfigError(f"it came compressed ({coding[:20]!r}) though that was not asked for; take another address")
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > order.max_bytes:
            raise ConfigError(
                f"it has more than {order.max_bytes:,} bytes; is it the right address? Otherwise raise max_bytes in "
                "[source.universe]"
            )
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and int(promised) != len(body):
        # A list that was cut short would unsubscribe whoever stands behind the cut.
        raise ConfigError(f"it ended after {len(body):,} of {int(promised):,} bytes; try again")
    kind = response.headers.get_content_type() if "Content-Type" in response.headers else ""
    return Fetched(bytes(body), kind, response.headers.get_content_charset() or "")


def _unreached(reason: object, timeout_s: float) -> str:
    if isinstance(reason, TimeoutError):
        return _late(timeout_s)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {reason.verify_message}; for an authority of your own set SSL_CERT_FILE"
        )
    if isinstance(reason, http.client.HTTPException):
        return f"what answers there speaks no proper HTTP ({type(reason).__name__}); check the address"
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    return f"it cannot be reached: {said}; check the address and the network"


def _late(timeout_s: float) -> str:
    return f"it did not come within {timeout_s:g} s; try again, or raise timeout_s in [source.universe]"


def _phrase(code: int) -> str:
    return http.client.responses.get(code, "")


def main() -> int:
    """Fetch what stdin asks for; print how it went, and what came."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)

    def give_up(number: int, frame: FrameType | None) -> None:
        raise ConfigError(_late(order.timeout_s))

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, order.timeout_s)
    try:
        fetched = retrieve(order)
    except ConfigError as error:
        sys.stdout.buffer.write(msgspec.json.encode(_Heading(error=str(error))) + b"\n")
        return 0
    heading = _Heading(content_type=fetched.content_type, charset=fetched.charset)
    sys.stdout.buffer.write(msgspec.json.encode(heading) + b"\n" + fetched.body)
    return 0


if __name__ == "__main__":
    sys.exit(main())

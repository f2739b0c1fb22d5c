"""The process that fetches one list: ``python -m openbell.universe.retrieving``; see `openbell.universe.fetching`."""

from __future__ import annotations

import http.client
import re
import signal
import ssl
import sys
import urllib.error
import urllib.request
from http.client import HTTPMessage
from types import FrameType
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec

from openbell.config.checks import is_loopback
from openbell.errors import ConfigError
from openbell.lifeline import die_with
from openbell.universe.fetching import Fetched, Heading, Order, late

_CHUNK: Final = 1 << 16
_ADVICE: Final = {
    401: "it wants a token, or another one: see token_env, token_header and token_format in [source.universe]",
    403: "it does not allow that: see token_env, token_header and token_format in [source.universe]",
    404: "there is no such page; check the address",
    410: "there is no such page any more; check the address",
    429: "it was asked too often; ask less often (refresh_minutes), or try again later",
}


def retrieve(order: Order) -> Fetched:
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
            code = f"{error.code} {http.client.responses.get(error.code, '')}"
            raise ConfigError(f"the answer was HTTP {code}; {_advice(error.code)}") from None
    except urllib.error.URLError as error:
        raise ConfigError(_unreached(error.reason, order.timeout_s)) from None
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(_unreached(error, order.timeout_s)) from None
    except ValueError:
        # A host's name with an empty part, for one: nobody has looked at it so closely before.
        raise ConfigError("it, or what it redirects to, is no address that can be asked; check it") from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, none with a token, and none that gives the encryption up."""

    max_redirections = 5

    def __init__(self, order: Order) -> None:
        self._order = order

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        parts = urlsplit(newurl)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(f"it redirects (HTTP {code}) to what is no web address; look at it in a browser")
        if self._order.value:
            raise ConfigError(
                f"it redirects to {parts.scheme}://{parts.hostname} (HTTP {code}), and the token is not taken there; "
                "write the address that it redirects to, if you trust it"
            )
        if parts.scheme != "https" and not self._order.insecure and not is_loopback(parts.hostname):
            raise ConfigError(f"it redirects to {parts.scheme}://{parts.hostname}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(order: Order) -> urllib.request.OpenerDirector:
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


def _body(response: http.client.HTTPResponse, order: Order) -> Fetched:
    if response.status != 200:
        # A part of a list (206), or none at all (204), would unsubscribe all others.
        raise ConfigError(f"the answer was HTTP {response.status} {response.reason[:40]}, without a whole list")
    if (coding := response.headers.get("Content-Encoding", "").strip().lower()) not in ("", "identity"):
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
        return late(timeout_s)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {reason.verify_message}; for an authority of your own set SSL_CERT_FILE"
        )
    if isinstance(reason, http.client.HTTPException):
        return f"what answers there speaks no proper HTTP ({type(reason).__name__}); check the address"
    if refused := re.match("Tunnel connection failed: ([0-9]{3})", str(reason)):
        return f"the proxy refused it with HTTP {refused[1]}; look at the environment variable HTTPS_PROXY"
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    return f"it cannot be reached: {said}; check the address and the network"


def _advice(code: int) -> str:
    if code < 400:
        return "it redirects in circles, or to what is no page; look at the address in a browser"
    return _ADVICE.get(code, "try again later" if code >= 500 else "check the address")


def main() -> int:
    """Fetch what stdin asks for; print how it went, and what came."""
    # Nobody would read what comes after that, and a hung server could keep this process for long.
    die_with(int(sys.argv[1]))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)

    def give_up(number: int, frame: FrameType | None) -> None:
        raise ConfigError(late(order.timeout_s))

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, order.timeout_s)
    try:
        fetched = retrieve(order)
    except ConfigError as error:
        sys.stdout.buffer.write(msgspec.json.encode(Heading(error=str(error))) + b"\n")
        return 0
    heading = Heading(content_type=fetched.content_type, charset=fetched.charset)
    sys.stdout.buffer.write(msgspec.json.encode(heading) + b"\n" + fetched.body)
    return 0


if __name__ == "__main__":
    sys.exit(main())

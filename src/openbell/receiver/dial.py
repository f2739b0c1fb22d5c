"""Opening a WebSocket to a vendor: address, TLS, socket options, and what to say when it fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from picows import (
    WSError,
    WSHandshakeError,
    WSInvalidURL,
    WSListener,
    WSParsedURL,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)
from python_socks import ProxyError

from openbell.config import Source
from openbell.errors import ConfigError, OpenBellError
from openbell.receiver.redact import Redactor
from openbell.vendors.base import Vendor

RETRY_AFTER_MAX_S: Final = 3600.0
"""A vendor may ask for a longer pause; nobody wants one by a slip of its clock."""
# Answers after which trying again soon makes things worse: the token is refused, or there were too many attempts.
_REFUSED: Final = frozenset({401, 403, 418, 429})

# picows logs whole handshakes at its lowest level, token included, and every pause of a socket; errors reach us anyway.
_quiet = logging.getLogger("openbell.receiver.picows")
_quiet.setLevel(logging.CRITICAL)


class DialError(OpenBellError):
    """Say why a connection could not be opened; the text is fit for a log.

    Attributes
    ----------
    refused : bool
        Whether the other side has answered that it wants to be left alone, or does not know the token.
    retry_after_s : float
        How long it asks to be left alone; 0: it does not say.
    """

    def __init__(self, text: str, *, refused: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.refused = refused
        self.retry_after_s = retry_after_s


class Dialer:
    """Opens connections to one source.

    Parameters
    ----------
    source : Source
        Limits, socket options, and the way to the vendor (``source.network``).
    vendor : Vendor
        Address and headers.
    redactor : Redactor
        For what the other side says.

    Notes
    -----
    Certificates and host names are always verified, by the system's trust store or by the certificates that are
    configured. The environment's proxies are not taken by themselves, and redirects are refused: a token must not be
    carried to an address that nobody configured.
    """

    def __init__(self, source: Source, vendor: Vendor, redactor: Redactor) -> None:
        self._source = source
        self._vendor = vendor
        self._redactor = redactor
        self._tls: ssl.SSLContext | None = None

    async def open(self, make_listener: Callable[[], WSListener]) -> tuple[WSTransport, WSListener]:
        """Connect and upgrade.

        Parameters
        ----------
        make_listener : callable
            Makes the listener when the other side has agreed; frames may reach it before this returns.

        Raises
        ------
        DialError
            Whatever went wrong.
        """

        def factory(request: WSUpgradeRequest, response: WSUpgradeResponse) -> WSListener:
            return make_listener()

        network = self._source.network
        url = self._vendor.url().reveal()
        try:
            proxy = network.proxy_url()
            if url.startswith("wss:") and self._tls is None:
                self._tls = network.trust()
            async with asyncio.timeout(network.connect_s):
                transport, listener = await ws_connect(
                    factory,
                    url,
                    ssl_context=self._tls,
                    websocket_handshake_timeout=network.handshake_s,
                    logger_name=_quiet,
                    max_frame_size=self._source.max_message_bytes,
                    extra_headers=self._vendor.headers() or None,
                    max_redirects=0,
                    proxy=proxy.reveal() if proxy is not None else None,
                    socket_factory=self._socket if self._source.receive_buffer_bytes else None,
                )
                if listener is None:
                    # picows takes an end of the connection for an end of the handshake.
                    raise DialError(f"the connection was closed before the upgrade{self._through}")
                return transport, listener
        except ConfigError as error:
            raise DialError(str(error)) from None
        except WSHandshakeError as error:
            raise self._refused(error) from None
        except WSInvalidURL:
            raise DialError("the vendor's address is not a WebSocket address") from None
        except TimeoutError:
            raise DialError(f"no answer in time{self._through}") from None
        except ssl.SSLCertVerificationError as error:
            reason = self._redactor.quoted(error.verify_message)
            raise DialError(
                f"the certificate is not to be trusted: {reason}; if it is of a private authority, name its "
                "certificate in source.network.ca_file"
            ) from None
        except ProxyError as error:
            raise DialError(f"the proxy refused: {self._redactor.quoted(str(error))}") from None
        except (OSError, WSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DialError(f"{type(error).__name__}: {self._redactor.quoted(text)}{self._through}") from None

    @property
    def _through(self) -> str:
        network = self._source.network
        return " (through the proxy)" if network.proxy or network.proxy_env else ""

    def _refused(self, error: WSHandshakeError) -> DialError:
        if error.response is None:
            return DialError(f"the handshake failed: {self._redactor.quoted(str(error))}")
        status = error.response.status
        body = error.raw_body or error.response.body
        said = f": {self._redactor.excerpt(bytes(body))}" if body else ""
        retry_after_s = retry_after(error.response.headers.get("Retry-After"))
        hint = _HINTS.get(status.value, "")
        return DialError(
            f"the handshake was refused: HTTP {status.value} {status.phrase}{said}{hint}",
            refused=status.value in _REFUSED,
            retry_after_s=retry_after_s,
        )

    async def _socket(self, url: WSParsedURL) -> socket.socket:
        """Return a connected socket whose receive buffer was sized before: later is too late for the TCP window."""
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for family, kind, protocol, _, address in await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM):
            made = socket.socket(family, kind, protocol)
            try:
                made.setblocking(False)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._source.receive_buffer_bytes)
                await loop.sock_connect(made, address)
            except OSError as error:
                made.close()
                failure = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise failure or OSError("the host has no address")


_HINTS: Final = {
    401: "; look at what token_env or token_file gives",
    403: "; the account may not do this, or its token is not valid any more",
    429: "; too many connections or attempts: the next one waits longer",
}


def retry_after(value: str | None, wall_s: float | None = None) -> float:
    """Return the seconds that a Retry-After header asks for (a number or a date), an hour at most; 0: nothing."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        seconds = until.timestamp() - (time.time() if wall_s is None else wall_s)
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else 0.0

"""Opening a WebSocket to a vendor: address, TLS, socket options, and what to say when it fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
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

from openbell.config import Source
from openbell.errors import OpenBellError
from openbell.receiver.ratelimit import excerpt
from openbell.receiver.redact import Redactor
from openbell.vendors.base import Vendor

HANDSHAKE_S: Final = 5.0
CONNECT_S: Final = 15.0

# picows logs whole handshakes at its lowest level, token included, and every pause of a socket; errors reach us anyway.
_quiet = logging.getLogger("openbell.receiver.picows")
_quiet.setLevel(logging.CRITICAL)


class DialError(OpenBellError):
    """Say why a connection could not be opened; the text is fit for a log."""


class Dialer:
    """Opens connections to one source.

    Parameters
    ----------
    source : Source
        Limits and socket options.
    vendor : Vendor
        Address and headers.
    redactor : Redactor
        For what the other side says.
    handshake_s, connect_s : float
        Most time for the upgrade, and for everything (name, TCP, TLS, upgrade).

    Notes
    -----
    Certificates and host names are always verified, by the system's trust store. There are no proxies, and redirects
    are refused: a token must not be carried to an address that nobody configured.
    """

    def __init__(
        self,
        source: Source,
        vendor: Vendor,
        redactor: Redactor,
        handshake_s: float = HANDSHAKE_S,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._source = source
        self._vendor = vendor
        self._redactor = redactor
        self._handshake_s = handshake_s
        self._connect_s = connect_s
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

        url = self._vendor.url().reveal()
        if url.startswith("wss:") and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(self._connect_s):
                return await ws_connect(
                    factory,
                    url,
                    ssl_context=self._tls,
                    websocket_handshake_timeout=self._handshake_s,
                    logger_name=_quiet,
                    max_frame_size=self._source.max_message_bytes,
                    extra_headers=self._vendor.headers() or None,
                    max_redirects=0,
                    socket_factory=self._socket if self._source.receive_buffer_bytes else None,
                )
        except WSHandshakeError as error:
            raise DialError(self._refused(error)) from None
        except WSInvalidURL:
            raise DialError("the vendor's address is not a WebSocket address") from None
        except TimeoutError:
            raise DialError("no answer in time") from None
        except ssl.SSLCertVerificationError as error:
            reason = self._redactor.quoted(error.verify_message)
            raise DialError(f"the certificate is not to be trusted: {reason}") from None
        except (OSError, WSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DialError(f"{type(error).__name__}: {self._redactor.quoted(text)}") from None

    def _refused(self, error: WSHandshakeError) -> str:
        if error.response is None:
            return f"the handshake failed: {self._redactor.quoted(str(error))}"
        status = error.response.status
        body = error.raw_body or error.response.body
        said = f": {self._redactor.clean(excerpt(bytes(body)))}" if body else ""
        return f"the handshake was refused: HTTP {status.value} {status.phrase}{said}"

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

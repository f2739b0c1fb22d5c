"""The ``[source.network]`` table: how the vendor is reached."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from openbell.errors import ConfigError
from openbell.secret import Secret

if TYPE_CHECKING:
    import ssl

PROXY_SCHEMES: Final = ("http", "https", "socks4", "socks5")

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXAMPLE: Final = '"http://proxy.example:3128" or "socks5://127.0.0.1:1080"'


class Network(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the vendor is reached.

    Attributes
    ----------
    ca_file : str or None
        Certificates (PEM) that are trusted instead of the system's; relative to the configuration file.
    proxy : str or None
        Address of a proxy to go through, without user and password.
    proxy_env : str or None
        Name of the environment variable that holds the proxy's address, which may have user and password.
    handshake_s, connect_s : float
        Most time for the WebSocket upgrade, and for connecting altogether (name, TCP, TLS, upgrade).
    """

    ca_file: str | None = None
    proxy: str | None = None
    proxy_env: str | None = None
    handshake_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    connect_s: Annotated[float, Meta(gt=0, le=600)] = 15.0

    def __post_init__(self) -> None:
        if self.ca_file is not None and "\x00" in self.ca_file:
            raise ConfigError("source.network.ca_file: a NUL character is in it, and no file's name has one")
        if self.proxy is not None and self.proxy_env is not None:
            raise ConfigError("source.network.proxy, source.network.proxy_env: give one of them, not both")
        if self.proxy is not None:
            _check_proxy(self.proxy, "source.network.proxy", credentials=False)
        if self.proxy_env is not None and not _VARIABLE_NAME.fullmatch(self.proxy_env):
            # Not shown: an address with a password is sometimes written here by mistake.
            raise ConfigError(
                "source.network.proxy_env: this is not the name of an environment variable; write the variable's name, "
                'such as proxy_env = "HTTPS_PROXY", never the address itself'
            )

    def proxy_url(self) -> Secret | None:
        """Read the proxy's address from where the configuration says it is; None: there is no proxy.

        Raises
        ------
        ConfigError
            The variable is not set, or holds no address of a proxy.
        """
        if self.proxy is not None:
            return Secret(self.proxy)
        if self.proxy_env is None:
            return None
        value = os.environ.get(self.proxy_env, "").strip()
        if not value:
            raise ConfigError("source.network.proxy_env: the environment variable named there is not set, or is empty")
        _check_proxy(value, "source.network.proxy_env", credentials=True)
        return Secret(value)

    def trust(self) -> ssl.SSLContext:
        """Return how the other side's certificate is verified: there is no way not to.

        Raises
        ------
        ConfigError
            The file of certificates cannot be read.
        """
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            # What TLS makes of a file without a certificate is an error of the system's, too, and says little.
            said = "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"source.network.ca_file: cannot use {self.ca_file!r}: {said}") from None
        # Also where the system's own setting is laxer.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _check_proxy(address: str, key: str, *, credentials: bool) -> None:
    """Refuse what is no proxy's address. No message shows it: a password may be in it."""
    try:
        parts = urlsplit(address)
        named = parts.hostname is not None and parts.port is not None
    except ValueError:
        named = False
    if not named or not address.isprintable() or " " in address or parts.scheme not in PROXY_SCHEMES:
        raise ConfigError(
            f"{key}: a proxy's address has a scheme ({', '.join(PROXY_SCHEMES)}), a host and a port, such as {_EXAMPLE}"
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{key}: a proxy's address ends with its port, such as {_EXAMPLE}")
    if not credentials and (parts.username is not None or parts.password is not None):
        raise ConfigError(
            f"{key}: user and password do not belong in the configuration; put the whole address into an environment "
            'variable and name that: proxy_env = "MY_PROXY"'
        )

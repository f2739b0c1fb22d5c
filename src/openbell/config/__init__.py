"""``feed.toml``, checked once and frozen.

A configuration never holds a secret: it says where the token is (``token_env``, ``token_file``), and whoever needs
it asks :meth:`Source.token` at that moment. So a :class:`Config` can be printed, logged and sent to a child process.

Every mistake is a :class:`~openbell.errors.ConfigError` that names the file, the key, what is wrong and, for a
misspelt key, the one that was probably meant. The keys are described in ``docs/configuration.md``.
"""

from openbell.config.checks import SYMBOL_BYTES_MAX, is_credential, is_loopback, place, symbol_fault
from openbell.config.feed import Feed, Overflow
from openbell.config.generic import Generic
from openbell.config.liveness import Liveness
from openbell.config.network import Network
from openbell.config.source import CONNECTIONS_MAX, Source
from openbell.config.subscribing import Subscribing
from openbell.config.universe import Universe
from openbell.config.whole import Change, Config, load

__all__ = [
    "CONNECTIONS_MAX",
    "SYMBOL_BYTES_MAX",
    "Change",
    "Config",
    "Feed",
    "Generic",
    "Liveness",
    "Network",
    "Overflow",
    "Source",
    "Subscribing",
    "Universe",
    "is_credential",
    "is_loopback",
    "load",
    "place",
    "symbol_fault",
]

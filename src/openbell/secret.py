"""A value that must never be shown: not in a log, an error, a representation, a pickle or an argument list."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

HIDDEN: Final = "***"


class Secret:
    """Hold a secret text; only :meth:`reveal` gives it out.

    Parameters
    ----------
    value : str
        The secret.

    Notes
    -----
    ``str``, ``repr``, ``format`` and ``%s`` show ``***``. Pickling and JSON refuse, so that it cannot travel to
    another process or into a file by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; use it where it is needed and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; hand over where to find it (token_env, token_file) instead")

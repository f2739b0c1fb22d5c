"""Ready descriptions for the vendor ``"generic"``: dialects that many relays speak, each as its table would be written.

Nobody keeps a standard of these, so servers differ in details: what a file says itself counts instead. That answers are
not waited for is one such detail: many servers of these dialects send none.
"""

from __future__ import annotations

from typing import Any, Final

_TICKS: Final = {"events": "ticks[]", "symbol": "symbol", "price": "price", "volume": "volume"}
_CODES: Final = {"events": "ticks[]", "symbol": "code", "price": "price", "time": "time"}
_ANSWERS: Final = {
    "ack": {"when": {"action": ["subscribed", "unsubscribed"]}, "refused": "refused"},
    "error": {"when": {"action": "error"}, "message": "message", "symbols": "symbols"},
}

PROFILES: Final[dict[str, dict[str, Any]]] = {
    # {"action":"subscribe","symbols":["00700.HK"]} -> {"ticks":[{"symbol":"00700.HK","price":1.0,"volume":100}]}
    "symbol-array": {
        "profile": "symbol-array",
        "push": _TICKS,
        "subscribe": {"action": "subscribe", "symbols": "{symbols}"},
        "unsubscribe": {"action": "unsubscribe", "symbols": "{symbols}"},
        **_ANSWERS,
    },
    # {"action":"subscribe","symbols":"000001,600036"}, or "*" -> {"ticks":[{"code":"000001","price":1.0,"time":0}]}
    "symbol-text": {
        "profile": "symbol-text",
        "push": _CODES,
        "subscribe": {"action": "subscribe", "symbols": "{symbols}"},
        "unsubscribe": {"action": "unsubscribe", "symbols": "{symbols}"},
        "symbols_as": "text",
        "wildcard": "*",
        **_ANSWERS,
    },
    # The same pushes, for the codes in the address: ?codes=000001,600036
    "symbol-query": {
        "profile": "symbol-query",
        "push": _CODES,
        "query": {"codes": "{symbols}"},
        "wildcard": "*",
        "error": _ANSWERS["error"],
    },
    # {"cmd_id":22004,"action":"subscribe","code":["NASDAQ:AAPL"]} -> {"code":"NASDAQ:AAPL","price":1.0,"open_24h":1.0}
    "command-code": {
        "profile": "command-code",
        "push": {"symbol": "code", "price": "price", "reference": "open_24h"},
        "subscribe": {"cmd_id": 22004, "action": "subscribe", "code": "{symbols}"},
        "unsubscribe": {"cmd_id": 22004, "action": "unsubscribe", "code": "{symbols}"},
        "ack": {"when": {"cmd_id": 22005, "ret": 200}, "refused": "refused"},
        "error": {
            "when": {"cmd_id": 22005},
            "unless": {"ret": 200},
            "code": "ret",
            "message": "msg",
            "symbols": "code",
        },
        "symbol_format": "[A-Z]+:[^:]+",
        "symbol_example": "NASDAQ:AAPL",
    },
}
"""By name."""

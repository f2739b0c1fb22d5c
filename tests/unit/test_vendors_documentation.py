"""The vendor in docs/adding-a-vendor.md is a real one: it loads, its tests pass, and it receives from a server."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from corelab.wire import Receiver
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from test_fallback import Sink, log

from openbell import config, vendors
from openbell.reasons import Reason
from openbell.receiver.fallback import Fallback
from openbell.receiver.preview import Preview
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.vendors import HeartbeatAck, Refusal, Request, Semantics, Vendor
from openbell.vendors.plan import Op

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-vendor.md").read_text("utf-8")


def documented_files(page: str) -> dict[str, str]:
    """Return the files that a page of documentation has, by name."""
    return dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the page's files out as a reader would."""
    files = documented_files(PAGE)
    vendor = ["finnhub.py", "feed.toml", "test_finnhub.py"]
    assert list(files) == [*vendor, "symbol-array.toml", "symbol-text.toml", "command-code.toml", "finnhub.toml"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def finnhub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "finnhub", raising=False)
    monkeypatch.setenv("FINNHUB_TOKEN", "not-a-real-one")
    return vendors.create(config.load(folder / "feed.toml").source)


def test_the_documented_vendor_passes_its_documented_tests(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_finnhub.py"],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{folder}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_what_a_vendor_may_say_is_there_to_be_said() -> None:
    _, _, part = PAGE.partition("## What else a vendor may say\n")
    vendor, semantics = part.partition("\n## ")[0].split("**Semantics.**")
    for text, kind in ((vendor, Vendor), (semantics, Semantics)):
        rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        named = [name for row in rows for name in re.findall(r"`(\w+)", row)]
        assert len(named) > 5
        assert [name for name in named if not hasattr(kind, name)] == []


def test_the_documented_vendor_is_loaded_by_its_path(finnhub: Vendor) -> None:
    assert finnhub.name == "finnhub"
    assert finnhub.url().reveal() == "wss://ws.finnhub.io?token=not-a-real-one"
    assert finnhub.display_url() == "wss://ws.finnhub.io"
    assert list(finnhub.requests(["AAPL", "MSFT"])) == [
        Request(b'{"type":"subscribe","symbol":"AAPL"}', ("AAPL",)),
        Request(b'{"type":"subscribe","symbol":"MSFT"}', ("MSFT",)),
    ]
    assert finnhub.unsubscribe(["AAPL"]) == [Request(b'{"type":"unsubscribe","symbol":"AAPL"}', ("AAPL",))]
    answers = [finnhub.control(text) for text in (b'{"type":"ping"}', b'{"type":"error","msg":"x"}', b"\xff")]
    assert answers == [HeartbeatAck(), Refusal(None, "x"), None]


def test_the_documented_vendor_reads_a_documented_message_on_the_slow_path(finnhub: Vendor) -> None:
    sink = Sink(finnhub.plan())
    fallback = Fallback(finnhub, lambda control: None, RateLimitedLog(log))
    fallback(sink, b'{"type":"trade","data":[{"s":"AAPL","p":7296.89,"t":1575526691134,"v":0.011467,"c":["1"]}]}', 0)
    ((name, event),) = sink.published
    assert name == "trades"
    assert (getattr(event, "symbol", ""), getattr(event, "price", 0)) == ("AAPL", 7296.89)
    fallback(sink, b'{"type":"trade","data":[{"s":"AAPL","p":"x"}]}', 0)
    assert sink.counted == [Reason.PRICE_WRONG_TYPE]


def test_the_documented_vendor_receives_from_a_server(finnhub: Vendor) -> None:
    """What it sends is understood, and what comes back becomes records."""
    asked: list[str] = []

    class Venue(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            asked.append(json.loads(frame.get_payload_as_bytes())["symbol"])
            push = {"type": "trade", "data": [{"s": asked[-1], "p": 1.5, "v": 2}]}
            transport.send(WSMsgType.TEXT, json.dumps(push))

    heard: list[bytes] = []

    class Client(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            heard.append(frame.get_payload_as_bytes())

    def let_in(request: WSUpgradeRequest) -> WSListener:
        return Venue()

    async def play() -> None:
        from picows import ws_connect

        server = await ws_create_server(let_in, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await ws_connect(Client, f"ws://127.0.0.1:{port}/")
        for request in finnhub.requests(finnhub.source.symbols):
            transport.send(WSMsgType.TEXT, request.payload)
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.005)
        transport.disconnect()
        await transport.wait_disconnected()
        server.close()

    asyncio.run(play())
    assert asked == ["AAPL", "MSFT"]
    preview = Preview(finnhub)
    records = [record for message in heard for record in preview.take(message).records]
    assert [(record.symbol, record.values) for record in records] == [
        ("AAPL", {"a": 1.5, "b": 2.0}),
        ("MSFT", {"a": 1.5, "b": 2.0}),
    ]


def test_the_page_explains_every_op() -> None:
    for op in Op:
        assert re.search(rf"^\|[^|]*`{op.name}`[^|]*\|", PAGE, re.MULTILINE), op.name


def test_the_documented_books_are_books_of_their_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"^```python\n(class Level.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    header = "from msgspec import Struct\nfrom openbell.record import Kind\n"
    header += "from openbell.vendors import Field, Op, Route\n"
    (tmp_path / "documented_books.py").write_text(header + text.replace("Route(\n", "ROUTE = Route(\n", 1), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "documented_books", raising=False)
    wired = Receiver(tmp_path, [importlib.import_module("documented_books").ROUTE], shards=1, book_levels=2)
    book = {"code": "AAA", "bids": [{"price": 9.1, "volume": 2}, {"price": 9}], "asks": []}
    wired.send(msgspec.json.encode([book, {"code": "BBB", "asks": [{"price": 1.5}]}]))
    found = [(record.row, record.side, [record.value(index) for index in range(4)]) for record in wired.records()]
    rows = [wired.table.lookup(symbol) for symbol in (b"AAA", b"BBB")]
    assert found == [
        (rows[0], 1, [9.1, 2, None, None]),
        (rows[0], 2, [9, None, None, None]),
        (rows[1], 1, [None, None, 1.5, None]),
    ]
    assert wired.counted() == {}


def test_a_documented_description_reads_what_the_documented_vendor_reads(
    folder: Path, finnhub: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = vendors.create(config.load(folder / "finnhub.toml").source)
    assert [request.payload for request in described.subscribe(["AAPL"])] == [
        request.payload for request in finnhub.subscribe(["AAPL"])
    ]
    assert described.url() == finnhub.url()
    for message in (
        b'{"type":"trade","data":[{"s":"AAPL","p":7296.89,"t":1575526691134,"v":0.011467,"c":["1"]},{"s":"MSFT","p":"1"}]}',
        b'{"data":[{"p":1,"s":"MSFT"}],"type":"trade"}',
        b'{"type":"trade","data":[{"s":"AAPL","p":"x"},{"s":"TSLA","p":1}]}',
        b'{"type":"error","msg":"x"}',
        b'{"type":"trade","data":[]}',
    ):
        assert Preview(described).take(message) == Preview(finnhub).take(message)

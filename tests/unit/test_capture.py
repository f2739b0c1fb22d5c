"""The capture file: what is written is read back, and what is broken is named by file and line."""

from __future__ import annotations

import gzip
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell import capture
from openbell.capture import CapturedMessage, CaptureWriter, message_fault, read_capture
from openbell.errors import CaptureError

MESSAGES = [(1_700_000_000_000_000_000 + i, b'{"i":%d}' % i) for i in range(50)]


def write(path: Path, messages: list[tuple[int, bytes]] = MESSAGES) -> None:
    with CaptureWriter(path) as writer:
        for receive_ns, message in messages:
            assert writer.write(receive_ns, message)


@pytest.mark.parametrize("name", ["plain.cap", "zipped.cap.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    expected = [CapturedMessage(i + 1, *message) for i, message in enumerate(MESSAGES)]
    assert list(read_capture(tmp_path / name)) == expected
    assert not (tmp_path / f"{name}.part").exists()


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.gz")
    (tmp_path / "a.gz").rename(tmp_path / "a")
    assert len(list(read_capture(tmp_path / "a"))) == len(MESSAGES)


def test_a_last_line_without_newline_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1 {}\n2 []")
    assert [line.message for line in read_capture(tmp_path / "a")] == [b"{}", b"[]"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "expected '<receive ns> <message>'"),
        (b"{}", "expected '<receive ns> <message>'"),
        (b"12", "expected '<receive ns> <message>'"),
        (b"12 ", "expected '<receive ns> <message>'"),
        (b" 12 {}", "expected '<receive ns> <message>'"),
        (b"-12 {}", "expected '<receive ns> <message>'"),
        (b"1.5 {}", "expected '<receive ns> <message>'"),
        (b"12345678901234567890 {}", "expected '<receive ns> <message>'"),
        (b'12 {"a":', "not one JSON document"),
        (b"12 {} {}", "not one JSON document"),
        (b"12 ping", "not one JSON document"),
        (b'12 {"a":"\xff"}', "not UTF-8"),
        (b"12 " + b"[" * 100_000, "not one JSON document"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, why: str, zipped: bool) -> None:
    content = b"1 {}\n2 {}\n" + line + b"\n4 {}\n"
    path = tmp_path / "broken"
    path.write_bytes(gzip.compress(content) if zipped else content)
    lines = read_capture(path)
    assert next(lines).line == 1
    assert next(lines).line == 2
    with pytest.raises(CaptureError) as caught:
        next(lines)
    assert f"{path}, line 3" in str(caught.value)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_a_truncated_gzip_stream_is_an_error_after_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CaptureError, match=r"cut\.gz, after line \d+: the gzip stream ends too early"):
        list(read_capture(path))


def test_a_damaged_gzip_stream_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.gz"
    write(path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # the checksum
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"bad\.gz, after line \d+: not a readable gzip stream"):
        list(read_capture(path))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "long"
    path.write_bytes(b"1 {}\n2 " + b"x" * 100_000)
    with pytest.raises(CaptureError, match="line 2: longer than 1000 bytes"):
        list(read_capture(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"none\.cap: cannot read the capture"):
        next(read_capture(tmp_path / "none.cap"))


def test_white_space_with_newlines_is_cut_out_of_a_message(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "a") as writer:
        assert writer.write(1, b'{\n "p": 1.50,\r\n "n": "a\\nb c"}')
        assert writer.write(2, b'{"p": 1.50}')
    assert (writer.written, writer.compacted, writer.refused) == (2, 1, 0)
    assert [line.message for line in read_capture(tmp_path / "a")] == [b'{"p":1.50,"n":"a\\nb c"}', b'{"p": 1.50}']


@pytest.mark.parametrize("message", [b"{}\n{}", b"ping", b"", b"\xff\xfe", b'{"a":"\xff"}', b'{"a":"x\ny"}'])
def test_what_could_not_be_replayed_is_refused_and_counted(tmp_path: Path, message: bytes) -> None:
    with CaptureWriter(tmp_path / "a") as writer:
        assert not writer.write(1, message)
        assert writer.write(2, b"{}")
    assert (writer.written, writer.refused) == (1, 1)
    assert writer.first_refusal
    assert [line.receive_ns for line in read_capture(tmp_path / "a")] == [2]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(value=json_values, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_any_json_document_survives(
    tmp_path_factory: pytest.TempPathFactory, value: object, indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path_factory.mktemp("capture") / "a"
    try:
        message = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; escaped it is fine.
        message = json.dumps(value, indent=indent).encode()
    write(path, [(7, message)])
    (line,) = read_capture(path)
    assert json.loads(line.message) == value
    assert message_fault(line.message) is None


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_after_an_error_the_part_file_is_a_readable_capture(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), CaptureWriter(tmp_path / name) as writer:
        writer.write(1, b"{}")
        raise RuntimeError
    assert not (tmp_path / name).exists()
    assert [line.message for line in read_capture(tmp_path / f"{name}.part")] == [b"{}"]


def test_after_an_error_before_the_first_message_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), CaptureWriter(tmp_path / "a"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_what_was_flushed_survives_a_crash(tmp_path: Path, name: str) -> None:
    writer = CaptureWriter(tmp_path / name)
    writer.write(1, b'{"kept":1}')
    writer.flush()
    content = (tmp_path / f"{name}.part").read_bytes()
    writer.abandon()
    (tmp_path / "found").write_bytes(content)
    lines = read_capture(tmp_path / "found")
    assert next(lines).message == b'{"kept":1}'


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    write(tmp_path / "a")
    with pytest.raises(CaptureError, match="already exists"):
        CaptureWriter(tmp_path / "a")
    with CaptureWriter(tmp_path / "a", overwrite=True) as writer:
        writer.write(1, b"{}")
    assert len(list(read_capture(tmp_path / "a"))) == 1


def test_an_unfinished_recording_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"1 {}\n")
    with pytest.raises(CaptureError, match="an unfinished recording"):
        CaptureWriter(tmp_path / "a")
    assert (tmp_path / "a.part").read_bytes() == b"1 {}\n"


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no file of this process grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_no_more_is_a_clear_error_and_costs_no_earlier_line(tmp_path: Path, small_disk: None) -> None:
    path = tmp_path / "a"
    with (
        pytest.raises(CaptureError, match=r"a\.part: .* after \d+ messages; they are kept"),
        CaptureWriter(path) as out,
    ):
        for number in range(10_000):
            out.write(number, b'{"i":"%020d"}' % number)
    assert not path.exists()
    kept = 0
    with pytest.raises(CaptureError, match="line"):
        for line in read_capture(tmp_path / "a.part"):
            kept += 1
            assert json.loads(line.message)["i"] == f"{line.receive_ns:020d}"
    assert kept > 1000

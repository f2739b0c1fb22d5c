"""Segments: reserved in full, finished before they are seen, never taken for something they are not."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from openbell.core import words
from openbell.errors import FeedError, FeedNotFound, LayoutMismatch, NoSpace
from openbell.memory import segment as module
from openbell.memory.segment import HEADER_BYTES, LAYOUT_VERSION, Kind, Segment, State, mark_file_dead


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ring-0-0"


def make(path: Path, body: int = 8192) -> Segment:
    segment = Segment.create(path, Kind.RING, body, 7)
    segment.publish()
    return segment


def test_a_segment_is_found_as_it_was_made(path: Path) -> None:
    with make(path) as made:
        made.body[:5] = b"hello"
        with Segment.open(path, Kind.RING, 7) as found:
            assert bytes(found.body[:5]) == b"hello"
            assert len(found.body) == 8192
            assert found.live
            assert [found.state] == [State.LIVE]
            assert found.generation == 7
            assert found.creator_pid == os.getpid()
            made.mark_dead()
            assert [found.state] == [State.DEAD]
            assert not found.live


def test_a_segment_is_its_owners_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        make(path).close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_its_memory_is_there_from_the_beginning(path: Path) -> None:
    with make(path, 1 << 20):
        seen = path.stat()
        assert seen.st_size == HEADER_BYTES + (1 << 20)
        assert seen.st_blocks * 512 >= seen.st_size


def test_memory_is_reserved_by_writing_where_the_system_has_no_call_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with make(path, (1 << 20) + 4096):
        seen = path.stat()
        assert seen.st_size == HEADER_BYTES + (1 << 20) + 4096
        assert seen.st_blocks * 512 >= seen.st_size


def test_what_is_not_finished_is_not_found(path: Path) -> None:
    with Segment.create(path, Kind.RING, 8192, 7) as made:
        with pytest.raises(FeedNotFound, match="not a finished segment"):
            Segment.open(path, Kind.RING, 7)
        made.publish()
        Segment.open(path, Kind.RING, 7).close()
    path.write_bytes(b"")
    with pytest.raises(FeedNotFound, match="not a finished segment"):
        Segment.open(path, Kind.RING, 7)


def test_a_reader_cannot_write(path: Path) -> None:
    with make(path), Segment.open(path, Kind.RING, 7) as found:
        with pytest.raises(TypeError):
            found.body[0] = 1
        with pytest.raises(BufferError):
            words.store(found.body, 0, 1)


def test_an_existing_file_is_never_taken_over(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(FeedError, match="File exists"):
        Segment.create(path, Kind.RING, 8192, 7)
    assert path.read_bytes() == b"precious"


def test_a_planted_link_is_neither_written_nor_read(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    path.symlink_to(target)
    with pytest.raises(FeedError, match="File exists"):
        Segment.create(path, Kind.RING, 8192, 7)
    assert not target.exists()
    make(target).close()
    with pytest.raises(FeedError, match="symbolic link"):
        Segment.open(path, Kind.RING, 7)


def test_another_layout_version_is_refused_and_both_are_named(path: Path) -> None:
    with make(path) as made:
        words.store(made.buffer, 8, LAYOUT_VERSION + 41)
        with pytest.raises(LayoutMismatch, match=f"version {LAYOUT_VERSION + 41}.*version {LAYOUT_VERSION}"):
            Segment.open(path, Kind.RING, 7)


@pytest.mark.parametrize(("kind", "generation", "what"), [(Kind.CONTROL, 7, "kind"), (Kind.RING, 8, "generation")])
def test_another_segment_than_asked_for_is_refused(path: Path, kind: Kind, generation: int, what: str) -> None:
    with make(path), pytest.raises(FeedError, match=what):
        Segment.open(path, kind, generation)


def test_a_file_of_another_size_than_its_header_says_is_refused(path: Path) -> None:
    make(path).close()
    os.truncate(path, HEADER_BYTES + 4096)
    with pytest.raises(FeedError, match="size"):
        Segment.open(path, Kind.RING, 7)


def test_something_else_is_no_segment(path: Path) -> None:
    path.write_bytes(b"x" * 8192)
    with pytest.raises(FeedError, match="not an OpenBell segment"):
        Segment.open(path, Kind.RING, 7)


def test_a_missing_segment_is_a_feed_that_is_gone(path: Path) -> None:
    with pytest.raises(FeedNotFound):
        Segment.open(path, Kind.RING, 7)


def test_memory_that_is_not_there_is_refused_and_nothing_is_left(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(NoSpace, match="cannot reserve"):
            Segment.create(path, Kind.RING, 2 << 20, 7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()


def test_an_interrupt_while_reserving_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(fd: int, size: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_reserve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Segment.create(path, Kind.RING, 8192, 7)
    assert not path.exists()


def test_a_mapping_outlives_close_for_those_who_still_borrow_it(path: Path) -> None:
    made = make(path)
    made.body[:2] = b"ok"
    view = made.body[:2]
    assert made.close() is False
    assert bytes(view) == b"ok"
    view.release()


def test_marking_a_file_dead_reaches_those_who_have_it_mapped_whatever_its_version(path: Path) -> None:
    with make(path) as made:
        words.store(made.buffer, 8, LAYOUT_VERSION + 1)
        assert mark_file_dead(path) is not None
        assert made.state is State.DEAD


def test_marking_something_else_dead_changes_nothing(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"x" * 8192)
    assert mark_file_dead(path) is None
    assert path.read_bytes() == b"x" * 8192
    (tmp_path / "short").write_bytes(b"x")
    assert mark_file_dead(tmp_path / "short") is None
    (tmp_path / "link").symlink_to(path)
    assert mark_file_dead(tmp_path / "link") is None
    assert mark_file_dead(tmp_path / "missing") is None

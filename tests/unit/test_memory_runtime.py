"""The runtime directory: where it is, and whom it trusts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbell.errors import ConfigError, FeedError
from openbell.memory import runtime


def test_the_environment_chooses_the_root(runtime_dir: Path) -> None:
    assert runtime.root() == runtime_dir


def test_without_a_choice_the_root_is_this_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(runtime.ENVIRONMENT_KEY)
    monkeypatch.setattr(runtime, "SHARED_MEMORY", tmp_path)
    assert runtime.root() == tmp_path / f"openbell-{os.geteuid()}"


def test_without_dev_shm_the_root_is_in_the_session_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(runtime.ENVIRONMENT_KEY)
    monkeypatch.setattr(runtime, "SHARED_MEMORY", tmp_path / "missing")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime.root() == tmp_path / "openbell"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime.root().name == f"openbell-{os.geteuid()}"


@pytest.mark.parametrize("name", ["cn", "a", "A.b_c-1", "0" * 64])
def test_a_plain_name_can_name_a_feed(name: str) -> None:
    assert runtime.check_feed_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-a", "a b", "ü", "a" * 65, "a\n", "a\0"])
def test_a_name_that_could_leave_the_directory_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="feed name"):
        runtime.check_feed_name(name)


def test_directories_are_made_for_this_user_alone_whatever_the_umask(runtime_dir: Path, feed_name: str) -> None:
    before = os.umask(0)
    try:
        directory = runtime.make_feed_directory(feed_name)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.rmdir()


def test_a_symbolic_link_in_place_of_the_feed_directory_is_refused(
    runtime_dir: Path, feed_name: str, tmp_path: Path
) -> None:
    planted = runtime_dir / feed_name
    planted.symlink_to(tmp_path)
    with pytest.raises(FeedError, match="symbolic link"):
        runtime.make_feed_directory(feed_name)
    planted.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_others_may_enter_is_refused_with_the_remedy(runtime_dir: Path, feed_name: str) -> None:
    runtime_dir.chmod(0o755)
    with pytest.raises(FeedError, match=f"chmod 700 {runtime_dir}"):
        runtime.make_feed_directory(feed_name)
    assert not (runtime_dir / feed_name).exists()


def test_a_directory_of_somebody_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, runtime_dir: Path, feed_name: str
) -> None:
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(FeedError, match="belongs to uid"):
        runtime.make_feed_directory(feed_name)


def test_a_file_in_place_of_a_directory_is_refused(runtime_dir: Path, feed_name: str) -> None:
    (runtime_dir / feed_name).write_text("")
    with pytest.raises(FeedError, match="not a directory"):
        runtime.make_feed_directory(feed_name)
    (runtime_dir / feed_name).unlink()


def test_a_root_whose_parent_is_missing_is_an_error_not_a_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, feed_name: str
) -> None:
    monkeypatch.setenv(runtime.ENVIRONMENT_KEY, str(tmp_path / "no" / "where"))
    with pytest.raises(FeedError, match="does not exist"):
        runtime.make_feed_directory(feed_name)


def test_the_current_generation_is_named_and_renamed(tmp_path: Path) -> None:
    assert runtime.read_current(tmp_path) is None
    runtime.write_current(tmp_path, 17)
    runtime.write_current(tmp_path, 18)
    assert runtime.read_current(tmp_path) == 18
    assert (tmp_path / "current").stat().st_mode & 0o777 == 0o600
    runtime.remove_current(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_planted_current_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("1")
    (tmp_path / "current").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FeedError, match="current"):
        runtime.read_current(tmp_path)
    (tmp_path / "current").unlink()
    (tmp_path / "current").write_text("../../etc")
    with pytest.raises(FeedError, match="not the number of a generation"):
        runtime.read_current(tmp_path)


def test_the_last_feed_takes_the_default_root_along_but_not_a_chosen_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(runtime, "SHARED_MEMORY", tmp_path)
    monkeypatch.setenv(runtime.ENVIRONMENT_KEY, str(tmp_path / "chosen"))
    runtime.remove_if_empty(runtime.make_feed_directory("one"))
    assert [path.name for path in tmp_path.iterdir()] == ["chosen"]
    monkeypatch.delenv(runtime.ENVIRONMENT_KEY)
    one, two = runtime.make_feed_directory("one"), runtime.make_feed_directory("two")
    runtime.remove_if_empty(one)
    assert two.is_dir()
    runtime.remove_if_empty(two)
    assert not two.parent.exists()

"""A disk that can do less than Linux's own: the first writer still wins, and nothing is seen in half."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from sweeps.errors import StorageError
from sweeps.storage.backends import disk
from sweeps.storage.files import Files

NOT_SUPPORTED = ("EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL")


def failing(name: str) -> object:
    def fail(*arguments: object) -> None:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return fail


@pytest.fixture(params=NOT_SUPPORTED)
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.link", failing(request.param))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path))


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("without_links")
def test_without_links_the_first_writer_wins_and_leaves_nothing_else(files: Files, tmp_path: Path) -> None:
    files.check_writable()
    assert files.publish("toy/a", b"first")
    assert not files.publish("toy/a", b"second")
    assert files.read("toy/a") == b"first"
    assert files.publish("toy/a", b"third", replace=True)
    assert there(tmp_path) == ["a"]


def test_without_links_of_many_writers_one_wins(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.link", failing("EPERM"))
    won, begin = [], threading.Barrier(8)

    def write(number: int) -> None:
        for name in range(10):
            begin.wait()
            if files.publish(f"{name}", f"{number}".encode() * 10_000):
                won.append((name, number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == [*range(10)]
    for name, number in won:
        assert files.read(f"{name}") == f"{number}".encode() * 10_000
    assert there(tmp_path) == [f"{name}" for name in range(10)]


def test_without_links_two_who_come_at_the_same_moment_are_kept_apart(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks, is held up until the first has looked and found nothing, and then both would rename."""
    monkeypatch.setattr("os.link", failing("EPERM"))
    rename, told = os.rename, list[bool]()
    second = threading.Thread(target=lambda: told.append(files.publish("a", b"second")))

    def slow(source: str, target: str) -> None:
        monkeypatch.setattr("os.rename", rename)
        second.start()
        second.join(0.2)
        assert second.is_alive(), "it did not wait for the lock"
        rename(source, target)

    monkeypatch.setattr("os.rename", slow)
    assert files.publish("a", b"first")
    second.join()
    assert told == [False]
    assert files.read("a") == b"first"
    assert there(tmp_path) == ["a"]


def test_a_lock_of_a_writer_that_died_is_taken_over(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.link", failing("EPERM"))
    monkeypatch.setattr(disk, "STALE_S", 0.1)
    (tmp_path / ".a.lock.tmp").touch()
    assert files.publish("a", b"mine")
    assert there(tmp_path) == ["a"]


@pytest.mark.parametrize("name", [*NOT_SUPPORTED, "EBADF"])
def test_a_folder_that_cannot_be_flushed_is_none_the_worse(
    name: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, refused = os.fsync, []

    def of_files_alone(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            refused.append(descriptor)
            failing(name)()  # type: ignore[operator]
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", of_files_alone)
    assert files.publish("toy/a", b"first")
    assert not files.publish("toy/a", b"second")
    assert refused


def test_a_folder_that_cannot_be_listed_is_written_all_the_same(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: object, flags: int, *rest: int) -> int:
        if os.path.isdir(str(path)):
            failing("EACCES")()  # type: ignore[operator]
        return opened(str(path), flags, *rest)

    monkeypatch.setattr("os.open", refuse)
    assert files.publish("toy/a", b"first")


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES"])
@pytest.mark.parametrize("call", ["os.fsync", "os.link", "builtins.open"])
def test_one_that_is_full_or_read_only_is_one_sentence(
    call: str, name: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, failing(name))
    with pytest.raises(StorageError) as caught:
        files.check_writable()
    monkeypatch.undo()
    why = os.strerror(getattr(errno, name))
    assert str(caught.value) == f"storage '{tmp_path}': cannot be written ({why}), expected a writable folder"
    assert there(tmp_path) == []


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_in_place_of_a_file_is_named_at_once(replace: bool, files: Files, tmp_path: Path) -> None:
    (tmp_path / "toy" / "a").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"toy/a: found a folder, expected a file or nothing$"):
        files.publish("toy/a", b"", replace=replace)
    assert there(tmp_path) == []

"""Every picture is decoded once, and again only when its file has changed."""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.core.images import checking, memory, reading
from robustprune.core.images.checking import check_pictures


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the pictures that were decoded since."""
    names: list[str] = []
    read: Callable[..., Any] = reading.read_rgb

    def told(file: io.BytesIO, name: str, **options: Any) -> Any:
        names.append(Path(name).name)
        return read(file, name, **options)

    monkeypatch.setattr(checking, "read_rgb", told)
    return names


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / folder / name for folder, name in (("a", "x 0.png"), ("a", "y.png"), ("b", "x 0.png"))]
    for shade, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (shade, 0, 0)).save(path)
    return paths


def test_a_picture_is_decoded_once(pictures: list[Path], decoded: list[str], tmp_path: Path) -> None:
    first = check_pictures(pictures, memory=tmp_path / "memory")
    assert sorted(decoded) == ["x 0.png", "x 0.png", "y.png"]
    assert [(found.kind.width, found.kind.height) for found in first] == [(6, 4)] * 3
    assert len({found.sha256 for found in first}) == 3
    assert check_pictures(pictures[::-1], memory=tmp_path / "memory") == first[::-1]
    assert len(decoded) == 3


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_file_is_decoded_again(change: str, pictures: list[Path], decoded: list[str], tmp_path: Path) -> None:
    check_pictures(pictures, memory=tmp_path / "memory")
    decoded.clear()
    if change == "content":
        Image.new("RGB", (60, 4)).save(pictures[1])
    else:
        os.utime(pictures[1], ns=(1, 1))
    found = check_pictures(pictures, memory=tmp_path / "memory")
    assert decoded == ["y.png"]
    assert found[1].kind.width == (60 if change == "content" else 6)


def test_damaged_pictures_are_counted_and_whole_ones_remembered(
    pictures: list[Path], decoded: list[str], tmp_path: Path
) -> None:
    for path in pictures[1:]:
        path.write_bytes(path.read_bytes()[:50])
    for _ in range(2):
        with pytest.raises(InputError, match=r"a/y\.png: .*, expected an image file; 1 more pictures cannot be read"):
            check_pictures(pictures, memory=tmp_path / "memory")
    assert sorted(decoded) == ["x 0.png", "x 0.png", "x 0.png", "y.png", "y.png"]


def test_a_picture_with_a_bit_that_flipped_is_damaged(pictures: list[Path], tmp_path: Path) -> None:
    content = bytearray(pictures[0].read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    pictures[0].write_bytes(content)
    with pytest.raises(InputError, match=r"x 0\.png: .*, expected an image file$"):
        check_pictures(pictures, memory=tmp_path / "memory")


def test_a_missing_picture_is_named(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.png: No such file or directory, expected an image file$"):
        check_pictures([*pictures, tmp_path / "nowhere.png"], memory=tmp_path / "memory")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1, "pictures": {"x 0.png": [1], "y.png": 3}}'])
def test_a_memory_that_is_broken_or_cannot_be_written_is_no_error(
    content: bytes, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert len(check_pictures(pictures, memory=tmp_path / "file" / "memory")) == 3
    check_pictures(pictures, memory=tmp_path / "memory")
    for path in (tmp_path / "memory").iterdir():
        path.write_bytes(content)
    assert len(check_pictures(pictures, memory=tmp_path / "memory")) == 3


def files(memory: Path) -> list[Path]:
    return sorted(memory.iterdir())


def test_pictures_that_are_gone_are_forgotten(pictures: list[Path], tmp_path: Path) -> None:
    check_pictures(pictures, memory=tmp_path / "memory")
    pictures[1].unlink()
    Image.new("RGB", (5, 5)).save(new := tmp_path / "a" / "z.png")
    check_pictures([new], memory=tmp_path / "memory")
    kept = {name for path in files(tmp_path / "memory") for name in json.loads(path.read_text())["pictures"]}
    assert kept == {"x 0.png", "z.png"}


def test_what_another_process_has_kept_meanwhile_stays(
    pictures: list[Path], decoded: list[str], tmp_path: Path
) -> None:
    one, other = (memory.PictureMemory(tmp_path / "memory") for _ in range(2))
    for keeper, path in ((one, pictures[0]), (other, pictures[1])):
        assert keeper.get(path) is None
        keeper.add(path, memory.stamp(path), memory.Checked(reading.Kind(6, 4, "RGB", 1), "0" * 64))
        keeper.save()
    check_pictures(pictures[:2], memory=tmp_path / "memory")
    assert decoded == []


def test_folders_that_no_command_asks_for_are_forgotten(pictures: list[Path], tmp_path: Path) -> None:
    check_pictures(pictures, memory=tmp_path / "memory")
    (tmp_path / "memory" / "tmp_half").write_text("left by a process that was ended")
    long_ago = time.time() - memory.LONGEST_UNUSED - 60
    for path in files(tmp_path / "memory"):
        os.utime(path, (long_ago, long_ago))
    check_pictures(pictures[:1], memory=tmp_path / "memory")
    (left,) = files(tmp_path / "memory")
    assert json.loads(left.read_text())["folder"] == str(tmp_path / "a")


def test_no_more_is_kept_than_fits(pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_pictures(pictures, memory=tmp_path / "memory")
    for path in files(tmp_path / "memory"):
        os.utime(path, (1e9, 1e9)) if "/b" in json.loads(path.read_text())["folder"] else None
    monkeypatch.setattr(memory, "LONGEST_UNUSED", float("inf"))
    monkeypatch.setattr(memory, "MOST_BYTES", sum(path.stat().st_size for path in files(tmp_path / "memory")) - 1)
    check_pictures(pictures[:1], memory=tmp_path / "memory")
    (left,) = files(tmp_path / "memory")
    assert json.loads(left.read_text())["folder"] == str(tmp_path / "a")


def test_progress_is_told(pictures: list[Path], tmp_path: Path) -> None:
    done: list[int] = []
    check_pictures(pictures, memory=tmp_path / "memory", tell=done.append)
    assert done == [1, 2, 3]

"""Every picture is decoded once, and again only when its file has changed."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.core.images import checking, reading
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


def test_progress_is_told(pictures: list[Path], tmp_path: Path) -> None:
    done: list[int] = []
    check_pictures(pictures, memory=tmp_path / "memory", tell=done.append)
    assert done == [1, 2, 3]

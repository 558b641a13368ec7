"""Files that are not what was expected are named as what they are."""

import unicodedata
from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.core.files import other_spelling, read_utf8, undecodable


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("{}".encode("utf-8-sig"))
    assert read_utf8(tmp_path / "x", "JSON") == b"{}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1}'.encode("utf-16"), "found text in UTF-16, expected JSON in UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "found text in UTF-16, expected JSON in UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), "found text in UTF-16, expected JSON in UTF-8"),
        ('{"a": 1}'.encode("utf-32"), "found text in UTF-32, expected JSON in UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a Git LFS pointer, .*, expected JSON"),
        (b"<!-- saved -->\n<!doctype html>", r"found a web page \(HTML\), .*, expected JSON"),
        (b"BZh91AY", "found a bzip2 archive, expected JSON"),
        (b"", "found an empty file, expected JSON"),
    ],
)
def test_what_is_no_text_in_utf8_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=f"/x: {said}$"):
        read_utf8(tmp_path / "x", "JSON")


def test_the_place_of_what_is_not_utf8_is_told() -> None:
    assert undecodable("é".encode()) is None
    assert "byte 0xba at line 2 column 3)" in str(undecodable(b'{\n "\xba\xec"}'))


def test_names_that_look_alike_are_told_apart() -> None:
    composed = unicodedata.normalize("NFC", "é.png")
    decomposed = unicodedata.normalize("NFD", composed)
    assert "written composed (NFC)" in str(other_spelling(composed, {decomposed, "x"}))
    assert "written decomposed (NFD)" in str(other_spelling(decomposed, {composed}))
    assert "'A.JPG', with other capitals" in str(other_spelling("a.jpg", ["A.JPG"]))
    assert other_spelling("a dog", ["a dog "], of="one of val") == (
        "where one of val is 'a dog ', with other blanks or capitals"
    )
    assert other_spelling("a.jpg", ["b.jpg"]) is None

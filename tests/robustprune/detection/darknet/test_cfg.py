"""Reading and printing .cfg text."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustprune.core.errors import InputError
from robustprune.detection.darknet import cfg
from robustprune.detection.darknet.cfg import Section

_words = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=8)
_values = st.text(string.ascii_letters + string.digits + "_-.,=[]", min_size=1, max_size=12)
_sections = st.lists(st.tuples(_words, st.dictionaries(_words, _values, max_size=4)), max_size=5)
_lines = st.lists(
    st.sampled_from(["[net]", "[yolo]", "[", "]", "=", "a=1", "a=", "=1", "a", "# a", "; a", "\0", "é=\u2028"])
)


@given(_sections)
def test_print_then_parse_is_the_identity(contents: list[tuple[str, dict[str, str]]]) -> None:
    sections = [Section(f"x{name}", options, 1, "") for name, options in contents]
    sections.insert(0, Section("net", {}, 1, ""))
    parsed = cfg.parse(cfg.dump(sections))
    assert [(s.name, s.options) for s in parsed] == [(s.name, s.options) for s in sections]


@given(st.text() | _lines.map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        sections = cfg.parse(text)
    except InputError:
        return
    assert sections[0].name == "net"


def test_reads_as_darknet_does() -> None:
    text = (
        "# comment\n; comment\n\n [ net ] \r\n wid th = 4 16\n\theight=416\nheight=1\n"
        "steps=\n[conv] # short\nfilters=8 # eight\n"
    )
    net, convolutional = cfg.parse(text)
    assert net.options == {"width": "416", "height": "416"}
    assert (convolutional.name, convolutional.line) == ("convolutional", 9)
    assert convolutional.integer("filters", minimum=1) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "d.cfg: the first section must be [net], found no section at all"),
        ("[yolo]", "d.cfg: the first section must be [net], found [yolo]"),
        ("a=1\n[net]", "d.cfg, line 1: 'a=1' stands before the first section, [net]"),
        ("[net]\nnonsense", "d.cfg, line 2: 'nonsense' is neither `[section]` nor `key=value`"),
        ("[net", "d.cfg, line 1: '[net' is not closed by a bracket"),
    ],
)
def test_syntax_errors_say_where(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        cfg.parse(text, "d.cfg")
    assert str(error.value) == message


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "0x10", "1_0", "٣", "1 .", "abc", "9" * 5000])
def test_whole_numbers_are_plain_digits(value: str) -> None:
    section = Section("yolo", {"key": value}, 3, "d.cfg")
    with pytest.raises(InputError, match=r"^d.cfg, line 3, \[yolo\]: `key` is .*, expected a whole number$"):
        section.integer("key", minimum=0)


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "0x10", "1_0", "٣", "1 .", "abc", ".", "1,2"])
def test_numbers_are_finite(value: str) -> None:
    section = Section("yolo", {"key": value}, 3, "d.cfg")
    with pytest.raises(InputError, match=r"^d.cfg, line 3, \[yolo\]: `key` is .*, expected a number$"):
        section.number("key", 1.0)


def test_lists_may_end_with_a_comma() -> None:
    section = Section("yolo", {"anchors": "10,.5,-3e1,"}, 1, "d.cfg")
    assert section.numbers("anchors") == (10, 0.5, -30)


@pytest.mark.parametrize("name", cfg.bundled())
def test_bundled_names_and_paths_read_alike(name: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.cfg"
    file.write_text(cfg.bundled()[name])
    assert [s.options for s in cfg.read(name)] == [s.options for s in cfg.read(file)]


@pytest.mark.parametrize("name", ["yolov3-nan", "no/such/yolov3-nano.cfg", "yolov3-nano\0", "."])
def test_an_unknown_name_offers_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match="no bundled one; the nearest is 'yolov3-"):
        cfg.read(name)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_files_of_any_system_are_read_alike(ending: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "net.cfg"
    file.write_bytes(ending.join(["[net]", "# \u00fc", "width=32", ""]).encode(encoding))
    (net,) = cfg.read(file)
    assert (net.name, net.options) == ("net", {"width": "32"})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04" + bytes(20), "a zip archive"),
    ],
)
def test_what_is_no_cfg_is_named(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_bytes(content)
    with pytest.raises(InputError, match=f"net.cfg: found {found}.*, expected a Darknet .cfg$"):
        cfg.read(tmp_path / "net.cfg")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "net.cfg"
    file.write_bytes("[net]\nwidth=32\n".encode(encoding))
    with pytest.raises(InputError, match=r"net.cfg: found text in UTF-16 or UTF-32, expected ASCII or UTF-8"):
        cfg.read(file)

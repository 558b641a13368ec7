"""Darknet .cfg text to sections and back: the syntax and the typed reading of options.

What a section builds, and whether its options make sense together, is told in `build.py`.
"""

from __future__ import annotations

import codecs
import difflib
import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import mistaken_for

_ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool"}
_WHITESPACE = str.maketrans("", "", " \t\r")
# Bounded, because `int` itself refuses thousands of digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?", re.IGNORECASE)


@dataclass(frozen=True)
class Section:
    """One `[name]` of a .cfg with its options as text; `line` (1-based) and `source` are for messages."""

    name: str
    options: Mapping[str, str]
    line: int
    source: str

    def error(self, message: str) -> InputError:
        """The error to raise about this section, which says where it stands."""
        return InputError(f"{self.source}, line {self.line}, [{self.name}]: {message}")

    def text(self, key: str, default: str | None = None) -> str:
        """The option as text; without a default it is required."""
        value = self.options.get(key, default)
        if value is None:
            raise self.error(f"the option `{key}` is missing")
        return value

    def integer(self, key: str, default: int | None = None, *, minimum: int) -> int:
        """The option as a whole number of at least `minimum`; without a default it is required."""
        if default is not None and key not in self.options:
            return default
        value = self._integer(key, self.text(key))
        if value < minimum:
            raise self.error(f"`{key}` is {value}, expected at least {minimum}")
        return value

    def number(self, key: str, default: float) -> float:
        """The option as a finite number."""
        return self._number(key, self.options[key]) if key in self.options else default

    def integers(self, key: str) -> tuple[int, ...]:
        """The required option as a list of whole numbers separated by commas."""
        return tuple(self._integer(key, item) for item in self._items(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """The required option as a list of finite numbers separated by commas."""
        return tuple(self._number(key, item) for item in self._items(key))

    def _items(self, key: str) -> list[str]:
        # Published files end lists with a comma now and then.
        return self.text(key).removesuffix(",").split(",")

    def _integer(self, key: str, value: str) -> int:
        if not _INTEGER.fullmatch(value):
            raise self.error(f"`{key}` is {value!r}, expected a whole number")
        return int(value)

    def _number(self, key: str, value: str) -> float:
        if not _NUMBER.fullmatch(value):
            raise self.error(f"`{key}` is {value!r}, expected a number")
        return float(value)


@functools.lru_cache(maxsize=32)
def parse(text: str, source: str = "<cfg>") -> tuple[Section, ...]:
    """Sections of a .cfg text, `[net]` first.

    As in Darknet's `read_cfg` and `option_list.c`: blanks vanish anywhere in a line, a line that begins with
    `#` or `;` is a comment, the first of two equal keys wins, an option without a value is passed over, and a
    number ends where a comment begins. Darknet's short names become the long ones (`[conv]` to
    `[convolutional]`).

    Raises `InputError`, naming `source` and the line, for a line that is neither and for a missing `[net]`.
    """
    sections: list[Section] = []
    options: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.translate(_WHITESPACE)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            name, bracket, _ = line[1:].partition("]")
            if not bracket:
                raise InputError(f"{source}, line {number}: {line!r} is not closed by a bracket")
            options = {}
            sections.append(Section(_ALIASES.get(name, name), options, number, source))
            continue
        key, equals, value = line.partition("=")
        if not key or not equals:
            raise InputError(f"{source}, line {number}: {line!r} is neither `[section]` nor `key=value`")
        if not sections:
            raise InputError(f"{source}, line {number}: {line!r} stands before the first section, [net]")
        value = re.split("[#;]", value, maxsplit=1)[0]
        if value:
            options.setdefault(key, value)
    if not sections or sections[0].name != "net":
        found = f"[{sections[0].name}]" if sections else "no section at all"
        raise InputError(f"{source}: the first section must be [net], found {found}")
    return tuple(sections)


def dump(sections: Sequence[Section]) -> str:
    """The .cfg text that `parse` reads back to the same names and options."""
    return "\n".join(
        "\n".join([f"[{section.name}]", *(f"{key}={value}" for key, value in section.options.items()), ""])
        for section in sections
    )


def bundled() -> dict[str, str]:
    """Text of every .cfg that comes with the package, by name."""
    return {
        file.name.removesuffix(".cfg"): file.read_text(encoding="utf-8")
        for file in sorted(_configs().iterdir(), key=lambda file: file.name)
        if file.name.endswith(".cfg")
    }


def place_of(path_or_name: str) -> str:
    """Return where the file of a .cfg is, bundled or not."""
    return str(_configs() / f"{path_or_name}.cfg") if path_or_name in bundled() else path_or_name


def _configs() -> Traversable:
    return resources.files("robustprune.detection.darknet") / "configs"


def read(path_or_name: str | os.PathLike[str]) -> tuple[Section, ...]:
    """Sections of a bundled .cfg (`yolov3-nano`) or of a file; raises `InputError` if it is neither."""
    name = os.fspath(path_or_name)
    configs = bundled()
    if name in configs:
        return parse(configs[name], f"{name}.cfg")
    path = staging.local(name, "the .cfg")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        near = difflib.get_close_matches(Path(name).name.removesuffix(".cfg"), configs, n=1, cutoff=0.0)
        raise InputError(f"{name!r} is no readable .cfg file and no bundled one; the nearest is {near[0]!r}") from error
    # Comments are in any encoding; only the ASCII part means anything. Lines end as on any system.
    text = checked_text(content, name).decode("ascii", errors="replace")
    return parse(text.replace("\r\n", "\n").replace("\r", "\n"), name)


def checked_text(content: bytes, source: str) -> bytes:
    """Return a text file without UTF-8's byte-order mark; raises `InputError` if it is no such text."""
    if content and (what := mistaken_for(content)):
        raise InputError(f"{source}: found {what}, expected a Darknet .cfg")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise InputError(f"{source}: found text in UTF-16 or UTF-32, expected ASCII or UTF-8: save it as UTF-8")
    return content.removeprefix(codecs.BOM_UTF8)

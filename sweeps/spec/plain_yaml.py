"""YAML as people write it: what YAML 1.1 reads as something else than is written is read as written, or refused.

`1e-4` is a number, `on` and `2024-01-01` are text, as in YAML 1.2. `010` and `1:30`, which YAML 1.1 takes for 8 and 90,
are refused, since nobody can tell which was meant. Nothing but plain values comes out, finitely many of them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

from sweeps.errors import SpecError

MOST_VALUES = 1_000_000
"""In one text, those that aliases repeat counted each time: a few lines of aliases can stand for more than fit."""

MOST_DIGITS = 1000
"""Of a number that a message repeats."""

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+|\.[0-9][0-9_]*"
    r"|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
)
_INTEGER = re.compile(r"^[-+]?(0b[01][01_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0|[1-9][0-9_]*)$")
_OCTAL = re.compile(r"^[-+]?0o?[0-9_]+$")
_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")


def read(text: str, source: str) -> Any:
    """Return what a YAML text stands for: mappings with keys of text, lists, text, numbers, true, false, nothing.

    Args:
        text: of one document.
        source: names it in messages.

    Raises:
        SpecError: it is no YAML, or such as can be read in two ways.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        if isinstance(error, yaml.reader.ReaderError):
            where = f", line {text.count(chr(10), 0, error.position) + 1}"
            problem = f"the character {text[error.position]!r}"
        said = " ".join(str(problem).split())
        if not isinstance(error, _RefusedError):
            said = f"not valid YAML, {said.removeprefix('found ')}"
    except RecursionError:
        where, said = "", "found lists and mappings within each other, too deep for any spec"
    raise SpecError(f"{source}{where}: {said}") from None


def write(values: Any) -> str:
    """Return a YAML text that reads back equal, here and by any reader of YAML 1.1."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def write_in_line(value: Any) -> str:
    """Return a value as YAML in one line, that reads back equal."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _RefusedError(yaml.MarkedYAMLError):
    """It is YAML, and cannot be meant."""


class _Loader(yaml.SafeLoader):
    """Knows the plain values, and no others. No key may repeat."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _error("a tag of mappings before something else", node)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if not _INTEGER.match(text):
            raise _refused(f"found {text!r}, expected a whole number", node)
        try:
            return int(super().construct_yaml_int(node))
        except ValueError:  # Python reads no more than a few thousand digits
            raise _refused(f"found a number of {len(text)} digits, expected less", node) from None

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node)
        if not _FLOAT.match(text) and not _INTEGER.match(text):
            raise _refused(f"found {text!r}, expected a number", node)
        # -0.0 equals 0.0, and would have another key.
        return float(super().construct_yaml_float(node)) + 0.0

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        text = self.construct_scalar(node).lower()
        if text not in ("true", "false"):
            raise _refused(f"found {text!r}, expected true or false", node)
        return bool(text == "true")

    def refuse_tag(self, node: yaml.Node) -> None:
        raise _refused(f"found the tag {node.tag}, expected plain values", node)

    def refuse_octal(self, node: yaml.ScalarNode) -> None:
        if not _OCTAL.match(self.construct_scalar(node)):
            self.refuse_tag(node)
        digits = node.value.replace("_", "").replace("o", "").lstrip("+-")
        if len(digits) > MOST_DIGITS:
            raise _refused(f"found a number of {len(digits)} digits, expected less", node)
        octal = f"{int(digits, 8)} in" if not set(digits) & set("89") else "no number of"
        raise _refused(
            f"found {node.value}, which is {octal} YAML 1.1, expected {int(digits)}, or quotes around what is text",
            node,
        )

    def refuse_sexagesimal(self, node: yaml.ScalarNode) -> None:
        raise _refused(
            f"found {node.value}, which YAML 1.1 takes for a number to base 60, expected a decimal number, "
            "or quotes around what is text",
            node,
        )


def _error(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _refused(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return _RefusedError(problem=problem, problem_mark=node.start_mark)


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse keys that are no text, or there twice; before merge keys are replaced by what they stand for."""
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error("a key is not plain text", key)
        if key.value in seen:
            raise _error(f"the key {key.value!r} is there twice", key)
        seen.add(key.value)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, aliases counted each time.

    Args:
        known: what was counted so far, by the identity of nodes; 0 while a node is being counted.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise _refused("found an alias of what it is a part of, expected values that end", node)
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        parts = [each for pair in node.value for each in pair]
    total = 1 + sum(_count(part, known) for part in parts)
    if total > MOST_VALUES:
        raise _refused(f"found aliases that stand for more than {MOST_VALUES:,} values, expected fewer", node)
    known[id(node)] = total
    return total


_Loader.yaml_implicit_resolvers = {}
# The order counts: the first that fits.
for _tag, _pattern, _first in (
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(_pattern), list(_first))
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}octal", _OCTAL, list("-+0"))
_Loader.add_implicit_resolver(f"{_TAG}sexagesimal", _SEXAGESIMAL, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))

for _name, _construct in (
    ("null", _Loader.construct_yaml_null),
    ("bool", _Loader.construct_truth),
    ("int", _Loader.construct_integer),
    ("float", _Loader.construct_number),
    ("octal", _Loader.refuse_octal),
    ("sexagesimal", _Loader.refuse_sexagesimal),
    ("str", _Loader.construct_yaml_str),
    ("seq", _Loader.construct_yaml_seq),
    ("map", _Loader.construct_yaml_map),
):
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
_Loader.add_constructor(None, _Loader.refuse_tag)


class _Dumper(yaml.SafeDumper):
    """Puts quotes around text that one of the two would take for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in yaml.SafeDumper.yaml_implicit_resolvers.keys() | _Loader.yaml_implicit_resolvers.keys()
}

"""A YAML text is read as it is written or refused in a sentence; nothing that is typed ends in another error."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning import plan
from sweeps.spec.plain_yaml import read, write, write_in_line
from sweeps.storage import Store
from tests.support.toy_study import SPEC

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""A few lines that stand for 10⁹ values."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[yes, no, on, off, y, N]", ["yes", "no", "on", "off", "y", "N"]),
        ("[true, False, NULL, ~]", [True, False, None, None]),
        ("[2024-01-01, 2024-01-01 10:00:00]", ["2024-01-01", "2024-01-01 10:00:00"]),
        ("[1_000, 0x1F, 0b11, 1e-4, .5, 3.]", [1000, 31, 3, 1e-4, 0.5, 3.0]),
        ("['010', '1:30', a:b, v1.0, =]", ["010", "1:30", "a:b", "v1.0", "="]),
        ("{on: 1, 010: 2, 3: 4}", {"on": 1, "010": 2, "3": 4}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("\ufeffname: toy", {"name": "toy"}),
    ],
)
def test_what_can_be_meant_in_one_way_is_read_so(text: str, value: Any) -> None:
    found = read(text, "s.yaml")
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[010]", ", line 1, column 2: found 010, which is 8 in YAML 1.1, expected 10, or quotes around what is text"),
        ("a: 1\nb: -08", ", line 2, column 4: found -08, which is no number of YAML 1.1, expected 8, or quotes"),
        ("0o17", ", line 1, column 1: found 0o17, which is 15 in YAML 1.1, expected 17, or quotes"),
        ("[1:30]", ", line 1, column 2: found 1:30, which YAML 1.1 takes for a number to base 60, expected a decimal"),
        ("1:30:00.5", ", line 1, column 1: found 1:30:00.5, which YAML 1.1 takes for a number to base 60"),
        ("&a [*a]", ", line 1, column 1: found an alias of what it is a part of, expected values that end"),
        (BOMB, ", line 6, column 4: found aliases that stand for more than 1,000,000 values, expected fewer"),
        ("[" * 3000, ": found lists and mappings within each other, too deep for any spec"),
        ("9" * 5000, ", line 1, column 1: found a number of 5000 digits, expected less"),
        ("!!python/object/apply:os.getcwd []", ", line 1, column 1: found the tag tag:yaml.org,2002:python/object/"),
        ("!!set {a}", ", line 1, column 1: found the tag tag:yaml.org,2002:set, expected plain values"),
        ("!!int x", ", line 1, column 1: found 'x', expected a whole number"),
        ("!!map [a]", ", line 1, column 1: not valid YAML, a tag of mappings before something else"),
        ("a: 1\nb: \0", ", line 2: not valid YAML, the character '\\x00'"),
        ("a: 1\n---\na: 2", ", line 2, column 1: not valid YAML, but found another document"),
        ("<<: 3", ", line 1, column 5: not valid YAML, expected a mapping or list of mappings for merging"),
    ],
)
def test_what_cannot_is_refused_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text, "s.yaml")
    assert str(caught.value).startswith(f"s.yaml{expected}")


def test_a_change_is_read_alike() -> None:
    for change, said in (("grid.seed=[010]", "found 010"), ("offset=1:30", "found 1:30")):
        with pytest.raises(SpecError, match=rf"^--set '{change.replace('[', '.')[:12]}.*, line 1, column \d: {said}"):
            spec.parse(SPEC, "s.yaml", [change])
    assert spec.parse(SPEC, "s.yaml", ["name=2024-01-01", "diary=on"]).name == "2024-01-01"


def test_minus_zero_is_zero_in_cells_settings_and_keys(tmp_path: Any) -> None:
    texts = [SPEC.replace("dose: [0,", f"dose: [{zero},") + f"offset: {zero}\n" for zero in ("0.0", "-0.0")]
    plus, minus = (spec.parse(text, "s.yaml") for text in texts)
    assert all(math.copysign(1, float(cell["dose"])) == 1 for cell in minus.cells)
    assert minus.to_yaml() == plus.to_yaml()
    store = Store(str(tmp_path))
    plans = [plan.make(loaded, store).trials for loaded in (plus, minus)]
    assert [row.key for trial in plans[0] for row in trial.rows] == [
        row.key for trial in plans[1] for row in trial.rows
    ]


@pytest.mark.parametrize(
    "text", ["010", "08", "0o17", "1:30", "1e5", "yes", "2024-01-01", "=", "<<", "~", "3", "0b1", ""]
)
def test_text_that_looks_like_something_else_is_written_so_that_it_stays_text(text: str) -> None:
    written = write({"a": text, "b": [text]})
    assert read(written, "s.yaml") == yaml.safe_load(written) == {"a": text, "b": [text]}


# Whatever is typed

PIECES = "-[]{}:,&*!<>|'\"%@#? \n\t01x.eE_~ntyab"
SCALARS = (
    st.sampled_from(["010", "1:30", "-0.0", ".nan", "-.inf", "yes", "2024-01-01", "~", "''", "1e999", "9" * 5000, "<<"])
    | st.text(PIECES, max_size=12)
    | st.integers().map(str)
    | st.floats().map(str)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(SCALARS | st.sampled_from(["cpus", "name", "kind"]), inner), max_size=3).map(
            lambda pairs: f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"
        )
    ),
    max_leaves=5,
)
PLACES = st.sampled_from(
    [
        "name",
        "study",
        "description",
        "grid",
        "grid.seed",
        "grid.dose",
        "grid.include",
        "grid.exclude",
        "resources",
        "resources.cpus",
        "offset",
        "keep",
        "diary",
        "stop_after_failures",
        "progress_every",
        "seed",
        "room",
    ]
)


def refused(read_spec: Callable[[], spec.Spec]) -> list[str]:
    """Return the lines of the message with which a spec is refused; none where it is not."""
    try:
        assert read_spec().cells
    except SpecError as error:
        return str(error).split("\n")
    return []


def is_a_spec_or_refused(text: str, *changes: str) -> None:
    for line in refused(lambda: spec.parse(text, "s.yaml", changes)):
        assert line.startswith(("s.yaml", "--set "))


@given(st.text() | st.text(PIECES, max_size=60))
def test_any_text_is_a_spec_or_refused(text: str) -> None:
    is_a_spec_or_refused(text)
    is_a_spec_or_refused(SPEC + text)


@given(st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=3))
def test_any_change_of_any_field_is_a_spec_or_refused(changes: list[tuple[str, str]]) -> None:
    is_a_spec_or_refused(SPEC, *(f"{place}={value}" for place, value in changes))


@settings(deadline=None)  # the first imports PyTorch
@given(
    st.sampled_from(
        [
            "attack",
            "attack.name",
            "attack.steps",
            "dataset",
            "dataset.train",
            "base",
            "initializers",
            "finetune",
            "finetune.epochs",
            "detector",
            "detector.config",
            "detector.image_size",
            "pretrain.learning_rate",
            "structures",
        ]
    ),
    VALUES,
)
def test_any_change_of_a_real_study_is_a_spec_or_refused(place: str, value: str) -> None:
    for line in refused(lambda: spec.load("demo", [f"{place}={value}"])):
        assert line.startswith(("spec demo: ", "--set "))


# From standard input


def given_on_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_spec_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given_on_stdin(monkeypatch, f"{SPEC}description: größer\n".encode())
    assert spec.load("-", ["offset=1"]).engine.description == "größer"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "<stdin>: found nothing, expected a mapping of settings"),
        (b"\xff\xfe\x00", "<stdin>: found bytes that are no UTF-8 text, expected YAML"),
        (b"a: [", "<stdin>, line 1, column 5: not valid YAML, "),
        (f"{SPEC}ofset: 1\n".encode(), "<stdin>: ofset: unknown key; did you mean 'offset'?"),
    ],
)
def test_messages_name_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes, expected: str) -> None:
    given_on_stdin(monkeypatch, data)
    with pytest.raises(SpecError) as caught:
        spec.load("-")
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("name", ["a\0b", "\ud800.yaml", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="expected a YAML file"):
        spec.load(name)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a b", "a b"),
        (0.5, "0.5"),
        (None, "null"),
        ("1e-4", "'1e-4'"),
        ([0, {"name": "pgd", "steps": 3}], "[0, {name: pgd, steps: 3}]"),
        ([*range(100)], str([*range(100)])),
    ],
)
def test_a_value_is_written_in_one_line(value: Any, line: str) -> None:
    assert write_in_line(value) == line
    assert read(f"a: {line}", "text") == {"a": value}

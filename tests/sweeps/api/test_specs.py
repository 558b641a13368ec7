"""A spec given as a mapping is the one that a file with the same content would be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweeps.api.specs import loaded
from sweeps.errors import SpecError
from sweeps.spec import parse
from tests.support.toy_study import SPEC, ToyStudy

TOY: dict[str, Any] = yaml.safe_load(SPEC)


@pytest.mark.parametrize(
    "spec",
    [
        TOY,
        TOY | {"study": ToyStudy},
        TOY | {"grid": TOY["grid"] | {"shape": ("round", "flat"), "seed": range(2), "dose": np.array([0, 0.5, 1])}},
        TOY | {"grid": TOY["grid"] | {"seed": [np.int64(0), np.uint8(1)]}},
    ],
    ids=["plain", "class", "arrays", "scalars"],
)
def test_a_mapping_is_what_its_file_would_be(spec: Mapping[str, Any]) -> None:
    expected = parse(SPEC.replace("tests.toy_study", ToyStudy.__module__), "toy.yaml")
    found = loaded(spec)
    assert found.cells == expected.cells
    assert found.settings == expected.settings


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_changes_reach_the_field_to_the_last_bit(offset: float) -> None:
    assert loaded(TOY, {"offset": offset}).settings.offset == offset  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["null", "1e-3", "on", "1:30", "a: b", "- x", "#", " ", "é\n"])
def test_text_stays_text(text: str) -> None:
    assert loaded(TOY, {"description": text}).engine.description == text


def test_a_path_is_read(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(SPEC)
    assert loaded(file, {"name": "other"}).name == "other"


@pytest.mark.parametrize(
    ("spec", "changes", "said"),
    [
        (5, {}, "the spec given: found int, expected a bundled spec's name, the path of a YAML file or a mapping"),
        (TOY | {"offset": object()}, {}, "the spec given['offset']: found object, expected text"),
        (TOY | {"offset": float("nan")}, {}, "offset: found nan, expected a finite number"),
        (TOY, {"epochs": {1, 2}}, "set['epochs']: found set, expected text"),
        (TOY, {"epoch": 2}, "the spec given: epoch: "),
        (TOY, {"a..b": 2}, "expected key.path=value"),
        (TOY | {"study": dict}, {}, "the spec given['study']: found type"),
    ],
)
def test_what_is_no_spec_is_said(spec: Mapping[str, Any], changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        loaded(spec, changes)
    assert said in str(raised.value)

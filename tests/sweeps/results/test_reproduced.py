"""Raw values behind a bundled table are known by their means to the printed digits, and nothing else is."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from sweeps.reporting.terminal.tables import show_analysis
from sweeps.results.reproduced import reproduced
from sweeps.results.source import open_source
from tests.support.roles import ROLES

# What the bundled study prints, of two structures at two ratios.
PRINTED = {
    ("structured", 0.0): 0.410,
    ("structured", 0.99): 0.043,
    ("unstructured", 0.0): 0.410,
    ("unstructured", 0.99): 0.037,
}


def raw(shift: float = 0.0) -> pd.DataFrame:
    lines = [
        (structure, "deeplift", "rgb", seed, ratio, mean + spread + shift)
        for (structure, ratio), mean in PRINTED.items()
        for seed, spread in enumerate((-0.02, 0.0204, 0.0))
    ]
    return pd.DataFrame(lines, columns=[*ROLES.axes, "ap"])


def test_means_that_agree_to_the_printed_digits_are_those_published() -> None:
    assert reproduced(raw(), metric="ap", roles=ROLES) == "liu2024"


@pytest.mark.parametrize(
    "rows",
    [
        raw(shift=0.0005),
        raw()[:6],
        raw().assign(ap="high"),
        raw().replace({"initializer": {"deeplift": "hydra"}}),
    ],
    ids=["half a digit off", "two cells", "words", "other levels"],
)
def test_other_rows_are_nobody_s(rows: pd.DataFrame) -> None:
    assert reproduced(rows, metric="ap", roles=ROLES) == ""


def test_such_a_file_is_tested_as_published_tables_are_unless_asked_otherwise(tmp_path: pytest.TempPathFactory) -> None:
    file = f"{tmp_path}/raw.csv"
    raw().to_csv(file, index=False)
    found = open_source(file, metric="ap", design=None)
    assert found.classical
    assert found.remarks[-1].startswith(f"{file}: its means are those published as liu2024")
    assert not open_source(file, metric="ap", design=None, classical=False).classical
    assert not open_source(file, metric="ap", design="paired").classical
    raw(shift=0.1).to_csv(file, index=False)
    assert not open_source(file, metric="ap", design=None).classical


def test_other_questions_of_such_a_file_than_were_published_are_not_classical(
    tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    raw().to_csv(f"{tmp_path}/raw.csv", index=False)
    questions: tuple[dict[str, Any], ...] = ({}, {"factors": ("structure", "ratio")}, {"margin": "5%"})
    for question in questions:
        show_analysis(f"{tmp_path}/raw.csv", Console(), metric="ap", form="csv", **question)
        output, said = capsys.readouterr()
        assert ("published as liu2024" in said) == (not question)
        assert ("Box" in output or "Welch" in output) == bool(question)

"""Which columns are axes is known from the rows, from the user, or from the one study that fits."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Sweeps, assert_refused

TOLD = ("--axes", "shape,method,seed,dose", "--along", "dose", "--replicate", "seed")


@pytest.fixture
def parquet(store: Store) -> str:
    """Return a folder of rows without their spec."""
    toy_rows.publish(store, toy_rows.load())
    store.files.delete("toy/spec.yaml")
    return store.describe("toy/results")


@pytest.fixture
def csv(store: Store, tmp_path: Path) -> str:
    toy_rows.publish(store, toy_rows.load(), None)
    rows = load_results(store.describe("toy"))
    rows[rows["method"] != "none"][["shape", "method", "seed", "dose", "outcome"]].to_csv(tmp_path / "a.csv")
    return str(tmp_path / "a.csv")


def test_rows_say_themselves_which_columns_are_axes_and_what_is_measured(parquet: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", parquet, "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.startswith("factor,level_a,level_b,shape,method,dose,metric,design")
    assert ",outcome,independent," in ran.output


def test_of_a_csv_the_user_says_it(csv: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", csv, *TOLD, "--metric", "outcome", "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.startswith("factor,level_a,level_b,shape,method,dose,metric,design")


def test_or_names_a_study(csv: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", csv, "--study", "tests.toy_study:ToyStudy", "--metric", "outcome", "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")


def test_else_the_one_registered_study_that_fits_is_taken_and_said(tmp_path: Path, sweeps: Sweeps) -> None:
    axes = ["structure", "initializer", "colour", "seed", "ratio"]
    grid = [("filters", name, "rgb", seed, 0.5) for name in ("one", "two") for seed in range(3)]
    rows = pd.DataFrame(grid, columns=axes).assign(found=[1.0, 2.0, 3.0, 2.0, 4.0, 5.0])
    rows.to_csv(tmp_path / "d.csv", index=False)
    ran = sweeps("analyze", str(tmp_path / "d.csv"))
    assert ran.status == 0
    assert f"taken for rows of the study detection, whose axes are {', '.join(axes)}" in ran.errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "found the axes of no study among its columns, expected --study NAME, or --axes with --along and --repl"),
        (("--axes", "shape,methd"), "--axes: found 'methd', expected columns, such as "),
        (TOLD[:2], "--along: found nothing, expected one of shape, method, seed, dose"),
        (TOLD[:4], "--replicate: found nothing, expected one of shape, method, seed, dose"),
        ((*TOLD[:4], "--replicate", "dose"), "found 'dose' for both, expected different axes"),
        (("--along", "dose"), "found --along or --replicate without --axes, expected all three"),
        (("--study", "detectoin"), "did you mean 'detection'?"),
        (("--study", "detection"), "--study: found no column 'structure', expected those of detection: structure, ini"),
        (("--study", "tests.toy_study:ToyStudy", "--along", "dose"), "found --along or --replicate without --axes"),
        (("--axes", "shape,method,shape,seed,dose", *TOLD[2:]), "--axes: found 'shape' twice, expected different"),
        (("--axes", "outcome,shape,seed,dose", *TOLD[2:]), "metric 'outcome' is a key column, expected one that was"),
    ],
)
def test_what_is_not_known_is_asked_for(options: tuple[str, ...], words: str, csv: str, sweeps: Sweeps) -> None:
    assert_refused(sweeps("analyze", csv, "--metric", "outcome", *options), words)

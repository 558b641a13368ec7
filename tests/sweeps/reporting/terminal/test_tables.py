"""What the command line prints for programs reads back to the very numbers, and files of rows are analysed as such."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from sweeps import load_results
from sweeps.errors import SweepError
from sweeps.reporting.terminal import tables
from sweeps.statistics.samples import Design
from sweeps.storage import Store
from tests.support import toy_rows

DATA = Path(os.environ.get("ROBUSTPRUNE_DATA", Path(__file__).parents[5] / "shared" / "data"))
AXES = ["structure", "initializer", "colour", "seed", "ratio"]


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    store = Store(str(tmp_path / "a 0"))
    toy_rows.publish(store, toy_rows.load("grid.seed=[0, 1, 2]"))
    return store.describe("toy")


@pytest.fixture
def printed() -> Console:
    return Console(file=io.StringIO(), width=200)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def detector_rows(metric: str = "map_adv") -> pd.DataFrame:
    """Rows with the key columns of the design, without a sweep around them."""
    rng = np.random.default_rng(0)
    keys = [
        ("unstructured", initializer, "rgb", seed, ratio)
        for initializer in ("hydra", "deeplift")
        for seed in range(4)
        for ratio in (0.0, 0.5)
    ]
    return pd.DataFrame(keys, columns=AXES).assign(**{metric: rng.normal(size=len(keys))})


def analysed(
    source: str | Path, capsys: pytest.CaptureFixture[str], metric: str | None = None, design: Design | None = None
) -> pd.DataFrame:
    tables.show_analysis(str(source), Console(), metric=metric, design=design, form="csv")
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_results_as_csv_read_back(sweep: str, capsys: pytest.CaptureFixture[str], printed: Console) -> None:
    tables.show_results(sweep, "csv", printed)
    found = pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)
    expected = load_results(sweep)
    assert list(found.columns) == list(expected.columns)
    assert sorted(found["outcome"]) == sorted(expected["outcome"])
    assert sorted(found["row_key"]) == sorted(expected["row_key"])
    assert text(printed) == ""


def test_results_as_json_read_back_with_null_for_what_is_not_there(
    sweep: str, capsys: pytest.CaptureFixture[str], printed: Console
) -> None:
    tables.show_results(sweep, "json", printed)
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    expected = load_results(sweep)
    assert sorted(record["outcome"] for record in found) == sorted(expected["outcome"])
    assert {record["score_s"] for record in found} == {None}
    assert {type(record["seed"]) for record in found} == {int}


def test_results_as_a_table_show_keys_and_metrics_of_baseline_and_grid(sweep: str, printed: Console) -> None:
    tables.show_results(sweep, "table", printed)
    shown = text(printed)
    for word in ("shape", "method", "seed", "dose", "outcome", "none", "quick", "37 rows"):
        assert word in shown
    assert "row_key" not in shown


def test_a_sweep_without_rows_has_results_that_read_back_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(str(tmp_path))
    store.write_spec("toy", toy_rows.load().to_yaml())
    shown = {}
    for form in ("csv", "json", "table"):
        tables.show_results(store.describe("toy"), form, Console())
        shown[form] = capsys.readouterr().out
    assert "outcome" in pd.read_csv(io.StringIO(shown["csv"])).columns
    assert json.loads(shown["json"]) == []
    assert "0 rows" in shown["table"]


def test_a_sweep_is_analysed_by_its_own_axes_and_paired(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = analysed(sweep, capsys)
    assert set(found["factor"]) == {"shape", "method"}
    assert set(found["design"]) == {"paired"}
    assert set(found["metric"]) == {"outcome"}
    assert set(found["dose"]) == {0.0, 0.5, 1.0}
    assert set(analysed(sweep, capsys, "effort_s", "independent")["design"]) == {"independent"}


def test_tests_as_json_and_csv_are_the_same_numbers(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = analysed(sweep, capsys)
    tables.show_analysis(sweep, Console(), form="json")
    found = pd.DataFrame(json.loads(capsys.readouterr().out, parse_constant=pytest.fail))
    for column in ("p_value", "statistic", "mean_a", "effect_size"):
        np.testing.assert_array_equal(found[column].to_numpy(dtype=float), expected[column])


def test_tests_as_a_table_name_what_is_compared(sweep: str, printed: Console) -> None:
    tables.show_analysis(sweep, printed)
    for word in ("quick", "slow", "round", "flat"):
        assert word in text(printed)


def test_csv_parquet_and_a_folder_of_parquet_give_the_same_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = detector_rows()
    (tmp_path / "folder").mkdir()
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet")
    rows[:7].to_parquet(tmp_path / "folder" / "0.parquet")
    rows[7:].to_parquet(tmp_path / "folder" / "1.parquet")
    found = [analysed(tmp_path / name, capsys) for name in ("rows.csv", "rows.parquet", "folder")]
    assert set(found[0]["design"]) == {"independent"}
    assert len(found[0]) == 2
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])


@pytest.mark.parametrize("form", ["table", "csv"])
def test_rows_that_nothing_can_be_compared_in_say_so_beside_the_output(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], printed: Console
) -> None:
    rows = detector_rows()
    rows[rows["initializer"] == "hydra"].to_csv(tmp_path / "rows.csv", index=False)
    tables.show_analysis(str(tmp_path / "rows.csv"), printed, form=form)
    output, errors = capsys.readouterr()
    assert "nothing to compare" in errors
    assert output.count("\n") == (1 if form == "csv" else 0)
    assert text(printed) == ""


def test_levels_may_have_the_names_that_pandas_reads_as_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = detector_rows().replace({"initializer": {"hydra": "None", "deeplift": "NA"}})
    rows.loc[0, "map_adv"] = np.nan
    rows.to_csv(tmp_path / "rows.csv", index=False)
    found = analysed(tmp_path / "rows.csv", capsys, "map_adv", "paired")
    assert found["note"].tolist()[0].startswith("dropped seed 0")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("gone.csv", None, "gone.csv: found nothing there, expected a sweep, or Parquet or CSV rows"),
        (
            "empty.csv",
            None,
            "empty.csv: cannot be read as rows (No columns to parse from file), expected Parquet or CSV",
        ),
        ("header.csv", None, "header.csv: found no rows, expected a sweep, or Parquet or CSV rows"),
        ("text.parquet", None, "text.parquet: cannot be read as rows ("),
        ("rows.csv", "map_advv", "rows.csv: metric 'map_advv' is not a column of the rows; did you mean 'map_adv'?"),
        ("two.csv", None, "two.csv: found map_adv, map_clean, expected --metric to name one of them"),
        ("none.csv", None, "none.csv: found no numeric column besides the keys, expected --metric to name one of them"),
        (
            "keyless.csv",
            None,
            "keyless.csv: found the axes of no study among its columns, expected --study NAME, ",
        ),
        ("rows.csv", "seed", "rows.csv: metric 'seed' is a key column, expected one that was measured"),
        ("words.csv", "map_adv", "words.csv: metric 'map_adv' holds 'high', expected numbers"),
        ("percent.csv", None, "percent.csv: key column 'ratio' holds '50%', expected numbers"),
        ("hole.csv", None, "hole.csv: key column 'colour' is empty in 1 of 16 rows"),
        ("twice.csv", None, "twice.csv: 16 of 32 rows repeat the key of another, the first is structure unstructured"),
    ],
)
def test_a_source_that_is_no_rows_is_refused(name: str, metric: str | None, message: str, tmp_path: Path) -> None:
    rows = detector_rows()
    hole: list[Any] = [None, *rows["colour"][1:]]
    frames = {
        "header.csv": rows[:0],
        "rows.csv": rows,
        "two.csv": rows.assign(map_clean=1.0),
        "none.csv": rows[AXES],
        "keyless.csv": rows.drop(columns="colour"),
        "words.csv": rows.assign(map_adv=["high", *rows["map_adv"][1:]]),
        "percent.csv": rows.assign(ratio="50%"),
        "hole.csv": rows.assign(colour=hole),
        "twice.csv": pd.concat([rows, rows]),
    }
    if name in frames:
        frames[name].to_csv(tmp_path / name, index=False)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(SweepError) as caught:
        tables.show_analysis(str(tmp_path / name), Console(), metric=metric)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_a_misspelt_metric_of_a_sweep_offers_the_nearest(sweep: str) -> None:
    with pytest.raises(SweepError, match="metric 'outcom' is not a column of the rows; did you mean 'outcome'"):
        tables.show_analysis(sweep, Console(), metric="outcom")


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="found no rows, expected a sweep, or Parquet or CSV rows"):
        tables.show_analysis(str(tmp_path), Console())


@pytest.mark.skipif(not (DATA / "paper").is_dir(), reason="the reference study's tables are not at ROBUSTPRUNE_DATA")
def test_the_p_values_of_the_reference_study_come_out_of_the_command_line() -> None:
    source = str(DATA / "paper" / "appendix_map.csv")
    command = [sys.executable, "-m", "sweeps", "analyze", source, "--metric", "map", "--design", "independent"]
    ran = subprocess.run(
        [*command, "--format", "csv"], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True
    )
    found = pd.read_csv(io.StringIO(ran.stdout))
    printed = pd.read_csv(DATA / "paper" / "pvalues_map.csv", index_col=0)
    fixed = {
        "DeepLIFT vs. HYDRA (Unstructured)": ("initializer", {"structure": "unstructured", "colour": "rgb"}),
        "DeepLIFT vs. HYDRA (Structured)": ("initializer", {"structure": "structured", "colour": "rgb"}),
        "Unstructured vs. Structured (DeepLIFT)": ("structure", {"initializer": "deeplift", "colour": "rgb"}),
        "Unstructured vs. Structured (HYDRA)": ("structure", {"initializer": "hydra", "colour": "rgb"}),
        "Greyscale vs Colour (Unstructured DeepLIFT)": (
            "colour",
            {"structure": "unstructured", "initializer": "deeplift"},
        ),
    }
    assert set(printed.index) == set(fixed)
    for name, (factor, levels) in fixed.items():
        lines = found[found["factor"] == factor]
        for column, level in levels.items():
            lines = lines[lines[column] == level]
        # Printed with three digits, cut off.
        np.testing.assert_allclose(lines["p_value"], printed.loc[name].to_numpy(), rtol=0.01)
        np.testing.assert_allclose(lines["ratio"], [float(ratio) for ratio in printed.columns])

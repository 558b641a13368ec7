"""`analyze` and `power` from the command line: what they print for people and programs, and what they refuse."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Ran, Sweeps, assert_refused

AXES = ["structure", "initializer", "colour", "seed", "ratio"]
CONTRASTS = (
    "factor,level_a,level_b,structure,initializer,colour,ratio,metric,design,n_a,n_b,mean_a,mean_b,sd_a,sd_b,"
    "difference,difference_low,difference_high,statistic,p_value,p_holm,mark,effect_size,effect_low,effect_high,test,"
    "note"
)
AGAINST = CONTRASTS.replace("ratio", "left")
TWO_WAY = (
    "effect,structure,initializer,colour,ratio,metric,design,n,statistic,df,df_error,p_value,p_holm,"
    "mark,partial_eta_squared,test,note"
)
EQUIVALENCE = (
    "factor,level_a,level_b,structure,initializer,colour,ratio,metric,design,margin_percent,n_a,n_b,mean_a,mean_b,"
    "sd_a,sd_b,difference_percent,low_percent,high_percent,p_value,p_holm,verdict,test,note"
)
POWER = (
    "factor,level_a,level_b,structure,initializer,colour,ratio,metric,design,alpha,target_power,n_a,n_b,mean_a,mean_b,"
    "sd,sd_low,sd_high,smallest_difference,difference,power,n_needed,n_low,n_high,note"
)

pytestmark = pytest.mark.filterwarnings("error")

Change = Callable[[pd.DataFrame], pd.DataFrame]


def detector_rows() -> pd.DataFrame:
    """Rows of two structures, two initializers, six seeds and two ratios, with times that are about equal."""
    grid = product(("structured", "unstructured"), ("deeplift", "hydra"), ("rgb",), range(6), (0.0, 0.9))
    rows = pd.DataFrame(grid, columns=AXES)
    rng = np.random.default_rng(0)
    rows["map"] = (
        0.4 - 0.3 * rows["ratio"] + 0.02 * rng.normal(size=len(rows)) + 0.03 * (rows["initializer"] == "hydra")
    )
    return rows.assign(
        inference_ms=20 + 0.1 * rng.normal(size=len(rows)), left=100 * (1 - rows["ratio"]) + rows["seed"]
    )


@pytest.fixture
def sweeps(sweeps: Sweeps) -> Sweeps:
    """The command line, without what it says of how it knows the axes of a file."""

    def run(*arguments: str) -> Ran:
        ran = sweeps(*arguments)
        said = [line for line in ran.errors.splitlines(keepends=True) if "taken for rows of the study" not in line]
        return ran._replace(errors="".join(said))

    return run


@pytest.fixture
def file(tmp_path: Path) -> str:
    detector_rows().to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    store = Store(str(tmp_path / "runs"))
    toy_rows.publish(store, toy_rows.load("grid.seed=[0, 1, 2]"))
    return store.describe("toy")


QUESTIONS = {
    "contrasts": (("analyze",), CONTRASTS, 8),
    "two-way": (("analyze", "--two-way", "initializer", "structure"), TWO_WAY, 6),
    "two-way with the ratio": (("analyze", "--two-way", "initializer", "ratio"), TWO_WAY, 6),
    "equivalence": (("analyze", "--equivalence", "5%"), EQUIVALENCE, 8),
    "against": (("analyze", "--against", "left"), AGAINST, 20),
    "power": (("power", "--difference", "5%"), POWER, 8),
    "power at one ratio": (("power", "--difference", "0.02", "--ratio", "9/10"), POWER, 4),
}


@pytest.mark.parametrize("design", ["paired", "independent"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_csv_and_json_have_the_same_documented_columns(question: str, design: str, file: str, sweeps: Sweeps) -> None:
    (command, *options), columns, lines = QUESTIONS[question]
    arguments = (command, file, *options, "--metric", "map", "--design", design)
    ran = sweeps(*arguments, "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.splitlines()[0] == columns
    table = pd.read_csv(io.StringIO(ran.output))
    assert len(table) == lines
    assert set(table["design"]) == {design}
    records = json.loads(sweeps(*arguments, "--format", "json").output, parse_constant=pytest.fail)
    assert ",".join(records[0]) == columns
    number = "p_value" if "p_value" in columns.split(",") else "sd"
    assert [record[number] for record in records] == pytest.approx(table[number].tolist())


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_number_that_is_missing_has_a_reason(question: str, sweeps: Sweeps, tmp_path: Path) -> None:
    rows = detector_rows()
    rows.loc[rows["initializer"] == "hydra", "map"] = 0.3
    rows.loc[rows["ratio"] == 0, "map"] = np.nan
    rows.loc[3, "map"] = np.inf
    rows[:-1].to_csv(tmp_path / "poor.csv", index=False)
    (command, *options), *_ = QUESTIONS[question]
    for design in ("paired", "independent"):
        arguments = (command, str(tmp_path / "poor.csv"), *options, "--metric", "map", "--design", design)
        ran = sweeps(*arguments, "--format", "json")
        assert (ran.status, ran.errors) == (0, "")
        records = json.loads(ran.output)
        assert records
        for record in records:
            if record["p_value" if command == "analyze" else "power"] is None:
                assert "not tested: " in record["note"] or "no standard deviation: " in record["note"]
        shown = sweeps(*arguments)
        assert (shown.status, shown.errors) == (0, "")
        assert "nan" not in shown.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("analyze",), ["structure: map, Welch's one-way ANOVA", "Holm", "deeplift vs hydra (structured · rgb)"]),
        (
            ("analyze", "--two-way", "initializer", "structure"),
            ["map: two-way ANOVA, Box", "initializer:structure", "1, 1", "η²p"],
        ),
        (
            ("analyze", "--two-way", "initializer", "structure", "--classical"),
            ["map: two-way ANOVA, type III", "initializer:structure", "1, 20", "η²p"],
        ),
        (("analyze", "--classical"), ["structure: map, one-way ANOVA"]),
        (
            ("analyze", "--against", "left"),
            ["structure: map, Welch", "initializer: map at equal left, Welch", "95% interval"],
        ),
        (
            ("analyze", "--two-way", "ratio", "structure", "--design", "paired"),
            ["map: repeated-measures two-way ANOVA, Greenhouse-Geisser", "ratio:structure", "hydra · rgb"],
        ),
        (
            ("analyze", "--metric", "inference_ms", "--equivalence", "5%"),
            ["inference_ms within ±5%, two one-sided Welch t tests", "equivalent", "-"],
        ),
        (("power", "--difference", "0.02"), ["map, independent", "wanted", "needed: seeds per level with power 0.8"]),
        (("power",), ["seen: the smallest difference that these seeds show with power 0.8 at p < 0.05"]),
    ],
)
def test_tables_for_people(options: tuple[str, ...], words: list[str], file: str, sweeps: Sweeps) -> None:
    command, *rest = options
    ran = sweeps(command, file, *(rest if "--metric" in rest else ["--metric", "map", *rest]))
    assert (ran.status, ran.errors) == (0, "")
    for word in words:
        assert word in ran.output
    assert max(map(len, ran.output.splitlines())) <= 120
    assert "…" not in ran.output


def test_a_sweep_is_asked_by_its_own_axes_and_paired(sweep: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", sweep, "--two-way", "shape", "dose", "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")
    found = pd.read_csv(io.StringIO(ran.output))
    assert set(found["effect"]) == {"shape", "dose", "shape:dose"}
    assert set(found["design"]) == {"paired"}
    found = pd.read_csv(io.StringIO(sweeps("power", sweep, "--ratio", "0.5", "--format", "csv").output))
    assert set(found["dose"]) == {0.5}


def test_equal_times_are_called_equivalent(file: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", file, "--metric", "inference_ms", "--equivalence", "5%", "--format", "csv")
    assert set(pd.read_csv(io.StringIO(ran.output))["verdict"]) == {"equivalent"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("analyze", "--equivalence", "5"), ["--equivalence: found '5', expected a percentage such as 5%"]),
        (("analyze", "--equivalence", "much%"), ["--equivalence: found 'much%', expected a number"]),
        (("analyze", "--equivalence", "500%"), ["rows.csv: margin: found 500%, expected a percentage"]),
        (("analyze", "--two-way", "structure", "iniializer"), ["is no factor; did you mean 'initializer'?"]),
        (("analyze", "--two-way", "structure", "seed"), ["'seed' is no factor"]),
        (("analyze", "--floor", "low"), ["--floor: found 'low', expected a number such as 0.02, or a percentage"]),
        (("analyze", "--floor", "-1"), ["rows.csv: floor: found -1, expected 0 or a number above"]),
        (
            ("analyze", "--against", "inference"),
            ["against 'inference' is not a column of the rows; did you mean 'infer"],
        ),
        (("analyze", "--against", "ratio"), ["against 'ratio' is a key column, expected one that was measured"]),
        (("analyze", "--against", "map"), ["against: found the metric 'map' itself, expected another column"]),
        (
            ("analyze", "--classical", "--design", "paired"),
            ["rows.csv: found --classical, which is of independent groups"],
        ),
        (("analyze", "--classical", "--two-way", "structure", "ratio"), ["'ratio' as a factor of the classical ANOVA"]),
        (("power", "--difference", "some"), ["--difference: found 'some', expected a number such as 0.02"]),
        (("power", "--difference", "-1"), ["difference: found -1, expected a number above 0"]),
        (("power", "--power", "1.5"), ["found alpha 0.05 and power 1.5"]),
        (("power", "--ratio", "0.8"), ["found no rows at ratio 0.8; there are 0, 0.9"]),
        (("power", "--metric", "mapp"), ["metric 'mapp' is not a column of the rows; did you mean 'map'?"]),
    ],
)
def test_a_wrong_question(arguments: tuple[str, ...], words: list[str], file: str, sweeps: Sweeps) -> None:
    command, *options = arguments
    metric = () if "--metric" in options else ("--metric", "map")
    assert_refused(sweeps(command, file, *metric, *options), *words)


def test_one_variance_for_all_where_it_is_asked_for(file: str, sweeps: Sweeps) -> None:
    for command in (("analyze",), ("analyze", "--equivalence", "5%"), ("power",)):
        arguments = (*command, file, "--metric", "map", "--format", "csv")
        welch, classical = (
            pd.read_csv(io.StringIO(sweeps(*arguments, option).output)) for option in ("--welch", "--classical")
        )
        pd.testing.assert_frame_equal(welch, pd.read_csv(io.StringIO(sweeps(*arguments).output)))
        number = "p_value" if "p_value" in welch else "smallest_difference"
        assert (welch[number] != classical[number]).all()


def test_a_star_needs_more_than_the_floor(file: str, sweeps: Sweeps) -> None:
    arguments = ("analyze", file, "--metric", "map", "--design", "paired", "--format", "csv")
    marks = {
        floor: set(pd.read_csv(io.StringIO(sweeps(*arguments, "--floor", floor).output))["mark"].dropna())
        for floor in ("0", "99%", "0.5")
    }
    assert marks["0"] == {"*"}
    assert marks["0.5"] == set()


def test_two_questions_at_once(file: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", file, "--metric", "map", "--two-way", "structure", "initializer", "--equivalence", "5%")
    assert ran.status == 2
    assert "--two-way and --equivalence are different analyses" in ran.errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:0], ["found no rows"]),
        (lambda rows: pd.concat([rows, rows[:1]]), ["1 of 49 rows repeat the key of another"]),
        (lambda rows: rows.drop(columns="colour"), ["found the axes of no study among its columns"]),
        (lambda rows: rows.assign(map="high"), ["metric 'map' holds 'high', expected numbers"]),
        (lambda rows: rows.assign(map=None), ["metric 'map' holds no value"]),
        (lambda rows: rows.assign(ratio="half"), ["key column 'ratio' holds 'half', expected numbers"]),
    ],
)
@pytest.mark.parametrize("question", QUESTIONS)
def test_unfit_rows(question: str, change: Change, words: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    change(detector_rows()).to_parquet(tmp_path / "rows.parquet")
    (command, *options), *_ = QUESTIONS[question]
    assert_refused(sweeps(command, str(tmp_path / "rows.parquet"), *options, "--metric", "map"), *words)


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_level_of_everything_is_said_and_no_error(question: str, sweeps: Sweeps, tmp_path: Path) -> None:
    rows = detector_rows().query("structure == 'structured' and initializer == 'hydra'")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (command, *options), columns, _ = QUESTIONS[question]
    ran = sweeps(command, str(tmp_path / "rows.csv"), *options, "--metric", "map", "--format", "csv")
    assert (ran.status, ran.output) == (0, f"{columns}\n")
    assert ran.errors.startswith("nothing to compare")


def test_levels_that_are_numbers_or_markup(sweeps: Sweeps, tmp_path: Path) -> None:
    names: dict[str, Any] = {"initializer": {"hydra": "[red]"}, "structure": {"structured": 1, "unstructured": 2}}
    rows = detector_rows().replace(names)
    rows.astype({"structure": int}).to_csv(tmp_path / "rows.csv", index=False)
    for (command, *options), *_ in QUESTIONS.values():
        ran = sweeps(command, str(tmp_path / "rows.csv"), *options, "--metric", "map")
        assert (ran.status, ran.errors) == (0, "")
        assert "map" in ran.output
    assert "[red]" in sweeps("power", str(tmp_path / "rows.csv"), "--metric", "map").output


@pytest.mark.parametrize("command", ["analyze", "power"])
def test_help_names_the_columns_and_shows_examples(command: str, sweeps: Sweeps) -> None:
    shown = sweeps(command, "--help").output
    assert f"sweeps {command} runs/demo" in shown
    for column in ("verdict", "partial_eta_squared") if command == "analyze" else ("smallest_difference", "n_needed"):
        assert column in shown

"""What rows have kept is measured again as a sweep of its own: what is asked for, planned, read, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.results.measuring import asked_of
from sweeps.spec import Spec, recorded
from sweeps.spec.axes.varied import study_at
from sweeps.storage import Store, rows
from sweeps.study import Progress
from tests.support import toy_measured, toy_rows
from tests.support.command_line import Sweeps, assert_refused
from tests.support.toy_study import ROWS, SPEC

NO_PROGRESS: Progress = None  # type: ignore[assignment]


@pytest.fixture
def kept(store: Store) -> str:
    return toy_measured.publish(store)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, for tests that leave it as it is."""
    return toy_measured.publish(Store(str(tmp_path_factory.mktemp("untouched") / "runs")))


def published(asked: Spec, store: Store) -> None:
    """Measure in this process, and publish as a worker does."""
    store.write_spec(asked.name, asked.to_yaml())
    recorded.write(asked, store)
    study = asked.study
    for row in toy_rows.all_rows(plan.make(asked, store)):
        own, cell = study_at(study, row.cell)
        values = own.measure(cell, NO_PROGRESS)  # type: ignore[attr-defined]
        rows.check_returned(values, study)
        provenance = {name: kind(0) for name, kind in rows.PROVENANCE.items()} | {"row_key": str(row.key)}
        store.publish_row(asked.name, str(row.key), rows.table({**row.cell, **values, **provenance}, study))


def test_every_row_is_measured_under_all_that_is_asked_for(untouched: str) -> None:
    asked = asked_of(untouched, ["cup", "{name: spoon, size: 1/4, label: small}", "spoon"])
    assert asked.remarks == [
        "vessel cup: cup, depth 1",
        "vessel small: spoon, size 0.25, silver False",
        "vessel spoon: spoon, size 3, silver False",
    ]
    assert asked.spec.name == "toy-measured"
    assert [cell["vessel"] for cell in asked.spec.cells].count("small") == ROWS
    found = plan.make(asked.spec, asked.store)
    assert found.rows == found.missing == 3 * ROWS
    assert not found.checkpoints_to_train()
    (cell,) = (
        each
        for each in asked.spec.cells
        if (each["vessel"], each["method"], each["shape"], each["seed"], each["dose"])
        == ("small", "slow", "flat", 1, 0.5)
    )
    measured = asked.spec.study.measure(cell, NO_PROGRESS)  # type: ignore[attr-defined]
    (row,) = (
        load_results(untouched)
        .query("method == 'slow' and shape == 'flat' and seed == 1 and dose == 0.5")
        .to_dict("records")
    )
    assert measured.pop("measure_s") >= 0
    assert json.loads(measured.pop("vessel_settings")) == {"name": "spoon", "size": 0.25, "silver": False}
    assert measured == {
        "outcome": 2.0,
        "source_row_key": row["row_key"],
        "source_files_key": row["files_key"],
    }


def test_what_is_not_said_is_as_in_what_rows_were_measured_under(untouched: str) -> None:
    given = ["{silver: true}", "{name: spoon, size: 2}", "cup"]
    under = asked_of(untouched, given).spec.settings.model_dump()["under"]
    assert under == {
        "spoon silver=True": {"name": "spoon", "size": 3.0, "silver": True},
        "spoon size=2": {"name": "spoon", "size": 2.0, "silver": False},
        "cup": {"name": "cup", "depth": 1},
    }


def test_further_ones_are_added_and_no_key_changes(kept: str, store: Store) -> None:
    first = asked_of(kept, ["cup"], where="dose == 0.5").spec
    store.write_spec(first.name, first.to_yaml())
    keys = {str(row.key) for row in toy_rows.all_rows(plan.make(first, store))}
    both = asked_of(kept, ["spoon"], where="dose == 1 and seed == 0").spec
    later = {str(row.key) for row in toy_rows.all_rows(plan.make(both, store))}
    assert (len(keys), len(later)) == (8, 12)
    assert keys < later
    store.write_spec(both.name, both.to_yaml())
    again = asked_of(kept, []).spec
    assert again.to_yaml() == both.to_yaml()


def test_a_row_that_is_made_anew_is_measured_anew(kept: str, store: Store) -> None:
    asked = asked_of(kept, ["cup"], where="dose == 1 and seed == 0 and shape == 'flat' and method == 'slow'")
    published(asked.spec, store)
    row = load_results(kept).query("dose == 1 and seed == 0 and shape == 'flat' and method == 'slow'").iloc[0]
    table = store.read_row("toy", row["row_key"])
    assert table is not None
    anew = table.set_column(
        table.column_names.index("files_key"), table.schema.field("files_key"), [[f"{row['row_key']}-89abcdef"]]
    )
    store.publish_row("toy", row["row_key"], anew, replace=True)
    store.publish_file("toy", "souvenirs", f"{row['row_key']}-89abcdef", ".txt", b"7")
    again = asked_of(kept, [])
    assert "computed from other inputs" in plan.make(again.spec, store).conflict("here")


FIELDS = """\
  offset: [0, 10]
  saucer: [null, {label: deep, name: cup, depth: 4}, {name: cup, depth: 2}]
"""


def test_each_row_is_measured_with_the_settings_that_it_was_made_with(store: Store) -> None:
    location = toy_measured.publish(store, toy_measured.SPEC.replace("grid:\n", "grid:\n" + FIELDS))
    asked = asked_of(location, ["cup"])
    made = plan.make(asked.spec, store)
    there = load_results(location)
    # The quick ones have no saucer; each row is measured once.
    assert there["saucer"].isna().any()
    assert made.rows == len(there) == made.missing
    published(asked.spec, store)
    measured = load_results(f"{location}-measured")
    assert sorted(measured["source_row_key"]) == sorted(there["row_key"])
    both = measured.merge(there, left_on="source_row_key", right_on="row_key", suffixes=("", "_was"))
    saucer = both["saucer"].map({"deep": 4, "cup, depth=2": 2, "name=cup, depth=2": 2}).fillna(0)
    expected = both["dose_was"] / 100 + both["offset"].astype(float) + 1000 * saucer
    assert list(both["outcome"]) == pytest.approx(list(expected))
    assert {0, 2, 4} == set(saucer)
    again = asked_of(location, [])
    assert again.spec.to_yaml() == asked.spec.to_yaml()
    assert plan.make(again.spec, store).missing == 0
    few = asked_of(location, ["spoon"], where="offset == 10 and saucer == 'deep'", name="few").spec
    assert plan.make(few, store).rows == 12


def test_measurements_are_read_as_any_rows_are(kept: str, store: Store, sweeps: Sweeps) -> None:
    before = sorted(Path(kept, "results").iterdir())
    published(asked_of(kept, ["cup", "spoon"]).spec, store)
    assert sorted(Path(kept, "results").iterdir()) == before
    frame = load_results(kept, measured=True)
    assert len(frame) == 2 * ROWS
    pd.testing.assert_frame_equal(frame, load_results(f"{kept}-measured"))
    plain = pd.read_parquet(f"{kept}-measured/results")
    assert set(plain["row_key"]) == set(frame["row_key"])
    assert frame.groupby("vessel")["outcome"].max().to_dict() == {"cup": 0.01, "spoon": 1 / 3}
    told = sweeps("results", kept, "--measured", "--format", "csv")
    assert told.output.splitlines()[0].startswith("shape,method,seed,dose,vessel,outcome,")
    analysed = sweeps("analyze", f"{kept}-measured", "--format", "json")
    assert {"vessel", "method", "shape"} == {one["factor"] for one in json.loads(analysed.output)}


def test_rows_without_files_are_left_out(store: Store) -> None:
    asked = asked_of(toy_measured.publish(store, without=3), ["cup"])
    assert len(asked.spec.cells) == ROWS - 3
    assert asked.remarks[0] == f"3 of {ROWS} rows have kept no files, and are not measured"


def test_a_storage_that_was_moved_is_measured_where_it_is(kept: str, store: Store, tmp_path: Path) -> None:
    published(asked_of(kept, ["cup"]).spec, store)
    Path(store.location).rename(tmp_path / "elsewhere")
    asked = asked_of(f"{tmp_path}/elsewhere/toy", ["spoon"])
    found = plan.make(asked.spec, asked.store)
    assert (len(found.finished), found.missing) == (ROWS, ROWS)


def test_there_may_be_no_measurements(untouched: str) -> None:
    with pytest.raises(StorageError, match="found no measurements of it, expected those of `sweeps measure"):
        load_results(untouched, measured=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attack", "spon"], ["--attack 'spon': name: found 'spon', expected one of", "did you mean 'spoon'?"]),
        (
            ["--attack", "{name: cup, dept: 3}"],
            ["--attack '{name: cup, dept: 3}': dept: unknown key; did you mean 'depth'?"],
        ),
        (["--attack", "{name: cup, size: 3}"], ["size: cup has no such setting"]),
        (["--attack", "{size: -1}"], ["size: found -1, expected more than 0"]),
        (["--attack", "{size: 1/0}"], ["size: found '1/0', expected a number: nothing can be divided by 0"]),
        (["--attack", "[cup]"], ["--attack '[cup]': expected a name, or a mapping of settings such as"]),
        (["--attack", "{label: 3}"], ["label: found 3, expected text"]),
        (["--attack", "{: "], ["--attack '{: '", "not valid YAML"]),
        (["--attack", "{size: 1, label: a}", "--attack", "{size: 2, label: a}"], ["found the label 'a' a second time"]),
        (["--attack", "cup", "--where", "dose == 7"], [f"--where 'dose == 7': found none of {ROWS} rows"]),
        (
            ["--attack", "cup", "--where", "dosis == 1"],
            ["--where 'dosis == 1'", "expected a condition on columns of rows"],
        ),
        (
            ["--attack", "cup", "--name", "toy"],
            ["toy: found a sweep of the study", "--name gives measurements another name"],
        ),
        ([], ["--attack: found none, expected at least one"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    untouched: str, sweeps: Sweeps, options: list[str], words: list[str]
) -> None:
    assert_refused(sweeps("measure", untouched, *options), *words)
    assert not Path(f"{untouched}-measured").exists()


def test_a_label_stays_with_what_it_was_given_to(kept: str, store: Store, sweeps: Sweeps) -> None:
    asked = asked_of(kept, ["{size: 1, label: mine}"]).spec
    store.write_spec(asked.name, asked.to_yaml())
    refused = sweeps("measure", kept, "--attack", "{size: 2, label: mine}")
    assert_refused(refused, "found the label 'mine' of spoon, size 2", "measured under spoon, size 1", "another one")
    assert_refused(sweeps("measure", f"{kept}-measured", "--attack", "cup"), "found measurements, expected the sweep")


def test_a_study_that_keeps_nothing_or_measures_nothing_says_so(store: Store, sweeps: Sweeps) -> None:
    nothing_kept = toy_measured.publish(store, toy_measured.SPEC.replace("souvenirs: true\n", ""))
    assert_refused(
        sweeps("measure", nothing_kept, "--attack", "cup"), "kept nothing to measure", "--set souvenirs=true"
    )
    other = toy_measured.publish(store, SPEC.replace("name: toy", "name: other") + "souvenirs: true\n")
    assert_refused(sweeps("measure", other, "--attack", "cup"), "which measures nothing again that its rows have kept")
    gone = toy_measured.publish(store, toy_measured.SPEC.replace("name: toy", "name: gone"), without=ROWS)
    assert_refused(sweeps("measure", gone, "--attack", "cup"), f"found {ROWS} rows and no files that they have kept")

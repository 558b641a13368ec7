"""Sweeps whose spec is none any more are read from their rows, with a sentence on who wrote them; none adds to them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from sweeps import __version__, load_results
from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.storage import Store, rows
from tests.support import toy_rows
from tests.support.command_line import Sweeps

OLDER = ("sweeps_version", "code", "base_s")
"""Columns that rows of the first version did not have."""


def of_first_version(values: dict[str, Any], table: pa.Table) -> pa.Table:
    return table.drop_columns([*OLDER]).replace_schema_metadata({b"sweeps.axes": b"shape,method,seed,dose"})


@pytest.fixture
def old(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return where a sweep is whose rows are of the first version, and whose study has renamed an axis since."""
    loaded, make = toy_rows.load(), rows.table
    with monkeypatch.context() as patch:
        patch.setattr(rows, "table", lambda values, study: of_first_version(values, make(values, study)))
        toy_rows.publish(store, loaded, schema_version=1)
    toy_rows.fail(store, loaded, toy_rows.all_rows(plan.make(loaded, store))[:1])
    store.write_spec("toy", loaded.to_yaml().replace("  dose:", "  drops:"))
    return store.describe("toy")


SENTENCE = (
    "written by version 0.1.0 (schema 1), whose axes were shape, method, seed, dose; "
    "this version reads them but does not add to them"
)


@pytest.mark.parametrize("command", [["results"], ["analyze", "--metric", "outcome"], ["status"]])
def test_a_sweep_of_the_first_version_is_read_with_a_sentence(old: str, command: list[str], sweeps: Sweeps) -> None:
    ran = sweeps(command[0], old, *command[1:])
    assert ran.status == (1 if command[0] == "status" else 0)
    said = (ran.output if command[0] == "status" else ran.errors).replace("\n", " ")
    assert SENTENCE in said
    assert "grid.drops: unknown key" in said


def test_its_failures_are_read_too(old: str, sweeps: Sweeps) -> None:
    ran = sweeps("failures", old)
    assert (ran.status, "ArithmeticError" in ran.output) == (0, True)


def test_its_baseline_is_no_row_to_compare(old: str, sweeps: Sweeps) -> None:
    printed = sweeps("analyze", old, "--metric", "outcome", "--format", "csv").output
    assert "none" not in printed
    assert printed.count("\n") > 1


def test_rows_say_which_version_wrote_them(store: Store) -> None:
    loaded = toy_rows.load()
    toy_rows.publish(store, loaded, sweeps_version=__version__)
    store.write_spec("toy", loaded.to_yaml().replace("  dose:", "  drops:"))
    assert set(load_results(store.describe("toy"))["sweeps_version"]) == {__version__}


def test_nothing_is_added_to_rows_of_other_axes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = toy_rows.load()
    monkeypatch.setattr(Store, "axes_of_rows", lambda store, sweep: ["shape", "method", "seed", "drops"])
    with pytest.raises(StorageError, match="found rows whose axes are shape, method, seed, drops, written by another"):
        plan.make(loaded, store)


def test_rows_of_the_first_version_are_added_to_where_the_axes_are_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, make = toy_rows.load(), rows.table
    wanted = toy_rows.all_rows(plan.make(loaded, store))
    with monkeypatch.context() as patch:
        patch.setattr(rows, "table", lambda values, study: of_first_version(values, make(values, study)))
        toy_rows.publish(store, loaded, wanted[:5])
    toy_rows.publish(store, loaded, wanted[5:])
    found = load_results(store.describe("toy"))
    assert len(found) == len(wanted)
    assert found["base_s"].isna().sum() == 5
    assert list(plan.make(loaded, store).code.sentences()) == []

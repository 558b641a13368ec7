"""A sweep of draws: comparisons are of means over shared draws, rankings of the draws themselves."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

import sweeps
from sweeps.errors import SweepError
from sweeps.planning import plan
from sweeps.reporting import reports
from sweeps.results.doubts import trusted, trusted_over_draws
from sweeps.spec import Spec
from sweeps.statistics.responses.draws import draw_means, over_draws
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from tests.support import toy_rows
from tests.sweeps.conftest import text

ROLES = Roles(("method", "rate", "seed", "dose"), "seed", "dose", sampled=("rate",))
SAMPLE = ["sample.draws=12", "sample.space.offset={uniform: [0, 1]}"]


@pytest.fixture
def drawn(store: Store) -> Spec:
    """Return a spec with draws, all of whose rows are published, and whose outcome grows with what is drawn."""
    loaded = toy_rows.load(*SAMPLE)
    rows = toy_rows.all_rows(plan.make(loaded, store))
    for row in rows:
        outcome = toy_rows.outcome(row.cell) + float(row.cell["offset"] or 0)
        toy_rows.publish(store, loaded, [row], outcome=outcome)
    return loaded


def frame(*lines: tuple[str, float, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["method", "rate", "seed", "dose", "ap"])


def test_means_are_over_the_draws_that_all_have() -> None:
    whole = [("a", 0.1, 0, 0.5, 1.0), ("a", 0.2, 0, 0.5, 3.0), ("b", 0.1, 0, 0.5, 5.0), ("b", 0.2, 0, 0.5, 9.0)]
    lonely = ("a", 0.3, 0, 0.5, 100.0)
    found = over_draws(frame(*whole, lonely), ROLES)
    assert dict(zip(found["method"], found["ap"], strict=True)) == {"a": 2.0, "b": 7.0}
    assert set(found["rate"]) == {"mean of 2 draws"}


def test_a_draw_that_one_lacks_a_value_of_is_in_no_mean() -> None:
    """Else methods would differ since one of them has not been measured where all are good."""
    nan = float("nan")
    data = frame(("a", 0.1, 0, 0.5, 1.0), ("a", 0.2, 0, 0.5, 9.0), ("b", 0.1, 0, 0.5, 1.0), ("b", 0.2, 0, 0.5, nan))
    data = data.assign(of_b=[nan, nan, 2.0, 4.0])
    found = over_draws(data, ROLES).set_index("method")
    assert found["ap"].to_dict() == {"a": 1.0, "b": 1.0}
    assert found.loc["b", "of_b"] == 3.0


def test_means_are_named_by_all_their_rows() -> None:
    """Those that share the first draw's row alone are compared."""
    data = frame(("a", 0.1, 0, 0.5, 1.0), ("a", 0.2, 0, 0.5, 3.0), ("b", 0.1, 0, 0.5, 1.0), ("b", 0.2, 0, 0.5, 4.0))
    roles = replace(ROLES, identity="row_key")
    found = over_draws(data.assign(row_key=["x", "y", "x", "z"]), roles)
    assert found["row_key"].tolist() == ["x y", "x z"]


def test_a_value_in_doubt_is_in_no_mean() -> None:
    data = frame(("a", 0.1, 0, 0.5, 100.0), ("a", 0.2, 0, 0.5, 3.0), ("b", 0.1, 0, 0.5, 5.0), ("b", 0.2, 0, 0.5, 9.0))
    for uneasy in ([True, False], [False, True]):
        found = trusted_over_draws(data.assign(uneasy=[*uneasy, False, False]), {"ap": "uneasy"}, ROLES)
        again = trusted(found, {"ap": "uneasy"}).set_index("method")["ap"].to_dict()
        assert again == ({"a": 3.0, "b": 9.0} if uneasy[0] else {"a": 100.0, "b": 5.0})


def test_replicates_have_draws_of_their_own() -> None:
    found = over_draws(frame(("a", 0.1, 0, 0.5, 1.0), ("a", 0.2, 1, 0.5, 3.0)), ROLES)
    assert found["ap"].tolist() == [1.0, 3.0]


def test_contrasts_are_of_means(store: Store, drawn: Spec) -> None:
    found = sweeps.analyze(store.describe("toy"), floor="0%").frame
    rows = sweeps.load_results(store.describe("toy"))
    means = rows[rows["method"] != "none"].groupby(["method", "shape", "dose", "seed"])["outcome"].mean()
    line = found[(found["factor"] == "method") & (found["dose"] == 1.0)].iloc[0]
    assert line["mean_a"] == pytest.approx(means[line["level_a"], line["shape"], 1.0].mean())
    assert "offset" not in set(found["factor"])
    assert line["n_a"] == 2


def test_the_draws_are_ranked(store: Store, drawn: Spec) -> None:
    found = sweeps.analyze(store.describe("toy"), draws=True)
    assert found.frame["matters"].all()
    assert "what matters among what was drawn" in str(found)
    assert "the best draws" in str(found)


def test_plain_rows_know_what_was_drawn(store: Store, drawn: Spec) -> None:
    location = store.describe("toy/results")
    if "://" in location:
        pytest.skip("a folder is read as a file")
    found = sweeps.analyze(location, metric="outcome").frame
    assert set(found["factor"]) == {"method", "shape"}


def test_the_page_has_the_draws(store: Store, drawn: Spec, console: Console) -> None:
    reports.write_report(store.describe("toy"), console)
    page = store.files.read("toy/report/report.html")
    assert page is not None
    for said in (b"What matters, at", b"The best draws, at", b"draws, means over seeds"):
        assert said in page
    assert "outcome_of_draws_at_0.5" in text(console)


def test_a_sweep_without_a_sample_has_none(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    with pytest.raises(SweepError, match="found no field that was drawn"):
        sweeps.analyze(store.describe("toy"), draws=True)


def test_along_what_was_drawn_there_is_no_slope_but_draws(store: Store, drawn: Spec) -> None:
    location = store.describe("toy")
    with pytest.raises(
        SweepError, match="--along: found 'offset', expected an axis of numbers: dose; what a field does"
    ):
        sweeps.analyze(location, slope=True, along="offset")


def test_a_field_of_the_grid_has_a_slope(store: Store) -> None:
    loaded = toy_rows.load("grid.offset=[0, 1, 3]")
    for row in toy_rows.all_rows(plan.make(loaded, store)):
        seed = float(row.cell["seed"])
        toy_rows.publish(store, loaded, [row], outcome=float(row.cell["offset"] or 0) * (2 + 0.1 * seed))
    found = sweeps.analyze(store.describe("toy"), slope=True, along="offset").frame
    assert found["slope"].tolist() == pytest.approx([2.05] * len(found))
    assert len(found) == 12


def test_a_draw_with_fewer_seeds_is_not_worse_for_that() -> None:
    """As after halving: seeds differ by much more than draws, and only the best draw has the second one."""
    lines = [("a", 0.1, 0, 0.5, 1.0), ("a", 0.2, 0, 0.5, 2.0), ("a", 0.3, 0, 0.5, 3.0), ("a", 0.3, 1, 0.5, 103.0)]
    found = draw_means(frame(*lines), metric="ap", fields=["rate"], replicate="seed")
    assert found["rate"].tolist() == [0.1, 0.2, 0.3]
    assert (found["ap"] - found["ap"].iloc[0]).tolist() == pytest.approx([0.0, 1.0, 2.0])
    same = draw_means(frame(*lines[:3]), metric="ap", fields=["rate"], replicate="seed")
    assert same["ap"].tolist() == [1.0, 2.0, 3.0]


def test_some_of_the_rows_are_asked_for(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    location = store.describe("toy")
    found = sweeps.analyze(location, where="method == 'slow' and dose > 0").frame
    assert set(found["factor"]) == {"shape"}
    assert set(found["dose"]) == {0.5, 1.0}
    for where, said in (
        ("dose", "expected a condition"),
        ("dose > 9", "found none of"),
        ("doze > 1", "--where 'doze > 1'"),
    ):
        with pytest.raises(SweepError, match=said):
            sweeps.analyze(location, where=where)


def test_a_figure_has_a_panel_for_each_level(store: Store, console: Console) -> None:
    toy_rows.publish(store, toy_rows.load())
    location = store.describe("toy")
    reports.write_report(location, console, by="shape")
    assert b"a panel for each shape" in store.files.read("toy/report/report.html")
    with pytest.raises(SweepError, match="--by: found 'seed', expected one of shape, method"):
        reports.write_report(location, console, by="seed")


def test_curves_that_run_along_a_field_are_drawn_once(store: Store, console: Console) -> None:
    loaded = toy_rows.load("grid.offset=[0, 1, 3]")
    for row in toy_rows.all_rows(plan.make(loaded, store)):
        toy_rows.publish(store, loaded, [row], outcome=float(row.cell["offset"] or 0) + float(row.cell["seed"]))
    for along, said in (("dose", True), ("offset", False)):
        reports.write_report(store.describe("toy"), console, along=along)
        assert (b"What settings do" in store.files.read("toy/report/report.html")) == said

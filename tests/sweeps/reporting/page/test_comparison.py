import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeps.reporting.page.sections.comparison import compare, comparison_html, costs_html, origins_html, settings_html
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.roles import Roles

HOSTILE = "<script>alert('a')</script> & $$title"
AXES = ("method", "seed", "sparsity")
ROLES = Roles(AXES, "seed", "sparsity")

pytestmark = pytest.mark.filterwarnings("error")


def sweep(shift: float, *, seeds: range = range(4), methods: tuple[str, ...] = ("l1", HOSTILE)) -> pd.DataFrame:
    rows = pd.DataFrame(product(methods, seeds, (0.0, 0.5)), columns=list(AXES))
    unlike = 0.01 * ((3 * rows["seed"] + rows.index) % 5)
    return rows.assign(
        accuracy=0.6 + shift * (1 + rows["seed"]) - rows["sparsity"] * 0.2 + unlike * (1 + shift), sweep="x"
    )


def test_the_sweep_is_one_more_factor_of_the_same_contrasts() -> None:
    a, b = sweep(0), sweep(0.03)
    tests = compare(a, b, names=("a", "b"), metric="accuracy", roles=ROLES)
    as_factor = pd.concat([a.assign(sweep="a"), b.assign(sweep="b")])
    roles = Roles(("sweep", *AXES), "seed", "sparsity")
    expected = contrasts(as_factor, metric="accuracy", roles=roles).query("factor == 'sweep'")
    of_both = [
        "level_a",
        "level_b",
        "sparsity",
        "design",
        "mean_a",
        "mean_b",
        "p_value",
        "p_holm",
        "effect_size",
        "note",
    ]
    assert list(tests["configuration"]) == list(expected["method"])
    pd.testing.assert_frame_equal(tests[of_both], expected[of_both].reset_index(drop=True))


@pytest.mark.parametrize(
    ("seeds", "design", "n"),
    [(range(2, 6), "paired", 2), (range(3, 7), "independent", 4), (range(9, 13), "independent", 4)],
)
def test_seeds_are_blocks_where_both_have_some(seeds: range, design: str, n: int) -> None:
    tests = compare(sweep(0), sweep(0.1, seeds=seeds), names=("a", "b"), metric="accuracy", roles=ROLES)
    assert set(tests["design"]) == {design}
    assert set(tests["n_a"]) == {n}


def test_configurations_of_one_sweep_alone_are_left_out() -> None:
    tests = compare(sweep(0), sweep(0.1, methods=("l1", "l2")), names=("a", "b"), metric="accuracy", roles=ROLES)
    assert set(tests["configuration"]) == {"l1"}


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a"), ("first", HOSTILE)])
def test_a_difference_is_of_the_second_from_the_first_whatever_they_are_called(
    names: tuple[str, str], tmp_path: Path
) -> None:
    rows = dict(zip(names, (sweep(0, methods=("l1",)), sweep(0.1, methods=("l1",))), strict=True))
    html, files = comparison_html(tmp_path, rows, stem="compared", metric="accuracy", label=HOSTILE, roles=ROLES)
    gain = (rows[names[1]]["accuracy"] - rows[names[0]]["accuracy"]).groupby(rows[names[0]]["sparsity"]).mean()
    assert all(f"+{each:.3f}" in html for each in gain)
    assert "<script>" not in html
    assert [file.name for file in files] == ["compared_accuracy.png", "compared_accuracy.svg"]


def test_the_first_is_compared_with_sweeps_that_share_nothing_with_each_other(tmp_path: Path) -> None:
    rows = {"a": sweep(0, methods=("l1", "l2")), "b": sweep(0.1, methods=("l1",)), "c": sweep(0.2, methods=("l2",))}
    html, files = comparison_html(tmp_path, rows, stem="compared", metric="accuracy", label="Accuracy", roles=ROLES)
    assert files
    assert "b against a: " in html
    assert "c against a: " in html


@pytest.mark.parametrize("lacking", ["a", "b", "ab"])
def test_a_sweep_without_values_is_left_out_and_that_is_said(lacking: str, tmp_path: Path) -> None:
    rows = {name: sweep(0) for name in "abc"}
    for name in lacking:
        rows[name] = rows[name].assign(accuracy=np.nan)
    html, files = comparison_html(tmp_path, rows, stem="compared", metric="accuracy", label="Accuracy", roles=ROLES)
    for name in "abc":
        assert (f"<p>{name} has no values of Accuracy.</p>" in html) == (name in lacking)
    assert bool(files) == (lacking != "ab")
    assert ("c against a: " in html) == (lacking == "b")
    assert "b against a: " not in html


def test_what_differs_is_told_and_nothing_else() -> None:
    html = settings_html({"finetune.epochs": [1, 2], "attack": [None, HOSTILE]}, ["a", HOSTILE])
    assert ">1</td>" in html.replace(' data-value="1"', "")
    assert "<script>" not in html
    assert settings_html({}, ["a", "b"]) == "<p>All settings are the same.</p>"
    rows = {name: sweep(0).assign(device=device, host="same") for name, device in (("a", "cpu"), ("b", HOSTILE))}
    html = origins_html(rows)
    assert "device" in html
    assert "host" not in html
    assert "<script>" not in html


def test_hours_of_unlike_devices_are_not_added() -> None:
    stages = pd.DataFrame({"device": ["cpu", "cpu", "GPU"], "stage": ["train", "score", "score"], "times": 1})
    html = costs_html({"a": stages.assign(seconds=[7200.0, 3600.0, 18000.0], alone=0.0)})
    assert re.findall(r"all</th><td[^>]*>(\w+)</td><td[^>]*>(\d+)</td>", html) == [("cpu", "3"), ("GPU", "5")]


def test_hours_of_a_stage_stand_beside_each_other() -> None:
    stages = {"device": ["cpu", "cpu"], "stage": ["train", HOSTILE], "times": 1, "alone": 0.0}
    costs = {name: pd.DataFrame({**stages, "seconds": [hours * 3600, 1800]}) for name, hours in (("b", 2), ("a", 3))}
    html = costs_html(costs)
    assert html.index(">b<") < html.index(">a<")
    for hours in ("2", "3", "0.5", "2.5", "3.5"):
        assert f">{hours}</td>" in html
    assert "<script>" not in html

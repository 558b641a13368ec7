import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from sweeps.reporting.summary import (
    contrast_views,
    counts,
    format_p,
    mean_table,
    mean_view,
    notes,
    starred,
    unpruned_means,
)
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.marks import Floor
from sweeps.statistics.roles import Roles
from tests.support.roles import ROLES

RATIOS = (0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99)
CONFIGURATIONS = (
    ("unstructured", "hydra", "rgb"),
    ("unstructured", "deeplift", "rgb"),
    ("structured", "hydra", "rgb"),
    ("structured", "deeplift", "rgb"),
    ("unstructured", "deeplift", "greyscale"),
)
AXES = ("structure", "initializer", "colour", "seed", "ratio")

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows() -> pd.DataFrame:
    """A full grid; the seeds are 0.01 apart, hydra is 0.02 (and 0.001 a seed) above deeplift."""
    return grid(seeds=3)


def grid(*, seeds: int) -> pd.DataFrame:
    keys = [(*levels, seed, ratio) for levels in CONFIGURATIONS for seed in range(seeds) for ratio in RATIOS]
    rows = pd.DataFrame(keys, columns=list(AXES))
    hydra = rows["initializer"] == "hydra"
    rows["map"] = 0.4 * (1 - rows["ratio"]) + 0.01 * rows["seed"] + hydra * (0.02 + 0.001 * rows["seed"])
    return rows


@pytest.fixture
def baseline() -> pd.DataFrame:
    return pd.DataFrame([("none", "none", "rgb", 0, 0.0, 0.176)], columns=[*AXES, "map"])


def cell(table: pd.DataFrame, configuration: str, ratio: float) -> object:
    return table[ratio].to_dict()[configuration]


def printed(view: Table, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get().splitlines()


def test_means_are_a_line_per_configuration_and_a_column_per_ratio(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    table = mean_table(rows, baseline, metric="map", roles=ROLES)
    assert table.shape == (6, 9)
    assert all(table.columns == pd.Index(RATIOS))
    # 0.4 · 0.5 + 0.01 (mean seed 1), and seeds 0.01 apart.
    assert cell(table, "structured · deeplift · rgb", 0.5) == "0.210 ± 0.010"
    assert table.iloc[-1].tolist() == ["0.176"] + ["-"] * 8
    assert table.index[-1] == "baseline · rgb"


def test_a_cell_with_fewer_runs_says_how_many_and_an_empty_one_is_a_dash(rows: pd.DataFrame) -> None:
    deeplift = (rows["structure"] == "structured") & (rows["initializer"] == "deeplift")
    rows = rows[~(deeplift & (rows["ratio"] == 0))]
    rows.loc[deeplift & (rows["ratio"] == 0.5) & (rows["seed"] == 2), "map"] = None
    table = mean_table(rows, pd.DataFrame(), metric="map", roles=ROLES)
    assert cell(table, "structured · deeplift · rgb", 0.5) == "0.205 ± 0.007 (n=2)"
    assert cell(table, "structured · deeplift · rgb", 0.0) == "-"
    assert table.index[0] == "structured · deeplift · rgb"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0371, "0.037"), (4.126, "4.13"), (119.34, "119.3"), (61_949_149.0, "61949149")]
)
def test_decimals_follow_the_largest_mean(value: float, text: str) -> None:
    rows = pd.DataFrame({"seed": [0, 0], "ratio": [0.0, 0.9], "metric": [max(value, 0.1), value]})
    table = mean_table(rows, pd.DataFrame(), metric="metric", roles=Roles(("seed", "ratio"), "seed", "ratio"))
    assert cell(table, "all", 0.9) == text


@pytest.mark.parametrize("width", [120, 100])
def test_tables_fit_and_no_number_is_cut(width: int, rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    views = [mean_view(mean_table(rows, baseline, metric="map", roles=ROLES), title="mAP", along="ratio")]
    views += contrast_views(contrasts(rows, metric="map", roles=ROLES), roles=ROLES)
    assert len(views) == 4
    for view in views:
        lines = printed(view, width)
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
        assert all(f"{ratio:g}" in "".join(lines[:4]).split() for ratio in RATIOS)


@pytest.mark.parametrize(("seeds", "mark"), [(3, "?"), (5, "*")])
def test_significance_is_a_mark_not_only_a_style_and_a_star_from_five_values_on(seeds: int, mark: str) -> None:
    tests = contrasts(grid(seeds=seeds), metric="map", floor=Floor(0), roles=ROLES)
    text = "\n".join(printed(contrast_views(tests, roles=ROLES)[1], 120))
    assert "initializer: map, repeated-measures one-way ANOVA" in text
    holm = next(line.split() for line in text.splitlines() if "Holm" in line.split())
    assert all(cell.endswith(mark) for cell in holm[holm.index("Holm") + 1 :])
    assert starred(0.049, "*") == "0.049*"
    assert starred(0.05, "") == "0.050"
    # Said of every test, it is said without places.
    lines = [line.strip() for line in text.splitlines()]
    assert ("fewer than 5 values: assumptions cannot be checked" in lines) == (seeds == 3)


def test_a_test_not_made_is_a_dash_with_its_reason_below(rows: pd.DataFrame) -> None:
    text = " ".join(
        " ".join(printed(contrast_views(contrasts(rows, metric="map", roles=ROLES), roles=ROLES)[0], 120)).split()
    )
    assert "not tested: the differences do not vary — structured vs unstructured (deeplift · rgb)" in text


def test_levels_are_not_read_as_markup(rows: pd.DataFrame) -> None:
    rows = rows.replace({"initializer": {"hydra": "[red]"}})
    assert "[red]" in "".join(printed(contrast_views(contrasts(rows, metric="map", roles=ROLES), roles=ROLES)[1], 120))
    table = mean_table(rows, pd.DataFrame(), metric="map", roles=ROLES)
    assert "[red]" in "".join(printed(mean_view(table, title="[bold]", along="ratio"), 120))


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.1034, "0.103"), (0.001, "0.001"), (3.7e-4, "4e-4"), (3.7e-11, "4e-11"), (float("nan"), "-")],
)
def test_p_values_are_short(p: float, text: str) -> None:
    assert format_p(p) == text


def test_what_models_were_before_pruning_is_a_line_where_they_share_it(rows: pd.DataFrame) -> None:
    """At ratio 0 scores and structures change nothing; colours do."""
    start = rows["ratio"] == 0
    rows.loc[start, "map"] = 0.4 + 0.01 * rows["seed"] - 0.2 * (rows["colour"] == "greyscale")
    found = unpruned_means(rows, metric="map", roles=ROLES)
    assert dict(found.to_numpy().tolist()) == {
        "unpruned · greyscale": pytest.approx(0.21),
        "unpruned · rgb": pytest.approx(0.41),
    }
    one = unpruned_means(rows[rows["colour"] == "rgb"], metric="map", roles=ROLES)
    assert one["configuration"].tolist() == ["unpruned"]
    # Where each has its own, its curve begins there, and lines would only hide them.
    own = rows.assign(map=rows["map"] + 0.001 * rows.groupby(["structure", "initializer", "colour"]).ngroup())
    assert unpruned_means(own, metric="map", roles=ROLES).empty
    nothing_pruned = Roles(ROLES.axes, "seed", "ratio")
    assert unpruned_means(rows, metric="map", roles=nothing_pruned).empty
    assert unpruned_means(rows[~start], metric="map", roles=ROLES).empty


def test_models_before_pruning_that_are_one_are_named_by_all_their_levels(rows: pd.DataFrame) -> None:
    rgb = rows[(rows["colour"] == "rgb") & (rows["structure"] == "unstructured") & (rows["ratio"] == 0)]
    one, other = (
        rgb[rgb["initializer"] == name].assign(map=0.4 + 0.01 * rgb["seed"]) for name in ("hydra", "deeplift")
    )
    third = one.assign(initializer="l1", map=0.1)
    found = unpruned_means(pd.concat([one, other, third]), metric="map", roles=ROLES)
    assert dict(found.to_numpy().tolist()) == {
        "unpruned · deeplift, hydra": pytest.approx(0.41),
        "unpruned · l1": pytest.approx(0.1),
    }


def test_models_before_pruning_are_compared_on_the_seeds_that_all_have(rows: pd.DataFrame) -> None:
    start = rows[(rows["ratio"] == 0) & (rows["colour"] == "rgb")]
    start = start.assign(map=0.4 + 0.01 * start["seed"])
    hydra = start["initializer"] == "hydra"
    found = unpruned_means(start[~(hydra & (start["seed"] == 2))], metric="map", roles=ROLES)
    assert found.to_numpy().tolist() == [["unpruned", pytest.approx(0.405)]]
    apart = start[(hydra & (start["seed"] == 0)) | (~hydra & (start["seed"] == 1))]
    assert unpruned_means(apart, metric="map", roles=ROLES).empty


def test_it_is_told_of_how_many_values_means_are(rows: pd.DataFrame) -> None:
    assert counts(rows, metric="map", roles=ROLES) == "n = 3 seeds"
    assert counts(rows[1:], metric="map", roles=ROLES) == "n = 2 to 3 seeds"
    assert counts(rows[rows["seed"] == 0], metric="map", roles=ROLES) == "n = 1 seed"
    assert counts(rows.assign(map=float("nan")), metric="map", roles=ROLES) == ""


def test_doubts_are_told_together_where_robust_tests_say_the_same_and_with_their_p_values() -> None:
    doubt = "differences not normal (Shapiro-Wilk p={}): Wilcoxon p={}, sign flips p={}"
    of = [doubt.format(0.01, 0.0312, 0.0156), doubt.format(0.002, 0.0312, 0.04), doubt.format(0.01, 0.0312, 0.0625)]
    lines = pd.DataFrame({"note": of, "p_value": 0.01}, index=pd.Index([0.5, 0.75, 0.9], name="ratio"))
    said = "differences not normal (Shapiro-Wilk): Wilcoxon p=0.031 and sign flips p="
    assert notes([("a vs b", lines)]) == [
        f"{said}0.016 to 0.040, uncorrected — a vs b at 0.5, 0.75",
        f"{said}0.062, uncorrected — a vs b at 0.9",
    ]

from itertools import pairwise, product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from sweeps.reporting.figures.curves import metric_against_ratio, save
from sweeps.statistics.roles import Roles

AXES = ("method", "seed", "sparsity")
ROLES = Roles(AXES, "seed", "sparsity", pruned="weights")
SPARSITIES = (0.0, 0.5, 0.9, 0.99)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows() -> pd.DataFrame:
    rows = pd.DataFrame(product(("l1", "random"), range(3), SPARSITIES), columns=list(AXES))
    rows["accuracy"] = 0.9 - 0.5 * rows["sparsity"] + 0.01 * rows["seed"] - 0.1 * (rows["method"] == "random")
    return rows


@pytest.fixture
def baseline() -> pd.DataFrame:
    return pd.DataFrame([("none", 0, 0.0, 0.3)], columns=[*AXES, "accuracy"])


def draw(rows: pd.DataFrame, baseline: pd.DataFrame) -> Figure:
    return metric_against_ratio(rows, baseline, metric="accuracy", label="accuracy (%)", roles=ROLES)


def curves(figure: Figure) -> list[ErrorbarContainer]:
    return [drawn for drawn in figure.axes[0].containers if isinstance(drawn, ErrorbarContainer)]


def test_curves_are_the_means_at_the_weights_kept(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    figure = draw(rows, baseline)
    means = rows.groupby(["method", "sparsity"])["accuracy"].mean()
    for name, curve in zip(("l1", "random"), curves(figure), strict=True):
        line = curve.lines[0]
        assert np.asarray(line.get_xdata()) == pytest.approx(1 - np.asarray(SPARSITIES))
        assert np.asarray(line.get_ydata()) == pytest.approx(means[name].to_numpy())


def test_every_run_is_a_dot_and_none_is_out_of_sight(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    plot = draw(rows, baseline).axes[0]
    dots = [line for line in plot.lines if line.get_alpha() is not None]
    heights = np.concatenate([np.asarray(line.get_ydata()) for line in dots])
    assert sorted(heights) == pytest.approx(sorted(rows["accuracy"]))
    low, high = plot.get_ylim()
    assert low < 0 < heights.min()
    assert heights.max() < high


def test_the_baseline_is_dashed_and_labelled(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    figure = draw(rows, baseline)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["l1", "random", "baseline"]
    level = [line for line in figure.axes[0].lines if np.all(np.asarray(line.get_ydata()) == 0.3)]
    assert len(level) == 1
    assert level[0].is_dashed()


def test_curves_differ_in_marker_and_line_not_only_in_colour(rows: pd.DataFrame) -> None:
    more = pd.concat([rows, rows.assign(method=rows["method"] + "-2")])
    lines = [curve.lines[0] for curve in curves(draw(more, pd.DataFrame()))]
    assert len({line.get_marker() for line in lines}) == 4
    assert len({str(line._dash_pattern) for line in lines}) == 4  # type: ignore[attr-defined]
    assert len({str(line.get_color()) for line in lines}) == 4


def test_a_single_ratio_as_while_a_sweep_begins(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    plot = draw(rows[rows["sparsity"] == 0], baseline).axes[0]
    left, right = plot.get_xlim()
    assert left > 1 > right


def test_neighbouring_ticks_do_not_overlap(rows: pd.DataFrame) -> None:
    ratios = (0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99)
    figure = draw(pd.concat([rows[:1].assign(sparsity=at) for at in ratios]), pd.DataFrame())
    figure.draw_without_rendering()
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["0", "25", "50", "65", "75", "85", "90", "95", "99"]
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 + 5 < right.x0 for left, right in pairwise(boxes))


def test_the_legend_lies_outside_the_data_and_inside_the_picture(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    rows = rows.assign(method=rows["method"] + " with a name that is much longer than others are")
    figure = draw(rows, baseline)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert not legend.overlaps(figure.axes[0].get_window_extent())
    assert figure.bbox.contains(legend.x0, legend.y0)
    assert figure.bbox.contains(legend.x1, legend.y1)


def test_everything_pruned_falls_back_to_a_linear_axis(rows: pd.DataFrame) -> None:
    assert draw(rows, pd.DataFrame()).axes[0].get_xscale() == "log"
    assert draw(rows.replace({"sparsity": {0.99: 1.0}}), pd.DataFrame()).axes[0].get_xscale() == "linear"


def test_values_that_are_missing_leave_gaps(rows: pd.DataFrame, tmp_path: Path) -> None:
    save(draw(rows.assign(accuracy=np.nan), pd.DataFrame()), tmp_path, "empty")
    one_seed = draw(rows[rows["seed"] == 0], pd.DataFrame())
    save(one_seed, tmp_path, "one")
    assert len(curves(one_seed)) == 2


def test_files_are_sound_and_the_same_every_time(rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path) -> None:
    png, svg = save(draw(rows, baseline), tmp_path / "new", "figure")
    assert [png.name, svg.name] == ["figure.png", "figure.svg"]
    with Image.open(png) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    again = save(draw(rows, baseline), tmp_path / "again", "figure")
    assert [file.read_bytes() for file in again] == [png.read_bytes(), svg.read_bytes()]


def test_ticks_stand_where_the_nearest_two_are_furthest_apart(rows: pd.DataFrame) -> None:
    even = pd.concat([rows[:1].assign(sparsity=at) for at in (0.05, 0.1, 0.2, 0.5, 0.9)])
    assert draw(even, pd.DataFrame()).axes[0].get_xscale() == "linear"
    late = pd.concat([rows[:1].assign(sparsity=at) for at in (0.5, 0.9, 0.95, 0.99)])
    assert draw(late, pd.DataFrame()).axes[0].get_xscale() == "log"


def test_levels_of_the_panel_axis_stand_side_by_side(rows: pd.DataFrame) -> None:
    robust = rows.assign(training="robust", accuracy=rows["accuracy"] - 0.2)
    both = pd.concat([rows.assign(training="plain"), robust[robust["method"] == "random"]])
    baseline = pd.DataFrame(
        [("none", 0, 0.0, 0.95, "plain"), ("none", 0, 0.0, 0.75, "robust")], columns=[*AXES, "accuracy", "training"]
    )
    roles = Roles(("training", *AXES), "seed", "sparsity", pruned="channels", panels="training")
    figure = metric_against_ratio(both, baseline, metric="accuracy", label="accuracy", roles=roles)
    panels = [plot for plot in figure.axes if plot.get_title()]
    assert [plot.get_title() for plot in panels] == ["training: plain", "training: robust"]
    assert [len([each for each in plot.containers if isinstance(each, ErrorbarContainer)]) for plot in panels] == [2, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["l1", "random", "baseline", "unpruned"]
    left, right = (
        next(
            each
            for each in plot.containers
            if isinstance(each, ErrorbarContainer) and each.lines[0].get_marker() == "s"
        )
        for plot in panels
    )
    assert left.lines[0].get_color() == right.lines[0].get_color()  # random, in either panel
    assert panels[0].get_ylim() == panels[1].get_ylim()
    for plot, levels in zip(panels, ([0.95], [0.61, 0.75]), strict=True):
        dashed = [line for line in plot.lines if line.is_dashed() and len(set(np.asarray(line.get_ydata()))) == 1]
        assert [np.asarray(line.get_ydata())[0] for line in dashed] == pytest.approx(levels)
    assert panels[0].get_xlabel() == "channels pruned (%)"


def test_a_metric_stands_beside_another_in_one_scale(rows: pd.DataFrame, baseline: pd.DataFrame) -> None:
    rows["easy"], baseline["easy"] = rows["accuracy"] + 0.05, 0.97
    beside = ("easy", "easy accuracy")
    figure = metric_against_ratio(rows, baseline, metric="accuracy", label="accuracy", beside=beside, roles=ROLES)
    left, right = (plot for plot in figure.axes if plot.get_ylabel())
    assert [left.get_ylabel(), right.get_ylabel()] == ["accuracy", "easy accuracy"]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] > 0.97
    roles = Roles(("training", *AXES), "seed", "sparsity", pruned="weights", panels="training")
    both = pd.concat([rows.assign(training=name) for name in ("plain", "robust")])
    figure = metric_against_ratio(both, pd.DataFrame(), metric="accuracy", label="hard", beside=beside, roles=roles)
    titled = [(plot.get_title(), plot.get_ylabel()) for plot in figure.axes if plot.get_title()]
    plain, robust = "training: plain", "training: robust"
    assert titled == [(plain, "hard"), (robust, ""), (plain, "easy accuracy"), (robust, "")]


def test_what_a_metric_was_before_is_dashed_in_its_own_panel_and_colour(
    rows: pd.DataFrame, baseline: pd.DataFrame
) -> None:
    rows["before"] = rows["accuracy"] - 0.2
    rows.loc[rows["sparsity"] == 0, "before"] = np.nan  # such as of rows that are older than the column
    figure = metric_against_ratio(
        rows,
        baseline,
        metric="accuracy",
        label="accuracy (%)",
        earlier={"accuracy": ("before", "before training")},
        roles=ROLES,
    )
    drawn = {line.get_color(): line for line in figure.axes[0].lines if line.get_linestyle() == "--"}
    means = rows.groupby(["method", "sparsity"])["before"].mean()
    for name, curve in zip(("l1", "random"), curves(figure), strict=True):
        dashed = drawn[curve.lines[0].get_color()]
        assert np.asarray(dashed.get_xdata()) == pytest.approx(1 - np.asarray(SPARSITIES[1:]))
        assert np.asarray(dashed.get_ydata()) == pytest.approx(means[name].dropna().to_numpy())
    (legend,) = figure.legends
    assert "before training" in [text.get_text() for text in legend.get_texts()]
    assert figure.axes[0].get_ylim()[0] < float(means.min())


def test_a_misspelt_metric_is_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        metric_against_ratio(rows, pd.DataFrame(), metric="acuracy", label="", roles=ROLES)

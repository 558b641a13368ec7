"""How something went in the course of rows: a panel of each sort, means of repetitions, and every row faintly."""

from pathlib import Path

import numpy as np
import pytest

from sweeps.reporting.figures.courses import means_of, over_course
from sweeps.reporting.figures.curves import save
from sweeps.study import Course, Curve

pytestmark = pytest.mark.filterwarnings("error")

COURSE = Course(
    title="Heat",
    explanation="How warm it was.",
    along="hour",
    label="temperature",
    curves=[
        Curve("north", "day", [1, 2, 3], [0.1, 0.2, 0.3]),
        Curve("north", "day", [1, 2, 3], [0.3, 0.4, 0.7]),
        Curve("north", "night", [1, 2], [0.1, 0.0]),
        Curve("south", "day", [2, 4], [0.5, 0.6]),
    ],
)


def test_curves_of_one_panel_and_name_are_repetitions_of_which_the_mean_is_taken() -> None:
    means = means_of(COURSE)
    assert means[["panel", "name", "at", "count"]].to_numpy().tolist() == [
        ["north", "day", 1, 2],
        ["north", "day", 2, 2],
        ["north", "day", 3, 2],
        ["north", "night", 1, 1],
        ["north", "night", 2, 1],
        ["south", "day", 2, 1],
        ["south", "day", 4, 1],
    ]
    assert means["mean"].tolist() == pytest.approx([0.2, 0.3, 0.5, 0.1, 0.0, 0.5, 0.6])


def test_each_panel_has_its_means_in_the_colours_of_names_and_its_rows_faintly(tmp_path: Path) -> None:
    figure = over_course(COURSE)
    north, south = figure.axes
    assert [plot.get_title() for plot in (north, south)] == ["north", "south"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["day", "night"]
    means = [line for line in north.lines if line.get_alpha() is None]
    assert np.asarray(means[0].get_ydata()) == pytest.approx([0.2, 0.3, 0.5])
    assert len([line for line in north.lines if line.get_alpha() is not None]) == 3
    (only,) = (line for line in south.lines if line.get_alpha() is None)
    assert only.get_color() == means[0].get_color()
    assert north.get_ylabel() == "temperature"
    assert {plot.get_xlabel() for plot in (north, south)} == {"hour"}
    assert all(file.stat().st_size for file in save(figure, tmp_path, "heat"))


@pytest.mark.parametrize("panels", [1, 3, 4, 7])
def test_panels_go_on_in_the_next_line_and_none_is_left_over(panels: int) -> None:
    curves = [Curve(f"panel {panel}", "day", [1], [float(panel)]) for panel in range(panels)]
    assert len(over_course(COURSE._replace(curves=curves)).axes) == panels

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from sweeps.reporting.figures.panels import Curves, panels
from sweeps.statistics.roles import Roles

ROLES = Roles(("method", "seed", "sparsity"), replicate="seed", along="sparsity")

pytestmark = pytest.mark.filterwarnings("error")


def curves(source: str, *cells: tuple[str, float, float]) -> Curves:
    means = pd.DataFrame(cells, columns=["configuration", "sparsity", "mean"])
    return Curves(source, means.assign(sd=np.nan))


def test_a_panel_for_each_configuration_of_both_with_gaps_where_nothing_is_known() -> None:
    ours = curves("ours", *((name, at, 1 - at) for name in ("b", "c", "$d") for at in (0.0, 0.5, 0.9)))
    theirs = curves("theirs", ("$d", 0.0, 1.0), ("$d", 0.9, 0.3), ("b", 0.5, 0.5), ("e", 0.5, 0.5))
    figure = panels([ours, theirs], configurations=["b", "c", "$d"], label="accuracy", roles=ROLES)
    drawn = {
        plot.get_title(): [each.lines[0] for each in plot.containers if isinstance(each, ErrorbarContainer)]
        for plot in figure.axes
    }
    assert list(drawn) == ["b", "$d"]
    solid, dashed = drawn["$d"]
    assert solid.get_ydata() == pytest.approx([1.0, 0.5, 0.1])
    assert dashed.get_ydata() == pytest.approx([1.0, np.nan, 0.3], nan_ok=True)
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert solid.get_color() == dashed.get_color() != drawn["b"][0].get_color()
    assert dashed.get_markerfacecolor() == "white"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs"]


def test_what_two_of_three_sources_share_is_drawn() -> None:
    sources = [
        curves("a", ("x", 0.0, 1.0), ("y", 0.0, 0.9)),
        curves("b", ("x", 0.0, 0.8), ("only b", 0.0, 0.1)),
        curves("c", ("y", 0.0, 0.7)),
    ]
    figure = panels(sources, configurations=["x", "y", "only b"], label="accuracy", roles=ROLES)
    drawn = {
        plot.get_title(): sum(isinstance(each, ErrorbarContainer) for each in plot.containers) for plot in figure.axes
    }
    assert drawn == {"x": 2, "y": 2}

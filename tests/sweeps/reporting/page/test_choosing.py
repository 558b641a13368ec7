"""The figure whose axes a reader chooses, in a browser: its means are those of the rows, whatever is chosen."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeps.reporting.page.report import write_report
from sweeps.reporting.page.sections.choosing import chooser_html
from sweeps.statistics.roles import Roles
from tests.support.browser import Browser, Tab, chromium

HOSTILE = '<script>alert("1")</script>&amp;'
AXES: dict[str, list[Any]] = {
    "method": [HOSTILE, "plain"],
    "training.force": [0.01, 0.1, 1.0],
    "tuning.rounds": [1, 2],
    "seed": [0, 1, 2],
    "dose": [0.0, 0.5],
}
ROLES = Roles(tuple(AXES), "seed", "dose", identity="row_key", fields=("training.force", "tuning.rounds"))
DRAWN = Roles(("method", "rate", "width", "seed", "dose"), "seed", "dose", sampled=("rate", "width"))
LABELS = {"gain": f"gain {HOSTILE}", "size": "size"}


def rows() -> pd.DataFrame:
    """Return rows of which those of one method are the same whatever the rounds; one value is not there."""
    found = pd.DataFrame(itertools.product(*AXES.values()), columns=[*AXES])
    found["row_key"] = [f"row {place}" for place in range(len(found))]
    found["gain"] = np.random.default_rng(0).normal(size=len(found)).round(4)
    found["size"] = 1e6 + found.index
    same = ["method", "training.force", "seed", "dose"]
    plain = found["method"] == "plain"
    for column in ("row_key", "gain", "size"):
        found.loc[plain, column] = found[plain].groupby(same)[column].transform("first")
    found.loc[0, "gain"] = np.nan
    return found


def draws() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    space = pd.DataFrame({"rate": 10 ** rng.uniform(-4, -1, 20), "width": rng.integers(1, 4, 20)})
    cells = pd.DataFrame(itertools.product("ab", (0, 1), (0.0, 0.5)), columns=["method", "seed", "dose"])
    return cells.merge(space, how="cross").assign(gain=lambda all_rows: rng.normal(size=len(all_rows)))


def held(html: str) -> dict[str, Any]:
    (packed,) = re.findall('data-drawn="([^"]*)"', html)
    data: dict[str, Any] = json.loads(unescape(packed))
    return data


def test_what_is_chosen_from_is_the_rows() -> None:
    given = rows()
    html = chooser_html(given, metrics=LABELS, roles=ROLES)
    data = held(html)
    assert HOSTILE not in html
    for axis in data["axes"]:
        assert [axis["levels"][place] for place in axis["at"]] == given[axis["name"]].tolist()
    assert data["metrics"][0]["values"] == [None, *given["gain"][1:]]
    assert [axis["wide"] for axis in data["axes"]] == [False, True, False, False, False]
    assert len(set(data["rows"])) == given["row_key"].nunique()


def test_an_axis_of_one_level_is_none_to_choose() -> None:
    data = held(chooser_html(rows().query("dose == 0.5"), metrics=LABELS, roles=ROLES))
    assert [axis["name"] for axis in data["axes"]] == ["method", "training.force", "tuning.rounds", "seed"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("fields"), rows(), ROLES)


def written(folder: Path, every: pd.DataFrame, roles: Roles, **given: Any) -> Path:
    nothing = pd.DataFrame()
    cells = every[list(roles.axes)].to_dict("records")
    facts = {"failures": nothing, "cells": cells, "baselines": [], "spec_text": "", "metrics": LABELS, "roles": roles}
    return write_report(folder, title="t", rows=every, baseline=nothing, **facts, **given)[-1]  # type: ignore[arg-type]


@pytest.fixture
def tab(browser: Browser, page: Path) -> Tab:
    tab = browser.tab()
    tab.open(page)
    tab.evaluate('document.querySelector(".chosen details").open = true')
    return tab


def choose(tab: Tab, **chosen: str) -> None:
    """Choose by what is read in the controls; `levels` of an axis by its name, in underscores."""
    for name, text in chosen.items():
        tab.evaluate(
            f"""(() => {{
              const said = (control) => control.labels[0].firstChild.textContent.trim().replaceAll(/[. ]/g, "_");
              const controls = Array.from(document.querySelectorAll("form.chooser select"));
              const control = controls.find((each) => said(each) === {json.dumps(name)});
              const option = Array.from(control.options).find((each) => each.text === {json.dumps(text)});
              if (option.disabled) throw new Error("cannot be chosen");
              control.value = option.value;
              control.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }})()"""
        )


def means(tab: Tab) -> list[list[str]]:
    """Return the lines of the table of what is drawn, its heads first."""
    tab.evaluate("new Promise((resolve) => setTimeout(resolve, 20))")
    lines: list[list[str]] = tab.evaluate(
        'Array.from(document.querySelectorAll(".chosen tr"), (line) => Array.from(line.cells, (c) => c.textContent))'
    )
    return lines


def said(tab: Tab) -> str:
    text: str = tab.evaluate('document.querySelector(".chosen figcaption").textContent')
    return text


def panels(tab: Tab) -> list[str]:
    found: list[str] = tab.evaluate('Array.from(document.querySelectorAll(".panels svg"), (each) => each.ariaLabel)')
    return found


@pytest.mark.slow
def test_at_first_a_field_runs_along_with_a_line_per_configuration(tab: Tab) -> None:
    assert tab.complaints == []
    assert panels(tab) == ["dose 0", "dose 0.5"]
    given = rows()
    expected = given.groupby(["dose", "method", "tuning.rounds", "training.force"])["gain"].agg(
        ["mean", "std", "count"]
    )
    heads, *lines = means(tab)
    assert heads == ["dose", "line", "training.force", "mean", "sd", "rows"]
    assert len(lines) == len(expected)
    for line, (*levels, mean, sd, count) in zip(lines, expected.reset_index().to_numpy().tolist(), strict=True):
        dose, method, rounds, force = levels
        assert line[:3] == [f"{dose:g}", f"{method} · rounds={rounds}", f"{force:g}"]
        assert [float(line[3]), float(line[4])] == pytest.approx([mean, sd], rel=2e-3)
        assert line[5] == f"{count:.0f}"
    assert "4 lines, 2 panels; means over seed with standard deviations, 2 to 3 in each point, 53 of 54 rows." in said(
        tab
    )


@pytest.mark.slow
def test_a_reader_chooses_what_runs_along_the_panels_the_lines_and_the_levels(tab: Tab) -> None:
    choose(tab, what_is_drawn="size", along="dose", a_panel_for_each="training.force", a_line_for_each="tuning.rounds")
    choose(tab, method=HOSTILE, training_force="0.1")
    assert panels(tab) == ["training.force 0.1"]
    given = rows().query("method != 'plain' and `training.force` == 0.1")
    expected = given.groupby(["tuning.rounds", "dose"])["size"].mean()
    heads, *lines = means(tab)
    assert heads == ["training.force", "line", "dose", "mean", "sd", "rows"]
    assert [(line[1], line[2]) for line in lines] == [(f"rounds={r}", f"{dose:g}") for r, dose in expected.index]
    tab.click("form.chooser button")
    assert panels(tab) == ["dose 0", "dose 0.5"]
    assert tab.complaints == []


@pytest.mark.slow
def test_a_row_that_stands_for_several_cells_counts_once_in_a_mean(tab: Tab) -> None:
    choose(tab, a_line_for_each="method", method="plain", dose="0.5")
    _, *lines = means(tab)
    assert {(line[1], line[5]) for line in lines} == {("plain", "3")}


@pytest.mark.slow
def test_an_axis_has_one_part_in_the_figure(tab: Tab) -> None:
    choose(tab, along="dose")
    assert panels(tab) == [LABELS["gain"]]
    choose(tab, a_panel_for_each="method")
    disabled = 'Array.from(document.querySelectorAll("[name=lines] option:disabled"), (each) => each.text)'
    assert tab.evaluate(disabled) == ["method", "dose"]


@pytest.mark.slow
def test_every_draw_is_a_point_of_its_own_along_what_was_drawn(browser: Browser, tmp_path: Path) -> None:
    tab = browser.tab()
    tab.open(written(tmp_path, draws(), DRAWN, compared=(draws()[:0], draws()[:0])))
    tab.evaluate('document.querySelector(".chosen details").open = true')
    choose(tab, along="width", dose="0.5", a_panel_for_each="none")
    expected = draws().query("dose == 0.5").groupby(["method", "width", "rate"])["gain"].mean()
    found = sorted((line[0], line[1], float(line[2])) for line in means(tab)[1:])
    wanted = sorted((line[0], str(line[1]), line[3]) for line in expected.reset_index().to_numpy().tolist())
    assert [each[:2] for each in found] == [each[:2] for each in wanted]
    assert sorted(each[2] for each in found) == pytest.approx(sorted(each[2] for each in wanted), rel=2e-3)
    assert "means over seed, 2 in each point" in said(tab)
    assert tab.evaluate("document.querySelectorAll('.panels path.line').length") == 0


@pytest.mark.slow
def test_the_fixed_figures_are_folded_where_scripts_run_and_seen_where_not(browser: Browser, page: Path) -> None:
    seen = 'Array.from(document.querySelectorAll("details.fixed"), (each) => each.open)'
    tab = browser.tab()
    tab.open(page)
    assert tab.evaluate(seen) == [False, False]
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page)
    assert tab.evaluate(seen) == [True, True]
    assert tab.evaluate('document.querySelector("form.chooser").offsetHeight') == 0
    assert tab.evaluate('document.querySelector(".chosen").offsetHeight') == 0


@pytest.mark.slow
def test_everything_in_it_has_a_name_and_fits_a_narrow_window(browser: Browser, page: Path) -> None:
    tab = browser.tab(width=400)
    tab.open(page)
    tab.evaluate('document.querySelector(".chosen details").open = true')
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes]
    assert {"along", "a panel for each", "tuning.rounds"} <= {name for role, name in found if role == "combobox"}
    assert not [role for role, name in found if role in ("image", "region", "combobox", "form") and not name]
    assert tab.complaints == []

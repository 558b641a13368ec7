"""Grids expand as a GitHub Actions matrix does, and say in one sentence what is wrong with them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.errors import SpecError
from sweeps.spec.axes.grid import as_meant, expand
from sweeps.study import Axis, Cell, Further

AXES = (
    Axis("fruit", str, choices=("apple", "pear", "plum")),
    Axis("seed", int),
    Axis("ratio", float, bounds=(0.0, 1.0)),
)
FULL: dict[str, Any] = {"fruit": ["apple", "pear"], "seed": [0, 1], "ratio": [0, 0.5]}


def cells(grid: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(cell.values()) for cell in expand(grid, AXES)]


PEARS = [("pear", seed, ratio) for seed in (0, 1) for ratio in (0.0, 0.5)]
APPLES = [("apple", seed, ratio) for seed in (0, 1) for ratio in (0.0, 0.5)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, APPLES + PEARS, id="axes cross, the last one fastest"),
        pytest.param({"exclude": [{"fruit": "apple"}]}, PEARS, id="a partial exclude removes all that agree"),
        pytest.param(
            {"exclude": [{"fruit": "apple", "seed": 1}, {"ratio": 0}]},
            [("apple", 0, 0.5), ("pear", 0, 0.5), ("pear", 1, 0.5)],
            id="excludes add up, and 0 excludes 0.0",
        ),
        pytest.param({"exclude": [{"fruit": "plum"}]}, APPLES + PEARS, id="an exclude that matches nothing"),
        pytest.param(
            {"include": [{"fruit": "plum", "seed": 7, "ratio": 1}]},
            [*APPLES, *PEARS, ("plum", 7, 1.0)],
            id="an include that contradicts every cell makes its own",
        ),
        pytest.param(
            {"include": [{"fruit": "pear", "seed": 1, "ratio": 0.5}]},
            APPLES + PEARS,
            id="an include that is a cell already changes nothing",
        ),
        pytest.param(
            {
                "exclude": [{"fruit": "apple"}],
                "include": [{"fruit": "apple", "seed": 0, "ratio": 0.5}],
            },
            [*PEARS, ("apple", 0, 0.5)],
            id="exclude comes first, so include brings one of its cells back",
        ),
        pytest.param(
            {"include": [{"fruit": "plum", "seed": 7, "ratio": 1}], "exclude": [{"fruit": "plum"}]},
            [*APPLES, *PEARS, ("plum", 7, 1.0)],
            id="the order of the keys does not matter: what is included is not excluded",
        ),
        pytest.param(
            {"include": [{"fruit": "plum", "seed": 7, "ratio": 1}] * 2},
            [*APPLES, *PEARS, ("plum", 7, 1.0)],
            id="the same cell included twice is one cell",
        ),
    ],
)
def test_include_and_exclude(changes: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    assert cells(FULL | changes) == expected


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        pytest.param([{"seed": 3}], [("apple", 3, 0.0), ("pear", 3, 0.0)], id="merged into every cell"),
        pytest.param(
            [{"seed": 3}, {"fruit": "pear", "seed": 4}],
            [("apple", 3, 0.0), ("pear", 4, 0.0)],
            id="an added value may be overwritten by a later entry, an original one never",
        ),
        pytest.param(
            [{"seed": 3}, {"fruit": "plum", "seed": 4, "ratio": 1}],
            [("apple", 3, 0.0), ("pear", 3, 0.0), ("plum", 4, 1.0)],
            id="merged where it fits, a cell of its own where it does not",
        ),
    ],
)
def test_include_completes_cells_with_an_axis_that_does_not_cross(
    include: list[Cell], expected: list[tuple[Any, ...]]
) -> None:
    assert cells({"fruit": ["apple", "pear"], "ratio": [0], "include": include}) == expected


def test_a_grid_of_included_cells_alone() -> None:
    assert cells({"include": [{"ratio": 1, "fruit": "pear", "seed": 2}]}) == [("pear", 2, 1.0)]


def test_values_take_the_type_of_their_axis_and_cells_its_order() -> None:
    (cell,) = expand({"ratio": [1], "seed": [2], "fruit": ["pear"]}, AXES)
    assert list(cell) == ["fruit", "seed", "ratio"]
    assert [type(value) for value in cell.values()] == [str, int, float]


grids = st.fixed_dictionaries(
    {
        "fruit": st.lists(st.sampled_from(["apple", "pear", "plum"]), min_size=1, unique=True),
        "seed": st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
        "ratio": st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=1, unique=True),
    }
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "fruit": st.sampled_from(["apple", "pear", "plum"]),
        "seed": st.integers(0, 9),
        "ratio": st.sampled_from([0, 0.25, 0.5, 1]),
    },
).filter(bool)


@given(grids)
def test_crossed_cells_are_the_product_without_repetition(grid: dict[str, list[Any]]) -> None:
    found = cells(grid)
    assert len(found) == math.prod(map(len, grid.values()))
    assert set(found) == set(itertools.product(grid["fruit"], grid["seed"], grid["ratio"]))


@given(grids, st.lists(entries, min_size=1, max_size=3))
def test_exclude_removes_exactly_the_cells_that_agree(grid: dict[str, list[Any]], exclude: list[Cell]) -> None:
    kept = [cell for cell in expand(grid, AXES) if not any(entry.items() <= cell.items() for entry in exclude)]
    if kept:
        assert expand({**grid, "exclude": exclude}, AXES) == kept
    else:
        with pytest.raises(SpecError, match="found no cell to compute"):
            expand({**grid, "exclude": exclude}, AXES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fruits": ["pear"]}, "grid.fruits: unknown key; did you mean 'fruit'?"),
        ({"exlude": []}, "grid.exlude: unknown key; did you mean 'exclude'?"),
        ({"xyz": [1]}, "grid.xyz: unknown key; expected one of fruit, seed, ratio, include, exclude"),
        ({"fruit": ["paer"]}, "grid.fruit[0]: found 'paer', expected one of apple, pear, plum; did you mean 'pear'?"),
        ({"fruit": [3]}, "grid.fruit[0]: found 3, expected text"),
        ({"seed": [0, 1.5]}, "grid.seed[1]: found 1.5, expected a whole number"),
        ({"seed": [True]}, "grid.seed[0]: found True, expected a whole number"),
        ({"seed": ["1"]}, "grid.seed[0]: found '1', expected a whole number"),
        ({"seed": [None]}, "grid.seed[0]: found nothing, expected a whole number"),
        ({"ratio": [False]}, "grid.ratio[0]: found False, expected a number"),
        ({"ratio": [math.nan]}, "grid.ratio[0]: found nan, expected a finite number"),
        ({"ratio": [1.01]}, "grid.ratio[0]: found 1.01, expected a value from 0.0 to 1.0"),
        ({"ratio": [0, -1]}, "grid.ratio[1]: found -1, expected a value from 0.0 to 1.0"),
        ({"ratio": [0.5, 0.5]}, "grid.ratio[1]: found 0.5 a second time, expected each value once"),
        ({"ratio": [0, 0.0]}, "grid.ratio[1]: found 0.0 a second time, expected each value once"),
        ({"seed": []}, "grid.seed: found [], expected a list of values"),
        ({"seed": 3}, "grid.seed: found 3, expected a list of values"),
        ({"seed": None}, "grid.seed: found nothing, expected a list of values"),
        ({"include": {"seed": 3}}, "grid.include: found {'seed': 3}, expected a list of mappings from axis to value"),
        ({"exclude": [{}]}, "grid.exclude: found [{}], expected a list of mappings from axis to value"),
        ({"exclude": [{"frut": "pear"}]}, "grid.exclude[0].frut: unknown key; did you mean 'fruit'?"),
        ({"include": [{"ratio": 2}]}, "grid.include[0].ratio: found 2, expected a value from 0.0 to 1.0"),
        (
            {"include": [{"fruit": "plum", "ratio": 1}]},
            "grid.seed: found nothing for the cell fruit plum, ratio 1.0, expected a value",
        ),
        (
            {"exclude": [{"seed": 0}, {"seed": 1}]},
            "grid: found no cell to compute, expected values for every axis, not all of them excluded",
        ),
    ],
)
def test_a_mistake_is_said_with_its_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        expand(FULL | changes, AXES)
    assert str(caught.value) == message


@pytest.mark.parametrize("grid", [{}, {"include": []}])
def test_an_empty_grid_is_refused(grid: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="^grid: found no cell to compute"):
        expand(grid, AXES)


def citrus(given: Any) -> str | None:
    """Return the name of what is written as `{citrus: 3}`, which is a fruit of three seeds."""
    if isinstance(given, dict):
        if not isinstance(given.get("citrus"), int):
            raise ValueError(f"found {given}, expected {{citrus: SEEDS}}")
        return f"citrus-{given['citrus']}"
    return given if isinstance(given, str) and given.startswith("citrus-") else None


FURTHER = (AXES[0]._replace(further=Further("{citrus: SEEDS}", citrus)), *AXES[1:])


def test_further_values_are_cells_by_one_name_however_they_are_written() -> None:
    grid = {
        "fruit": ["apple", {"citrus": 3}, "citrus-4"],
        "seed": [0],
        "ratio": ["1/4", 1],
        "exclude": [{"fruit": {"citrus": 4}, "ratio": "1/4"}],
        "include": [{"fruit": {"citrus": 9}, "seed": 1, "ratio": 0}],
    }
    meant = as_meant(grid, FURTHER)
    assert meant["fruit"] == ["apple", "citrus-3", "citrus-4"]
    assert meant["exclude"] == [{"fruit": "citrus-4", "ratio": 0.25}]
    found = [tuple(cell.values()) for cell in expand(meant, FURTHER)]
    crossed = [("apple", 0, 0.25), ("apple", 0, 1.0), ("citrus-3", 0, 0.25), ("citrus-3", 0, 1.0), ("citrus-4", 0, 1.0)]
    assert found == [*crossed, ("citrus-9", 1, 0.0)]


@pytest.mark.parametrize(
    ("fruit", "message"),
    [
        ({"citrus": "many"}, "grid.fruit[0]: found {'citrus': 'many'}, expected {citrus: SEEDS}"),
        (
            "paer",
            "grid.fruit[0]: found 'paer', expected one of apple, pear, plum, {citrus: SEEDS}; did you mean 'pear'?",
        ),
        (3, "grid.fruit[0]: found 3, expected text"),
    ],
)
def test_what_is_wrong_with_a_further_value_is_said_where_it_stands(fruit: Any, message: str) -> None:
    grid = as_meant(FULL | {"fruit": [fruit]}, FURTHER)
    with pytest.raises(SpecError) as caught:
        expand(grid, FURTHER)
    assert str(caught.value) == message

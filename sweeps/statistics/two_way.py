"""Two factors at once: their main effects and their interaction, at each ratio or with the ratio as one of the two.

Contrasts of single levels are in `analysis.py`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import helmert

from sweeps.statistics.arrays.assumptions import FEWEST, UNCHECKED, doubts_of_differences, not_normal, variances_differ
from sweeps.statistics.arrays.box import f_test, scores_of
from sweeps.statistics.cells import check_apart, check_rows, finite, nearest
from sweeps.statistics.marks import FLOOR, Floor, holm, mark
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, constant

_RESULTS = ("statistic", "df", "df_error", "p_value", "partial_eta_squared")

Result = dict[str, Any]


def test_name(design: Design, *, classical: bool, repeated: str) -> str:
    """Return what the test is called; `repeated`: the axis of values of one trial that is a factor, if one is."""
    if design == "paired":
        return "repeated-measures two-way ANOVA, Greenhouse-Geisser"
    if classical:
        return "two-way ANOVA, type III"
    return f"two-way ANOVA, {repeated} repeated in each trial, Box" if repeated else "two-way ANOVA, Box"


def two_way(
    rows: pd.DataFrame,
    *,
    metric: str,
    factors: tuple[str, str],
    design: Design = "paired",
    classical: bool = False,
    floor: Floor = FLOOR,
    roles: Roles,
) -> pd.DataFrame:
    """Test the main effects of two factors and their interaction, the other factors and the ratio fixed.

    The ratio may be one of the two. Each analysis gives three lines; analyses are ordered by the levels that they fix.
    Every level of one factor must have runs that vary at every level of the other; levels are left out until that is
    so, the one with the most cells that lack them first, and `note` says which. Every effect asks about plain means
    over the levels of the other factor, whatever the counts and whether or not there is an interaction.

    `paired` is the repeated-measures ANOVA on complete blocks, every replicate having one value in each cell: each
    effect is compared with its own interaction with blocks, as statsmodels' AnovaRM does. An effect of several degrees
    of freedom also assumes sphericity, which ratios never have (what is pruned harder varies less), so both degrees of
    freedom are multiplied by Greenhouse and Geisser's epsilon; it is 1 for two by two levels.

    `independent` allows every cell a variance of its own. With the ratio as a factor, whose values come from one trial
    and depend on each other, whole trials are what is independent: they are compared between the levels of the other
    factor, and ratios within them; trials without a value at every ratio are dropped. All three are one F test, see
    `arrays/box.py`. `classical` is the ANOVA with one variance for all, with type III sums of squares under sum-to-zero
    coding; it has no ratio as a factor, where it errs several times as often as it says.

    `partial_eta_squared` is the share of an effect in the sum of squares of effect and error (Cohen 1973, Educational
    and Psychological Measurement 33), F df / (F df + df_error), from 0 to 1; in few runs it is too large on average.
    Rows to which one of the factors does not matter stand in several cells: the independent tests are not made of them.
    `p_holm` corrects for asking the same question at each ratio. `mark` is that of `analysis.contrasts`, by the
    smallest group and the means of all cells.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to explain.
        factors: two axes, neither of them the replicate's.
        design: `paired` or `independent`.
        classical: one variance for all cells; of the independent design only.
        floor: below which no difference is starred.
        roles: of the key columns.

    Returns:
        Columns `effect` (`a`, `b`, `a:b`), the factors and `along` (empty for the two that vary), then `metric, design,
        n, statistic, df, df_error, p_value, p_holm, mark, partial_eta_squared, test, note`; `n` counts
        the values tested. `p_value` is that of the F distribution with `df` and `df_error`.

    Raises:
        ValueError: a column is missing or unfit, there are no such two factors, or the classical test has no such one.
    """
    check_rows(rows, metric=metric, roles=roles)
    axes = [*roles.factors, roles.along]
    for factor in factors:
        if factor not in axes:
            raise ValueError(f"{factor!r} is no factor; {nearest(factor, axes)}")
    if factors[0] == factors[1]:
        raise ValueError(f"found {factors[0]!r} twice, expected two factors")
    repeated = roles.along if roles.along in factors else ""
    if classical and repeated and design == "independent":
        raise ValueError(
            f"found {repeated!r} as a factor of the classical ANOVA, which takes the values of one trial as "
            "independent; expected the analysis without --classical, which compares whole trials"
        )
    effects = (*factors, ":".join(factors))
    lowest = floor.of(rows, metric=metric, roles=roles)
    test = test_name(design, classical=classical, repeated=repeated)
    lines: list[Result] = []
    for fixed, runs in _analyses(rows, metric=metric, factors=factors, roles=roles):
        if design == "independent" and _counted_twice(rows, fixed, factors, roles):
            why = f"rows stand for several levels of {' and '.join(factors)}, and are not independent of themselves"
            found = _not_tested(why, [], n=0)
        else:
            found = _classical(runs, roles) if design == "independent" and classical else _analysed(runs, design, roles)
        keys = fixed | {"metric": metric, "design": design, "test": test}
        lines += [{"effect": effect} | keys | result for effect, result in zip(effects, found, strict=True)]
    columns = ["effect", *axes, "metric", "design", "n", "statistic", "df", "df_error", "p_value", "p_holm", "mark"]
    columns += ["partial_eta_squared", "test", "note", "fewest", "means"]
    check_apart(columns)
    table = pd.DataFrame(lines, columns=columns)
    question = ["effect", *(axis for axis in roles.factors if axis not in factors)]
    for _, family in table.groupby(question, sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p_value"].tolist())
    return _marked(table, lowest)


def _counted_twice(rows: pd.DataFrame, fixed: dict[str, Any], factors: tuple[str, str], roles: Roles) -> bool:
    """Say whether an analysis has a row in two cells, to which one of the factors does not matter.

    Blocks do not mind: each is compared within itself.
    """
    if roles.identity is None or roles.identity not in rows:
        return False
    here = rows
    for axis, level in fixed.items():
        here = here if axis in factors else here[here[axis] == level]
    return bool(here[roles.identity].duplicated().any())


def _marked(table: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Return the table with stars, in place of what they depend on."""
    marks, noted = [], []
    for line in table.to_dict("records"):
        star, why_not = mark(line["p_holm"], fewest=line["fewest"], means=line["means"], floor=floor)
        marks.append(star)
        noted.append("; ".join(filter(None, [line["note"], why_not])))
    return table.assign(mark=marks, note=noted).drop(columns=["fewest", "means"])


class _Runs(NamedTuple):
    """The values of one analysis.

    Attributes:
        factors: their names.
        levels: of each, in order.
        table: a line per replicate, a column per combination of levels, those of the second factor side by side; NaN
            where there is no finite value.
    """

    factors: tuple[str, str]
    levels: tuple[list[Any], list[Any]]
    table: pd.DataFrame


def _analyses(
    rows: pd.DataFrame, *, metric: str, factors: tuple[str, str], roles: Roles
) -> Iterator[tuple[dict[str, Any], _Runs]]:
    """Yield what is fixed, and the values, wherever both factors have two levels."""
    others = [axis for axis in (*roles.factors, roles.along) if axis not in factors]
    values = rows.assign(**{metric: finite(rows[metric])})
    for fixed, group in values.groupby(others) if others else [((), values)]:
        first, second = (sorted(set(group[factor])) for factor in factors)
        if min(len(first), len(second)) >= 2:
            table = group.pivot(index=roles.replicate, columns=list(factors), values=metric)
            table = table.reindex(columns=pd.MultiIndex.from_product([first, second]))
            varying = {factor: np.nan if factor == roles.along else "" for factor in factors}
            yield varying | dict(zip(others, fixed, strict=True)), _Runs(factors, (first, second), table)


def _crossed(runs: _Runs) -> tuple[_Runs, list[str], str]:
    """Leave out levels until every combination has values that vary; say which, and why nothing is tested, if so."""
    shape = tuple(map(len, runs.levels))
    empty = np.array([_still(cell.dropna().to_numpy()) for _, cell in runs.table.items()]).reshape(shape)
    left = tuple(list(range(count)) for count in shape)
    notes: list[str] = []
    while (gaps := empty[np.ix_(*left)]).any():
        shares = {
            (axis, place): share
            for axis in (0, 1)
            if len(left[axis]) > 2
            for place, share in enumerate(gaps.mean(axis=1 - axis))
        }
        if not shares:
            first = [runs.levels[axis][left[axis][places[0]]] for axis, places in enumerate(gaps.nonzero())]
            return runs, notes, f"there are no values that vary of {first[0]} with {first[1]}"
        axis, place = max(shares, key=lambda candidate: shares[candidate])
        level = runs.levels[axis][left[axis].pop(place)]
        notes.append(
            f"left out {runs.factors[axis]} {level}, without values that vary at every {runs.factors[1 - axis]}"
        )
    columns = np.arange(empty.size).reshape(shape)[np.ix_(*left)].ravel()
    first_levels, second_levels = ([runs.levels[axis][place] for place in left[axis]] for axis in (0, 1))
    return _Runs(runs.factors, (first_levels, second_levels), runs.table.iloc[:, columns]), notes, ""


def _still(cell: Values) -> bool:
    """Say whether a cell has no values, or several that do not vary; of one alone nobody knows."""
    return len(cell) == 0 or (len(cell) > 1 and constant(cell, like=(cell,)))


def _not_tested(why: str, notes: list[str], *, n: int) -> list[Result]:
    note = "; ".join([*notes, f"not tested: {why}"])
    return [dict.fromkeys(_RESULTS, np.nan) | {"n": n, "note": note, "fewest": 0, "means": []}] * 3


def _analysed(runs: _Runs, design: Design, roles: Roles) -> list[Result]:
    """The F tests of groups of units, which are blocks, the trials of each level, or the values of cells."""
    left, notes, reason = _crossed(runs)
    groups, order = [], []
    for name, places in _groups(left, design, roles):
        whole = left.table.iloc[:, places].dropna()
        missing = _dropped(left.table.iloc[:, places], name)
        if missing:
            of = f" of {name}" if name is not None else ""
            what = "in every cell" if name is None else f"at every {roles.along}"
            notes.append(f"dropped {roles.replicate} {', '.join(map(str, missing))}{of} without a value {what}")
        groups.append(whole.to_numpy())
        order += places
    n = sum(group.size for group in groups)
    fewest = min(map(len, groups))
    if not reason and fewest < 2:
        if design == "paired":
            reason = f"{fewest} complete blocks, a test needs 2"
        else:
            reason = f"{fewest} {'trials' if n > sum(map(len, groups)) else 'values'} in a group, a test needs 2"
    if reason:
        return _not_tested(reason, notes, n=n)
    means = [float(mean) for group in groups for mean in group.mean(axis=0)]
    effects = contrasts_of(*map(len, left.levels))
    return [_effect(groups, contrasts[:, order], notes) | {"fewest": fewest, "means": means} for contrasts in effects]


def _groups(left: _Runs, design: Design, roles: Roles) -> list[tuple[Any, list[int]]]:
    """Return the columns that are measured on the same units, group by group, with the level that a group is of."""
    a, b = map(len, left.levels)
    if design == "paired":
        return [(None, list(range(a * b)))]
    if left.factors[1] == roles.along:
        return [(level, list(range(place * b, (place + 1) * b))) for place, level in enumerate(left.levels[0])]
    if left.factors[0] == roles.along:
        return [(level, list(range(place, a * b, b))) for place, level in enumerate(left.levels[1])]
    return [("", [place]) for place in range(a * b)]


def _dropped(measured: pd.DataFrame, level: Any) -> list[Any]:
    """Return the units of several measures that lack one; a trial of a level without any was never planned."""
    if measured.shape[1] == 1:
        return []
    missing = measured.isna()
    return list(measured.index[missing.any(axis=1) & ~(missing.all(axis=1) & (level is not None))])


def contrasts_of(a: int, b: int) -> list[Values]:
    """Return orthonormal contrasts of a × b cells for both main effects and the interaction, shape (k, cells)."""
    mean_a, mean_b = np.full((1, a), a**-0.5), np.full((1, b), b**-0.5)
    return [np.kron(*pair) for pair in ((helmert(a), mean_b), (mean_a, helmert(b)), (helmert(a), helmert(b)))]


def _effect(groups: list[Values], contrasts: Values, notes: list[str]) -> Result:
    scores = scores_of(groups, contrasts)
    deviations = np.concatenate([group - group.mean(axis=0) for group in scores])
    n = sum(group.size for group in groups)
    if constant(deviations, like=tuple(groups)):
        return _not_tested("the differences do not vary", notes, n=n)[0]
    test = f_test(scores)
    if len(groups) == 1:
        said = doubts_of_differences(scores[0])
    elif min(map(len, groups)) < FEWEST:
        said = [UNCHECKED]
    else:
        of_each = groups if groups[0].shape[1] == 1 else scores
        said = [skewed for skewed in [not_normal([column for group in of_each for column in group.T])] if skewed]
    return {
        "n": n,
        "statistic": float(test.statistic),
        "df": float(test.df),
        "df_error": float(test.df_error),
        "p_value": float(test.p),
        "partial_eta_squared": float(1 / (1 + test.df_error / (test.statistic * test.df))) if test.statistic else 0.0,
        "note": "; ".join([*notes, *said]),
    }


def _classical(runs: _Runs, roles: Roles) -> list[Result]:
    """The analysis of variance of all values."""
    # Takes two seconds, which other commands should not wait for.
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    left, notes, reason = _crossed(runs)
    cells = [cell.dropna().to_numpy() for _, cell in left.table.items()]
    n = sum(map(len, cells))
    if not reason and n <= len(cells):
        reason = f"{n} values in {len(cells)} cells leave none to estimate the error"
    if reason:
        return _not_tested(reason, notes, n=n)
    places = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    columns = len(left.levels[1])
    table = pd.DataFrame({"a": places // columns, "b": places % columns, "value": np.concatenate(cells)})
    model = ols("value ~ C(a, Sum) * C(b, Sum)", table).fit()
    anova = anova_lm(model, typ=3)
    error = anova.loc["Residual"]
    unequal = variances_differ(cells)
    robust = _analysed(runs, "independent", roles) if unequal else [{}] * 3
    skewed = not_normal(cells)
    fewest = min(map(len, cells))
    means = [float(cell.mean()) for cell in cells]
    return [
        {
            "n": n,
            "statistic": anova.loc[term, "F"],
            "df": anova.loc[term, "df"],
            "df_error": error["df"],
            "p_value": anova.loc[term, "PR(>F)"],
            "partial_eta_squared": anova.loc[term, "sum_sq"] / (anova.loc[term, "sum_sq"] + error["sum_sq"]),
            "fewest": fewest,
            "means": means,
            "note": "; ".join(
                [*notes]
                + ([UNCHECKED] if fewest < FEWEST else [])
                + ([f"{unequal}: Box p={other['p_value']:.3g}"] if unequal else [])
                + ([skewed] if skewed else [])
            ),
        }
        for term, other in zip(("C(a, Sum)", "C(b, Sum)", "C(a, Sum):C(b, Sum)"), robust, strict=True)
    ]

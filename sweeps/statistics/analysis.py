"""Hypothesis tests on the rows of a sweep: which levels of a factor differ, at which ratio.

Pure computation on a DataFrame with one row per pruned model. Tables and pictures for people are in
`reporting`.
"""

import difflib
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sweeps.statistics.effect_size import hedges_g
from sweeps.statistics.roles import DEFAULT_ROLES, Roles

ALPHA = 0.05

Design = Literal["paired", "independent"]
Levels = tuple[Any, ...]

_TESTS = {"paired": "repeated-measures one-way ANOVA", "independent": "one-way ANOVA"}
_RESULTS = ("statistic", "p_value", "effect_size", "effect_low", "effect_high")


def contrasts(
    rows: pd.DataFrame,
    *,
    metric: str,
    design: Design = "paired",
    roles: Roles = DEFAULT_ROLES,
) -> pd.DataFrame:
    """Compare every two levels of one factor, the other factors fixed, at each ratio.

    Factors are the axes that are neither repeated over nor run along. A contrast is made where both levels have rows,
    with one line per ratio at which either has some. Levels are in sorted order, `level_a` before `level_b`;
    lines are ordered by factor, fixed levels, pair of levels, ratio.

    `independent` is the one-way ANOVA. `paired` treats every replicate as a block, for models that share a
    checkpoint: on the blocks complete in both levels, the repeated-measures one-way ANOVA, whose F for two
    levels is t² of the paired t test. Means, standard deviations (of the sample) and counts are those of the
    values tested, and `note` says what was dropped. A test that cannot be made has a NaN p-value and the
    reason in `note`.

    `effect_size` is Hedges' g (see `effect_size.py`), positive where `level_a` is larger, in units of the
    pooled standard deviation (`paired`: of that of the differences).

    `p_holm` holds the family-wise error rate of one question, "does this factor matter, these others
    fixed?", at its nominal level: its family is every pair of levels at every ratio, so that neither looking
    at nine ratios nor trying many levels makes a finding more likely. Holm's step-down (1979, Scandinavian
    Journal of Statistics 6) needs no independence, which tests at ratios pruned from one checkpoint lack.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare.
        design: `paired` or `independent`.
        roles: of the key columns.

    Returns:
        Columns `factor, level_a, level_b`, the factors (empty for the one that varies), `along`, then
        `metric, design, n_a, n_b, mean_a, mean_b, sd_a, sd_b, statistic, p_value, p_holm, effect_size,
        effect_low, effect_high, test, note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or a key occurs twice.
    """
    check_rows(rows, metric=metric, axes=roles.axes)
    factors, replicate, along = roles.factors, roles.replicate, roles.along
    cells = _cells(rows, metric=metric, roles=roles)
    lines: list[dict[str, Any]] = []
    for position, factor in enumerate(factors):
        questions: dict[Levels, list[Levels]] = {}
        for levels in sorted(cells):
            fixed = (*levels[:position], "", *levels[position + 1 :])
            questions.setdefault(fixed, []).append(levels)
        for fixed, configurations in questions.items():
            family = [
                {"factor": factor, "level_a": a[position], "level_b": b[position]}
                | dict(zip(factors, fixed, strict=True))
                | {along: ratio, "metric": metric, "design": design, "test": _TESTS[design]}
                | _compare(
                    cells[a].get(ratio, _NO_RUNS),
                    cells[b].get(ratio, _NO_RUNS),
                    names=(str(a[position]), str(b[position])),
                    design=design,
                    replicate=replicate,
                )
                for a, b in combinations(configurations, 2)
                for ratio in sorted(cells[a].keys() | cells[b].keys())
            ]
            corrected = holm([line["p_value"] for line in family])
            lines += [line | {"p_holm": p} for line, p in zip(family, corrected, strict=True)]
    columns = ["factor", "level_a", "level_b", *factors, along, "metric", "design", "n_a", "n_b"]
    columns += ["mean_a", "mean_b", "sd_a", "sd_b", "statistic", "p_value", "p_holm"]
    columns += ["effect_size", "effect_low", "effect_high", "test", "note"]
    return pd.DataFrame(lines, columns=columns)


def check_rows(rows: pd.DataFrame, *, metric: str, axes: Sequence[str]) -> None:
    """Raise `ValueError` unless `rows` has a complete, unique key and a numeric column `metric`."""
    for axis in axes:
        if axis not in rows:
            raise ValueError(f"key column {axis!r} is missing from the rows, expected {', '.join(axes)}")
        if rows[axis].isna().any():
            raise ValueError(f"key column {axis!r} is empty in {rows[axis].isna().sum()} of {len(rows)} rows")
    if metric not in rows:
        measured = [str(column) for column in rows.columns if column not in axes]
        nearest = difflib.get_close_matches(metric, measured, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(measured) or 'none'}"
        raise ValueError(f"metric {metric!r} is not a column of the rows; {hint}")
    if len(rows) and not pd.api.types.is_numeric_dtype(rows[metric]):
        raise ValueError(f"metric {metric!r} holds {rows[metric].dtype} values, expected numbers")
    twice = rows.duplicated(list(axes))
    if twice.any():
        key = ", ".join(f"{axis} {rows[axis][twice].iloc[0]}" for axis in axes)
        raise ValueError(f"{twice.sum()} of {len(rows)} rows repeat the key of another, the first is {key}")


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Holm-corrected p-values of one family, in the order given; NaN, a test not made, does not count."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]
    corrected = np.full(p.shape, np.nan)
    steps = np.arange(len(order), 0, -1) * p[order]
    corrected[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return corrected


_NO_RUNS = pd.Series(dtype=float)


def _cells(rows: pd.DataFrame, *, metric: str, roles: Roles) -> dict[Levels, dict[float, "pd.Series[float]"]]:
    """Per configuration and ratio, the metric indexed by replicate; NaN where it is not finite."""
    values = rows[metric].to_numpy(dtype=float, na_value=np.nan)
    keys = zip(*(rows[axis].tolist() for axis in (*roles.factors, roles.along, roles.replicate)), strict=True)
    cells: dict[Levels, dict[float, dict[Any, float]]] = {}
    for (*levels, ratio, block), value in zip(keys, values, strict=True):
        cell = cells.setdefault(tuple(levels), {}).setdefault(ratio, {})
        cell[block] = value if np.isfinite(value) else np.nan
    return {
        levels: {ratio: pd.Series(cell, dtype=float).sort_index() for ratio, cell in by_ratio.items()}
        for levels, by_ratio in cells.items()
    }


class _Test(NamedTuple):
    statistic: float
    p_value: float
    t: float
    df: int
    n_effective: float


def _compare(
    a: "pd.Series[float]", b: "pd.Series[float]", *, names: tuple[str, str], design: Design, replicate: str
) -> dict[str, Any]:
    """One cell of a contrast: sizes, means, the test and its effect size, or why there is none."""
    if design == "paired":
        blocks = pd.DataFrame({"a": a, "b": b})
        notes = _dropped(blocks.isna().any(axis=1), f"dropped {replicate}", "without a value in both")
        a, b = blocks.dropna()["a"], blocks.dropna()["b"]
        test = _paired(a, b)
    else:
        notes = [
            note
            for name, group in zip(names, (a, b), strict=True)
            for note in _dropped(group.isna(), f"{name}: dropped {replicate}", "without a finite value")
        ]
        a, b = a.dropna(), b.dropna()
        test = _independent(a, b)
    line: dict[str, Any] = {"n_a": len(a), "n_b": len(b), "mean_a": a.mean(), "mean_b": b.mean()}
    line |= {"sd_a": a.std(), "sd_b": b.std()}
    if isinstance(test, str):
        notes.append(f"not tested: {test}")
    else:
        line |= {"statistic": test.statistic, "p_value": test.p_value}
        if test.df >= 2:
            effect = hedges_g(test.t, df=test.df, n_effective=test.n_effective)
            line |= {"effect_size": effect.g, "effect_low": effect.low, "effect_high": effect.high}
        else:
            notes.append("no effect size: 2 complete blocks, it needs 3")
    return dict.fromkeys(_RESULTS, np.nan) | line | {"note": "; ".join(notes)}


def _dropped(missing: "pd.Series[bool]", what: str, why: str) -> list[str]:
    names = ", ".join(str(block) for block in missing.index[missing])
    return [f"{what} {names} {why}"] if names else []


def _paired(a: "pd.Series[float]", b: "pd.Series[float]") -> _Test | str:
    """The test on complete blocks, or the reason why it cannot be made."""
    if len(a) < 2:
        return f"{len(a)} complete blocks, a test needs 2"
    if np.ptp(a - b) <= _rounding(a, b):
        return "the differences do not vary"
    t, p = stats.ttest_rel(a, b)
    return _Test(statistic=t**2, p_value=p, t=t, df=len(a) - 1, n_effective=len(a))


def _independent(a: "pd.Series[float]", b: "pd.Series[float]") -> _Test | str:
    """The test on two groups, or the reason why it cannot be made."""
    if min(len(a), len(b)) < 2:
        return f"groups of {len(a)} and {len(b)}, a test needs 2 in each"
    if max(np.ptp(a), np.ptp(b)) <= _rounding(a, b):
        return "neither group varies"
    f, p = stats.f_oneway(a, b)
    t = float(np.copysign(np.sqrt(f), a.mean() - b.mean()))
    n_effective = len(a) * len(b) / (len(a) + len(b))
    return _Test(statistic=f, p_value=p, t=t, df=len(a) + len(b) - 2, n_effective=n_effective)


def _rounding(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    """The spread that decimals such as 0.3 - 0.2 and 0.2 - 0.1 show though they are equal."""
    return float(64 * np.finfo(float).eps * max(a.abs().max(), b.abs().max()))

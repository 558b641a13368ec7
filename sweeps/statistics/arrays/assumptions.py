"""Checks of what a t test or an ANOVA assumes, and the robust tests to read beside it where that is in doubt.

A doubt is a clause of a note: `values not normal (Shapiro-Wilk p=0.003): permutation p=0.0123`. It says what is in
doubt, by which check, and the p-values of the tests that do without the assumption. A check cannot see anything in
fewer than five values, and is not made there: `UNCHECKED` says so.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from sweeps.statistics.arrays.permutation import relabelling_p, sign_flip_p
from sweeps.statistics.arrays.t_tests import t_test
from sweeps.statistics.samples import Design, Values, constant

LEVEL = 0.05
"""Of the checks, each for itself: one in twenty raises a doubt where there is no cause."""

FEWEST, MOST = 5, 5000
"""Values that a check is made on; the p-values of Shapiro and Wilk hold up to 5000."""

UNCHECKED = f"fewer than {FEWEST} values: assumptions cannot be checked"
"""The clause of a note beside a test of so few."""

_DOUBT = re.compile(r"(?P<doubt>[^();]+) \((?P<check>[\w-]+) p=[^)]+\)(?:: (?P<robust>[^;]+))?")
_ROBUST = re.compile(r"(?P<test>[^,]+?) p=(?P<p>[^,]+)(?:, )?")


class Doubt(NamedTuple):
    """A doubt as read from a note: what, by which check, and the robust tests with their p-values."""

    what: str
    check: str
    robust: dict[str, float]


def read_doubt(clause: str) -> Doubt | None:
    """Return what a clause of a note doubts, or None where it says something else."""
    found = _DOUBT.fullmatch(clause)
    if found is None:
        return None
    robust = {test: float(p) for test, p in _ROBUST.findall(found["robust"] or "")}
    return Doubt(found["doubt"], found["check"], robust)


def doubts(a: Values, b: Values, *, design: Design, classical: bool = False) -> list[str]:
    """Return the doubts about comparing the means of two samples, which can be tested, or that there can be none.

    `paired`: normality of the differences, by Shapiro and Wilk (1965, Biometrika 52); beside it Wilcoxon's signed ranks
    and all flips of the signs of differences. `independent`: normality within each group; beside it the test of Kruskal
    and Wallis, and all ways to label the values (see `permutation.py`). `classical`, before that: equal variances, by
    Brown and Forsythe (1974, Journal of the American Statistical Association 69), which unlike Bartlett's test is not
    misled by other shapes; beside it Welch's test.
    """
    if design == "paired":
        return doubts_of_differences((a - b)[:, None])
    if min(len(a), len(b)) < FEWEST:
        return [UNCHECKED]
    found = []
    unequal = variances_differ([a, b]) if classical else ""
    if unequal:
        found.append(f"{unequal}: Welch p={t_test(a, b, design=design).p:.3g}")
    skewed = not_normal([a, b])
    if skewed:
        ranks = stats.kruskal(a, b).pvalue
        found.append(f"{skewed}: Kruskal-Wallis p={ranks:.3g}, permutation p={relabelling_p(a, b):.3g}")
    return found


def doubts_of_differences(differences: Values) -> list[str]:
    """Return the doubt, if any, about testing by t or F whether the means of differences that vary are zero.

    Args:
        differences: shape (blocks, k), of each block k contrasts of its values. Signed ranks are for one alone.
    """
    if len(differences) < FEWEST:
        return [UNCHECKED]
    skewed = not_normal(list(differences.T), "differences")
    if not skewed:
        return []
    robust = {"sign flips": sign_flip_p(differences)}
    if differences.shape[1] == 1:
        robust = {"Wilcoxon": float(stats.wilcoxon(differences[:, 0]).pvalue)} | robust
    return [f"{skewed}: {', '.join(f'{test} p={p:.3g}' for test, p in robust.items())}"]


def variances_differ(groups: Sequence[Values]) -> str:
    """Say that the variances of groups differ, and how sure that is; nothing where they need not, or cannot be told."""
    if min(map(len, groups)) < FEWEST:
        return ""
    # Deviations from the median that are all alike leave nothing to divide by.
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.levene(*groups, center="median").pvalue
    return f"variances differ (Brown-Forsythe p={p:.2g})" if p < LEVEL else ""


def not_normal(groups: Sequence[Values], what: str = "values") -> str:
    """Say that groups are not normal, and how sure that is; nothing where they may be, or cannot be told.

    The p-value is the smallest of the groups that vary, times their number. The residuals of all groups together would
    be taken for heavy-tailed wherever variances differ, and in units of each group's own would hide its outliers.
    """
    fit = [group for group in groups if FEWEST <= len(group) <= MOST and not constant(group, like=tuple(groups))]
    if not fit:
        return ""
    p = len(fit) * min(stats.shapiro(group).pvalue for group in fit)
    return f"{what} not normal (Shapiro-Wilk p={p:.2g})" if p < LEVEL else ""

"""How often each test that `sweeps analyze` and `sweeps power` offer errs, and how often its intervals hold the truth.

Experiments are simulated in which nothing differs, or in which what differs is known, with 3, 5 and 10 replicates, and
standard deviations that are equal or one to four. A type I error at 5% should occur in .04 to .06 of the sets, an
interval should hold the truth within 1.5 points of what it says. A line that lies outside says why; one that nobody
knows the reason of makes the exit status 1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from benchmarks.output import parser, write
from sweeps.statistics.arrays.box import f_test, scores_of
from sweeps.statistics.arrays.effect_size import hedges_g
from sweeps.statistics.arrays.permutation import relabelling_ps, sign_flip_p
from sweeps.statistics.arrays.ratio_of_means import ratio_of_means
from sweeps.statistics.arrays.t_tests import t_test
from sweeps.statistics.equal_size import Curve, common
from sweeps.statistics.power import spread_of
from sweeps.statistics.samples import Design, Values
from sweeps.statistics.two_way import contrasts_of

LEVEL, ERRORS, COVERAGE = 0.05, (0.04, 0.06), 0.015
SIZES, SPREADS = (3, 5, 10), (1, 4)

RATIOS = np.array([0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99])
"""At which the curves of `--against` are measured."""


class Found(NamedTuple):
    """What one test did in so many sets: the share of sets, and those within which it should lie."""

    test: str
    what: str
    share: float
    low: float
    high: float
    sets: int


class Case(NamedTuple):
    """Sets of experiments: the replicates of each, and by what the first level varies more than the second."""

    rng: np.random.Generator
    sets: int
    n: int
    spread: int

    def normal(self, *shape: int) -> Values:
        """Return unit normal values for every set."""
        return self.rng.normal(size=(self.sets, *shape))

    def pair(self, design: Design, apart: float = 0.0) -> tuple[Values, Values]:
        """Return both samples, of means that far apart; `paired`: with what blocks share, twice as large."""
        shared = 2 * self.normal(self.n) * (design == "paired")
        return self.spread * self.normal(self.n) + shared + apart, self.normal(self.n) + shared


DESIGNS: dict[str, tuple[Design, bool]] = {
    "paired": ("paired", False),
    "Welch": ("independent", False),
    "classical": ("independent", True),
}


def main() -> None:
    """Simulate, and print a line for each test, size and spread."""
    command = parser(__doc__)
    command.add_argument("--sets", type=int, default=2000, help="of simulated experiments for each line")
    arguments = command.parse_args()
    lines = list(measured(arguments.sets))
    write(lines, arguments.format)
    sys.exit(any(line["remark"] == UNKNOWN for line in lines))


def measured(sets: int) -> Iterator[dict[str, Any]]:
    """Yield every line, by test, then size and spread."""
    for simulate in (one_way, effect_sizes, equivalence, two_way, repeated_two_way, permutations, at_equal, spreads):
        for n in SIZES:
            for spread in SPREADS:
                case = Case(np.random.default_rng([n, spread]), sets, n, spread)
                for found in simulate(case):
                    yield {
                        "test": found.test,
                        "n": n,
                        "sd": f"{spread}:1",
                        "what": found.what,
                        "nominal": (found.low + found.high) / 2,
                        "measured": found.share,
                        "remark": remark(found, case),
                    }


def one_way(case: Case) -> Iterator[Found]:
    """Two levels: the test of the difference of means; its interval is the same statement, of a difference of one."""
    for name, (design, classical) in DESIGNS.items():
        test = t_test(*case.pair(design), design=design, classical=classical)
        yield error(f"one-way {name}", test.p)
        low, high = t_test(*case.pair(design, 1.0), design=design, classical=classical).interval(0.95)
        yield coverage(f"one-way {name}", "difference", low, high, 1.0, 0.95)


def effect_sizes(case: Case) -> Iterator[Found]:
    """Hedges' g, where the truth is one standard deviation of its design."""
    for name, (design, classical) in DESIGNS.items():
        # Of differences, what blocks share cancels out.
        sd = math.sqrt((case.spread**2 + 1) / (1 if design == "paired" else 2))
        test = t_test(*case.pair(design, sd), design=design, classical=classical)
        usable = test.df >= 2
        effect = hedges_g(test.t[usable], df=test.df[usable], n_effective=test.n_effective[usable])
        yield coverage(f"one-way {name}", "Hedges' g", effect.low, effect.high, 1.0, 0.95)


def equivalence(case: Case) -> Iterator[Found]:
    """Means that differ by just the margin, 20%, in units in which the other end of the margin is far away."""
    for name, (design, classical) in DESIGNS.items():
        a, b = (each / 1000 for each in case.pair(design))
        ratio = ratio_of_means(1.2 + a, 1.0 + b, design=design, classical=classical)
        yield error(f"equivalence {name}", ratio.p_value(0.2))
        low, high = ratio.interval(0.9)
        yield coverage(f"equivalence {name}", "ratio of means", low, high, 1.2, 0.9)


def two_way(case: Case) -> Iterator[Found]:
    """Two by three independent cells, of which those of the first level vary more."""
    spreads = np.repeat([case.spread, 1], 3)
    cells = [spread * case.normal(case.n, 1) for spread in spreads]
    values = np.concatenate(cells, axis=-1)
    for effect, contrasts in zip(("first", "second", "both"), contrasts_of(2, 3), strict=True):
        yield error(f"two-way Box: {effect}", f_test(scores_of(cells, contrasts)).p)
        yield error(f"two-way classical: {effect}", classical_p(values, contrasts))


def classical_p(values: Values, contrasts: Values) -> Values:
    """Return p of contrasts of cells, shape (sets, replicates, cells), with one variance for all that are independent.

    With as many values in each cell, the ANOVA of type III is that of the contrasts of means.
    """
    replicates, cells = values.shape[1:]
    effect = np.square(values.mean(axis=1) @ contrasts.T).sum(axis=-1) * replicates / len(contrasts)
    within = values.var(axis=1, ddof=1).mean(axis=-1)
    p: Values = special.fdtrc(len(contrasts), cells * (replicates - 1), effect / within)
    return p


def repeated_two_way(case: Case) -> Iterator[Found]:
    """A factor and the ratio, at five values of which trials share what they are, and vary less the more is pruned."""
    falling = np.linspace(1, 0.2, 5)
    trials = [spread * falling * (case.normal(case.n, 5) + 2 * case.normal(case.n, 1)) for spread in (case.spread, 1)]
    blocks = np.concatenate(trials, axis=-1) + 3 * case.normal(case.n, 1)
    for effect, contrasts in zip(("factor", "ratio", "both"), contrasts_of(2, 5), strict=True):
        yield error(f"two-way with ratio, trials: {effect}", f_test(scores_of(trials, contrasts)).p)
        yield error(f"two-way with ratio, paired: {effect}", f_test(scores_of([blocks], contrasts)).p)
        if effect == "factor":
            yield error(f"two-way with ratio, {REFUSED}", classical_p(np.concatenate(trials, axis=-1), contrasts))


def permutations(case: Case) -> Iterator[Found]:
    """The tests that notes name where normality is in doubt, which is from five values on."""
    if case.n < 5:
        return
    a, b = case.pair("independent")
    yield error("permutation of labels", relabelling_ps(a, b))
    yield error("Kruskal-Wallis", stats.kruskal(a, b, axis=-1).pvalue)
    a, b = case.pair("paired")
    yield error("sign flips", np.array([sign_flip_p(each[:, None]) for each in a - b]))
    yield error("Wilcoxon", stats.wilcoxon(a - b, axis=-1).pvalue)


def at_equal(case: Case) -> Iterator[Found]:
    """Two structures of one curve, of which the second is smaller at each ratio; sizes vary by 3% between trials."""
    # Curves are interpolated one by one.
    case = case._replace(sets=max(case.sets // 4, 1))
    for name, (design, classical) in list(DESIGNS.items())[:2]:
        shared = 0.02 * case.normal(case.n, 1) * (design == "paired")
        groups = []
        for power, spread in ((1.0, case.spread), (1.5, 1)):
            sizes = (1 - RATIOS) ** power * np.exp(0.03 * case.normal(case.n, len(RATIOS)))
            noise = 0.01 * spread * (case.normal(case.n, 1) + 0.3 * case.normal(case.n, len(RATIOS)))
            groups.append((sizes, 0.7 * (1 - np.exp(-4 * sizes)) + noise + shared))
        values = np.array([_compared(groups, index) for index in range(case.sets)])
        test = t_test(values[:, 0], values[:, 1], design=design, classical=classical)
        yield error(f"at equal size, {name}", test.p)
        test = t_test(values[:, 0] + 0.02, values[:, 1], design=design, classical=classical)
        yield coverage(f"at equal size, {name}", "difference", *test.interval(0.95), 0.02, 0.95)


def _compared(groups: list[tuple[Values, Values]], index: int) -> Values:
    """The metric of both groups at the places where curves are compared, shape (2, places, replicates)."""
    curves = [
        [Curve(*(each[np.argsort(x)] for each in (x, y))) for x, y in zip(sizes[index], metric[index], strict=True)]
        for sizes, metric in groups
    ]
    places = common([curve for group in curves for curve in group])
    return np.array([[curve.at(places) for curve in group] for group in curves]).swapaxes(1, 2)


def spreads(case: Case) -> Iterator[Found]:
    """The standard deviation that `sweeps power` plans by."""
    for name, (design, classical) in DESIGNS.items():
        truth = math.sqrt((case.spread**2 + 1) / (1 if design == "paired" else 2))
        spread = spread_of(*case.pair(design), design=design, classical=classical)
        yield coverage(f"power {name}", "standard deviation", spread.sd_low, spread.sd_high, truth, 0.95)


def error(test: str, p: npt.ArrayLike) -> Found:
    """Return how often a test errs whose hypothesis is true."""
    return Found(test, "type I error", float(np.mean(np.asarray(p) < LEVEL)), *ERRORS, len(np.asarray(p)))


def coverage(test: str, of: str, low: Values, high: Values, truth: float, nominal: float) -> Found:
    """Return how often an interval holds the truth; one without ends does."""
    held = ~((low > truth) | (high < truth))
    return Found(test, f"coverage of {of}", float(held.mean()), nominal - COVERAGE, nominal + COVERAGE, len(held))


UNKNOWN = "OUTSIDE, for no reason that is known"


def careful(found: Found) -> bool:
    """Say whether a test errs less often than it may, or an interval holds the truth more often than it says."""
    return found.share < found.low if found.what == "type I error" else found.share > found.high


REFUSED = "classical, not offered"

REASONS: dict[str, Callable[[Found, Case], bool]] = {
    "takes what one trial gives for independent: why it is refused": lambda found, case: REFUSED in found.test,
    "one variance for groups whose variances differ: why it is not the default": lambda found, case: (
        "classical" in found.test and case.spread > 1 and not careful(found)
    ),
    "careful: Welch's degrees of freedom are estimated, too low from few values": lambda found, case: (
        "Welch" in found.test and case.n < 10 and careful(found)
    ),
    "careful: epsilon and Box's degrees of freedom are estimated, too low from few units": lambda found, case: (
        "two-way" in found.test and "classical" not in found.test and careful(found)
    ),
    "five differences have 16 signs: p is never below .0625": lambda found, case: (
        found.test in ("sign flips", "Wilcoxon") and case.n == 5 and found.share == 0
    ),
    "takes groups that vary unequally for unequal": lambda found, case: (
        found.test in ("permutation of labels", "Kruskal-Wallis") and case.spread > 1 and not careful(found)
    ),
}
"""Why a line lies outside, and of which lines that is so."""


def remark(found: Found, case: Case) -> str:
    """Return nothing where a share is as it should be, else the reason."""
    if found.low <= found.share <= found.high:
        return ""
    for reason, holds in REASONS.items():
        if holds(found, case):
            return reason
    nearest = found.low if found.share < found.low else found.high
    chance = math.sqrt(nearest * (1 - nearest) / found.sets)
    return "chance: within two standard errors" if abs(found.share - nearest) < 2 * chance else UNKNOWN


if __name__ == "__main__":
    main()

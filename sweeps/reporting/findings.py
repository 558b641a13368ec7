"""What tests found, in plain sentences: nothing is said that no test carries.

Nothing is computed here: what is significant, and what earns a star, is decided in `statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sweeps.reporting.summary import briefly, decimals
from sweeps.statistics.arrays.assumptions import FEWEST, read_doubt
from sweeps.statistics.marks import ALPHA, AT_FLOOR, STAR, UNCHECKED_MARK
from sweeps.statistics.means import in_words, named
from sweeps.statistics.roles import Roles

_NOT_TESTED = "not tested: "
_ENDS = ("difference_low", "difference_high")

UNCHECKED_MEANS = (
    f"p < {ALPHA:g} after Holm's correction, but of fewer than {FEWEST} values, where the assumptions of the tests "
    "cannot be checked: to be confirmed with more"
)
"""What is to be known of `Findings.unchecked`."""

Line = dict[Hashable, Any]


class Findings(NamedTuple):
    """Sentences on the tests of a metric.

    Attributes:
        differ: what differs, and is starred; the largest difference first.
        unchecked: what does by tests of so few values that their assumptions cannot be checked.
        at_floor: differences that count for nothing, since what was measured is lost on both sides.
        not_shown: what was tested, and shows no difference.
        untested: what could not be tested, and why.
    """

    differ: list[str]
    unchecked: list[str]
    at_floor: list[str]
    not_shown: list[str]
    untested: list[str]


def findings(tests: pd.DataFrame, *, label: str, roles: Roles) -> Findings:
    """Return what the lines of `contrasts` say.

    Args:
        tests: of one metric.
        label: of the metric.
        roles: of the key columns.
    """
    say = _Sayer(label, _digits(tests), roles, told=_varying(tests, roles))
    differ: list[tuple[float, str]] = []
    unchecked: list[tuple[float, str]] = []
    at_floor, not_shown = list[str](), list[str]()
    untested: dict[tuple[str, str], list[str]] = {}
    for lines in _by_pair(tests, roles):
        for mark, said in ((STAR, differ), (UNCHECKED_MARK, unchecked)):
            marked = [line for line in lines if line["mark"] == mark]
            for sign in (1, -1):
                alike = [line for line in marked if math.copysign(1, line["difference"]) == sign]
                if alike:
                    said.append(say.differ(alike))
        floored = [line for line in lines if AT_FLOOR in line["note"]]
        if floored:
            at_floor.append(say.at_floor(floored))
        none = [line for line in lines if line["p_holm"] >= ALPHA]
        if none:
            not_shown.append(say.not_shown(none))
        reasons: dict[str, list[float]] = {}
        for line in lines:
            if math.isnan(line["p_value"]):
                reasons.setdefault(_reason(line["note"]), []).append(line[roles.along])
        for reason, places in reasons.items():
            untested.setdefault((roles.where(places), reason), []).append(say.pair(lines[0]))
    return Findings(
        _largest_first(differ),
        _largest_first(unchecked),
        at_floor,
        not_shown,
        [f"At {where}, {reason}: {'; '.join(pairs)}." for (where, reason), pairs in untested.items()],
    )


def _digits(tests: pd.DataFrame) -> int:
    """Return decimals for means that leave two significant digits of the smallest difference that has a mark."""
    digits = decimals(tests[["mean_a", "mean_b"]].abs().max().max())
    marked = tests["difference"].abs()[tests["mark"].isin([STAR, UNCHECKED_MARK])]
    return digits if marked.empty else max(digits, 1 - int(f"{marked.min():.1e}".partition("e")[2]))


def _largest_first(said: list[tuple[float, str]]) -> list[str]:
    return [sentence for _, sentence in sorted(said, key=lambda each: -each[0])]


def how_tested(tests: pd.DataFrame, *, label: str, roles: Roles) -> str:
    """Return what a reader must know of the tests, of which there is one at least, and of what is not claimed.

    Args:
        tests: of one metric.
        label: of the metric.
        roles: of the key columns.
    """
    first = tests.iloc[0]
    groups = f"in blocks of {roles.replicate}s" if first["design"] == "paired" else "between independent groups"
    made = int(tests["p_value"].notna().sum())
    return (
        f"{label}: {made} test{'s' * (made != 1)} ({first['test']}, {groups}). Two levels differ where p < {ALPHA:g} "
        f"after Holm's correction over all pairs of levels of a factor, at all values of {roles.along}, the other "
        "factors fixed, each metric by itself; an interval is of its difference alone, uncorrected. Where no "
        "difference is shown there may still be one: the intervals say how large it could be."
    )


class _Sayer:
    """Puts lines of one pair of levels in words."""

    def __init__(self, label: str, digits: int, roles: Roles, *, told: list[str]) -> None:
        self._label, self._digits, self._roles, self._told = label, digits, roles, told

    def pair(self, line: Line) -> str:
        """Return what was compared: `deeplift and hydra (unstructured · rgb)`."""
        return f"{self._level(line, 'a')} and {self._level(line, 'b')}{self._given(line)}"

    def differ(self, lines: list[Line]) -> tuple[float, str]:
        """Return the largest difference of lines of one direction, and a sentence on it and on where there are more."""
        most = max(lines, key=lambda line: abs(line["difference"]))
        larger, smaller = ("a", "b") if most["difference"] > 0 else ("b", "a")
        ends = sorted(math.copysign(1, most["difference"]) * most[end] for end in _ENDS)
        said = (
            f"At {self._at([most])}, {self._label} is {self._number(most[f'mean_{larger}'])} for "
            f"{self._level(most, larger)} and {self._number(most[f'mean_{smaller}'])} for {self._level(most, smaller)}"
            f"{self._given(most)}: a difference of {self._number(abs(most['difference']))}, 95% interval "
            f"{self._number(ends[0])} to {self._number(ends[1])}, {self._count([most], larger, smaller)}"
        )
        others = [line for line in lines if line is not most]
        also = f" It is larger for {self._level(most, larger)} at {self._at(others)} too" if others else ""
        return abs(most["difference"]), f"{said}{self._doubts([most])}.{also}{self._doubts(others)}{'.' * bool(also)}"

    def at_floor(self, lines: list[Line]) -> str:
        """Return a sentence on differences that are none worth the name."""
        at = lines[0]["note"].partition(AT_FLOOR)[2].split(";")[0].strip()
        return (
            f"At {self._at(lines)}, {self.pair(lines[0])}: both means are {at} or less, where nothing is left to tell "
            "apart."
        )

    def not_shown(self, lines: list[Line]) -> str:
        """Return a sentence on tests that show nothing, and on how large a difference could be all the same."""
        low, high = min(line["difference_low"] for line in lines), max(line["difference_high"] for line in lines)
        of = f"{self._level(lines[0], 'a')} less {self._level(lines[0], 'b')}"
        number = f"{{:+.{self._digits}f}}".format
        what = f"the 95% interval of {of} is" if len(lines) == 1 else f"all 95% intervals of {of} lie within"
        return (
            f"At {self._at(lines)}, no difference is shown between {self.pair(lines[0])}: {what} {number(low)} to "
            f"{number(high)}, {self._count(lines, 'a', 'b')}{self._doubts(lines)}."
        )

    def _doubts(self, lines: list[Line]) -> str:
        """Return each doubt about the tests of lines, and at which of them if there are several."""
        along = self._roles.along
        clauses = [(clause, line[along]) for line in lines for clause in line["note"].split("; ") if read_doubt(clause)]
        return "".join(
            f"; at {self._roles.where(places)}, {said}" if len(lines) > 1 else f"; {said}"
            for said, places in briefly(clauses)
        )

    def _at(self, lines: list[Line]) -> str:
        return self._roles.where([line[self._roles.along] for line in lines])

    def _level(self, line: Line, side: str) -> str:
        level, factor = line[f"level_{side}"], line["factor"]
        if isinstance(level, str):
            # Levels of a study's own axes speak for themselves; `null`, or `0.5` beside it, of a setting do not.
            return f"{factor} {level}" if factor in self._roles.fields else level
        return f"{factor} {str(level).lower()}" if isinstance(level, bool | np.bool_) else f"{factor} {level:g}"

    def _given(self, line: Line) -> str:
        fixed = in_words(named([*self._told], [line[factor] for factor in self._told]))
        return f" ({fixed})" if fixed else ""

    def _count(self, lines: list[Line], first: str, second: str) -> str:
        n, other = ({int(line[f"n_{side}"]) for line in lines} for side in (first, second))
        seeds = f"{self._roles.replicate}s"
        if lines[0]["design"] == "paired":
            return f"n = {_span(n)} {seeds}, paired"
        return f"n = {_span(n)} {seeds} each" if n == other else f"n = {_span(n)} and {_span(other)} {seeds}"

    def _number(self, value: float) -> str:
        return f"{value:.{self._digits}f}"


def _span(counts: set[int]) -> str:
    return f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts)


def _varying(tests: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the factors that need telling: those with several levels among all that was compared."""
    found = []
    for factor in roles.factors:
        compared = tests[tests["factor"] == factor]
        levels = {*compared["level_a"], *compared["level_b"], *tests[factor]} - {""}
        found += [factor] if len(levels) > 1 else []
    return found


def _by_pair(tests: pd.DataFrame, roles: Roles) -> Iterator[list[Line]]:
    for _, lines in tests.groupby(["factor", "level_a", "level_b", *roles.factors], sort=False):
        yield lines.to_dict("records")


def _reason(note: str) -> str:
    clauses = [clause for clause in note.split("; ") if clause.startswith(_NOT_TESTED)]
    return clauses[0].removeprefix(_NOT_TESTED) if clauses else "there is no test"

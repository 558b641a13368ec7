"""Two-way analyses, equivalence tests and power as tables for the terminal; contrasts and means are in `summary.py`."""

import math
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from sweeps.reporting.summary import (
    CONTRAST_MEANS,
    MISSING,
    STAR_MEANS,
    add_columns,
    families,
    format_interval,
    format_number,
    format_p,
    notes,
    plain_view,
    starred,
)
from sweeps.statistics.equal_size import roles_at
from sweeps.statistics.means import configuration_name, in_words, named
from sweeps.statistics.roles import Roles

_TWO_WAY_MEANS = f"{STAR_MEANS}; η²p is the share of an effect in the sum of squares of it and the error"
_EQUIVALENCE_MEANS = (
    "differences are in percent of the second's mean; equivalent: the interval lies within the margin, "
    "different: outside"
)


def two_way_view(tests: pd.DataFrame, *, roles: Roles) -> Table:
    """What `two_way` returns, which is not empty: three lines for each of its analyses."""
    first = tests.iloc[0]
    fixed = [factor for factor in roles.factors if first[factor] != ""]
    groups = {in_words(named(fixed, levels)): lines for levels, lines in _by(tests, fixed)}
    noted = list(chain.from_iterable(_noted(name, lines, roles=roles) for name, lines in groups.items()))
    view = plain_view(f"{first['metric']}: {first['test']}", "\n".join([_TWO_WAY_MEANS, *notes(noted)]))
    add_columns(view, ["", f"{roles.along} →", "effect"], ["F", "df", "p", "Holm", "η²p"])
    for name, lines in groups.items():
        for index, line in enumerate(lines.to_dict("records")):
            place = ["" if index else name, "" if index % 3 else format_number(line[roles.along]), line["effect"]]
            freedom = MISSING if math.isnan(line["df"]) else f"{line['df']:.3g}, {line['df_error']:.3g}"
            numbers = [
                format_number(line["statistic"]),
                freedom,
                format_p(line["p_value"]),
                starred(line["p_holm"], line["mark"]),
            ]
            view.add_row(*map(Text, place), *numbers, format_number(line["partial_eta_squared"], ".3f"))
        view.add_section()
    return view


def _noted(name: str, lines: pd.DataFrame, *, roles: Roles) -> Iterator[tuple[str, pd.DataFrame]]:
    """The lines under the name of what their notes are about: an analysis, or one effect in it."""
    shared = lines.groupby(roles.along, dropna=False)["note"].transform("nunique") == 1
    yield name, lines[shared].drop_duplicates(roles.along).set_index(roles.along)
    for effect, part in lines[~shared].groupby("effect", sort=False):
        yield in_words([effect, name]), part.set_index(roles.along)


def slope_view(tests: pd.DataFrame, *, roles: Roles) -> Table:
    """What `slopes` returns, which is not empty: a line for each configuration."""
    first = tests.iloc[0]
    named_lines = [
        (configuration_name(roles.factors, [line[factor] for factor in roles.factors]), line)
        for line in tests.to_dict("records")
    ]
    noted = [f"{line['note']} — {name}" for name, line in named_lines if line["note"]]
    title = f"{first['metric']} along {roles.along}: {first['test']}"
    view = plain_view(title, "\n".join([STAR_MEANS, *noted]))
    add_columns(view, [""], ["slope", "95% interval", "n", "p", "Holm"])
    for name, line in named_lines:
        interval = format_interval(line["slope_low"], line["slope_high"])
        numbers = [format_number(line["slope"]), interval, str(line["n"]), format_p(line["p_value"])]
        view.add_row(Text(name), *numbers, starred(line["p_holm"], line["mark"]))
    return view


def equivalence_views(tests: pd.DataFrame, *, roles: Roles) -> list[Table]:
    """What `equivalence` returns, as one table per factor: the difference, its interval and the verdict."""
    views = []
    for factor, pairs in families(tests, roles=roles):
        first = pairs[0][1].iloc[0]
        title = f"{factor}: {first['metric']} within ±{first['margin_percent']:g}%, {first['test']}"
        view = plain_view(title, "\n".join([_EQUIVALENCE_MEANS, *notes(pairs)]))
        add_columns(view, ["", f"{roles.along} →"], ["difference", "90% interval", "p", "Holm", "verdict"])
        for name, at, line in _lines(pairs):
            interval = format_interval(line["low_percent"], line["high_percent"], "+.1f")
            p = [format_p(line["p_value"]), format_p(line["p_holm"])]
            view.add_row(name, at, format_number(line["difference_percent"], "+.1f"), interval, *p, line["verdict"])
        views.append(view)
    return views


def equal_views(tests: pd.DataFrame, *, against: str, roles: Roles) -> list[Table]:
    """What `at_equal` returns, as one table per factor: the difference at each common value, with its interval."""
    views = []
    for factor, pairs in families(tests, roles=roles_at(against, roles)):
        first = pairs[0][1].iloc[0]
        title = f"{factor}: {first['metric']} at equal {against}, {first['test']}"
        view = plain_view(title, "\n".join([f"differences are interpolated; {CONTRAST_MEANS}", *notes(pairs)]))
        add_columns(view, ["", f"{against} →"], ["difference", "95% interval", "p", "Holm", "g"])
        for name, at, line in _lines(pairs):
            interval = format_interval(line["difference_low"], line["difference_high"], "+.3g")
            p = [format_p(line["p_value"]), starred(line["p_holm"], line["mark"])]
            view.add_row(
                name,
                at,
                format_number(line["difference"], "+.3g"),
                interval,
                *p,
                format_number(line["effect_size"], "+.1f"),
            )
        views.append(view)
    return views


def power_views(found: pd.DataFrame, *, roles: Roles) -> list[Table]:
    """What `power_analysis` returns, as one table per factor; what its columns mean is said below the last."""
    views = []
    asked = bool(found["difference"].notna().any())
    for factor, pairs in families(found, roles=roles):
        first = pairs[0][1].iloc[0]
        said = notes([(name, lines.assign(p_value=math.nan)) for name, lines in pairs])
        view = plain_view(f"{factor}: {first['metric']}, {first['design']}", "\n".join(said))
        add_columns(view, ["", f"{roles.along} →"], ["n", "sd", "seen"] + ["wanted", "power", "needed"] * asked)
        for name, at, line in _lines(pairs):
            sizes = sorted({line["n_a"], line["n_b"]})
            cells = [" and ".join(map(str, sizes)), _estimate(line, ("sd", "sd_low", "sd_high"), ".3g")]
            cells.append(format_number(line["smallest_difference"]))
            if asked:
                cells += [format_number(line["difference"]), format_number(line["power"], ".2f")]
                cells.append(_estimate(line, ("n_needed", "n_low", "n_high"), ".0f"))
            view.add_row(name, at, *cells)
        views.append(view)
    below = [str(views[-1].caption or ""), *_power_means(found.iloc[0], asked=asked, roles=roles)]
    views[-1].caption = Text("\n".join(filter(None, below)))
    return views


def _power_means(first: "pd.Series[Any]", *, asked: bool, roles: Roles) -> Iterator[str]:
    paired, seeds, power = first["design"] == "paired", f"{roles.replicate}s", f"{first['target_power']:g}"
    yield f"sd: standard deviation {'of differences' if paired else 'within levels'}, with its 95% interval"
    yield f"seen: the smallest difference that these {seeds} show with power {power} at p < {first['alpha']:g}"
    if asked:
        yield f"power: of these {seeds} to show the difference wanted"
        yield f"needed: {seeds}{'' if paired else ' per level'} with power {power}, and at the ends of the interval"


def _by(tests: pd.DataFrame, columns: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    yield from tests.groupby(columns, sort=False) if columns else [((), tests)]


def _lines(pairs: Sequence[tuple[str, pd.DataFrame]]) -> Iterator[tuple[Text, str, dict[Hashable, Any]]]:
    """Each line of each pair, the first with its name."""
    for name, lines in pairs:
        for index, (at, line) in enumerate(zip(lines.index, lines.to_dict("records"), strict=True)):
            yield Text("" if index else name), format_number(at, ".4g"), line


def _estimate(line: dict[Hashable, Any], columns: tuple[str, str, str], form: str) -> str:
    """`7 (4 to 25)`."""
    value, low, high = (format_number(line[column], form) for column in columns)
    return value if value == low == MISSING else f"{value} ({low} to {high})"

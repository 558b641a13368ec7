"""Means and p-values as tables for the terminal. The tests are in `statistics`, the page in `page`."""

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from sweeps.statistics.arrays.assumptions import FEWEST, read_doubt
from sweeps.statistics.cells import check_rows, configurations
from sweeps.statistics.marks import ALPHA, STAR, UNCHECKED_MARK
from sweeps.statistics.means import in_words, labelled, mean_sd, named
from sweeps.statistics.roles import Roles

Place = TypeVar("Place")

MISSING = "-"
STAR_MEANS = (
    f"{STAR} Holm-corrected p < {ALPHA:g}; {UNCHECKED_MARK} the same of fewer than {FEWEST} values, whose assumptions "
    "cannot be checked"
)
CONTRAST_MEANS = f"{STAR_MEANS}; g is Hedges' g, positive where the first is larger"


def baseline_mean_sd(
    baseline: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    metric: str,
    roles: Roles,
) -> pd.DataFrame:
    """`mean_sd` of the baseline, `configuration` naming only the levels it shares with the pruned models."""
    if baseline.empty:
        return pd.DataFrame({"configuration": [], roles.along: [], "n": [], "mean": [], "sd": []})
    check_rows(baseline, metric=metric, roles=roles)
    factors, along = roles.factors, roles.along
    known = [set(rows[factor]) for factor in factors]
    words = [
        in_words(
            [
                roles.baseline,
                *(word for word, level, levels in zip(named(factors, row), row, known, strict=True) if level in levels),
            ]
        )
        for row in baseline[factors].itertuples(index=False, name=None)
    ]
    return mean_sd(baseline.assign(configuration=words), metric=metric, along=along)


def unpruned_means(rows: pd.DataFrame, *, metric: str, roles: Roles) -> pd.DataFrame:
    """Return what the models were before any of them was pruned: means at ratio 0, to read those of others against.

    Configurations that are one model there, with the same values for every replicate, are one line. Where each has its
    own, there is none: the curve of each begins at it. Only replicates that all of them have are looked at: in an
    unfinished sweep one model would be several otherwise.

    Returns:
        Columns `configuration`, which names only levels that tell such models apart, and `mean`; empty where nothing
        is pruned, or nothing is known of ratio 0, or no replicate is there for all.
    """
    nothing = pd.DataFrame({"configuration": [], "mean": []})
    if roles.pruned is None or rows.empty:
        return nothing
    start = rows[rows[roles.along] == 0].dropna(subset=[metric])
    models = [(levels, part.set_index(roles.replicate)[metric]) for levels, part in configurations(start, roles)]
    common = sorted(set.intersection(*(set(values.index) for _, values in models))) if models else []
    if not common:
        return nothing
    alike: dict[tuple[float, ...], list[tuple[Any, ...]]] = {}
    for levels, values in models:
        alike.setdefault(tuple(values[common]), []).append(levels)
    if len(alike) == len(models) > 1:
        return nothing
    groups = list(alike.values())
    known = [[{levels[place] for levels in group} for group in groups] for place in range(len(roles.factors))]
    apart = [
        place
        for place, of_groups in enumerate(known)
        if len(groups) > 1 and sum(map(len, of_groups)) == len(set().union(*of_groups))
    ]
    levels_of = [
        [", ".join(dict.fromkeys(str(named(roles.factors, levels)[place]) for levels in group)) for place in apart]
        for group in groups
    ]
    names = [in_words(["unpruned", *told]) for told in levels_of]
    means = [sum(values) / len(values) for values in alike]
    return pd.DataFrame({"configuration": names, "mean": means})


def counts(rows: pd.DataFrame, *, metric: str, roles: Roles) -> str:
    """Return of how many values means are, `n = 9 to 10 seeds`; nothing where there are none."""
    found = rows.dropna(subset=[metric]).groupby([*roles.factors, roles.along])[metric].count()
    if found.empty:
        return ""
    few, many = int(found.min()), int(found.max())
    what = roles.replicate if many == 1 else f"{roles.replicate}s"
    return f"n = {many} {what}" if few == many else f"n = {few} to {many} {what}"


def mean_table(
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    metric: str,
    roles: Roles,
) -> pd.DataFrame:
    """Mean ± sample standard deviation as text, one line per configuration, one column per ratio.

    A cell with fewer values than the fullest says how many: `0.412 ± 0.013 (n=2)`; without a value it is a
    dash. The baseline's lines come last. The numbers themselves are given by `mean_sd`.
    """
    check_rows(rows, metric=metric, roles=roles)
    factors, along = roles.factors, roles.along
    models = labelled(rows, factors)
    cells = mean_sd(models, metric=metric, along=along)
    unpruned = baseline_mean_sd(baseline, rows, metric=metric, roles=roles)
    most = cells["n"].max()
    digits = decimals(cells["mean"].abs().max())
    texts: dict[str, dict[float, str]] = {name: {} for name in models["configuration"]}
    for name, at, n, mean, sd in [*cells.to_numpy().tolist(), *unpruned.assign(n=most).to_numpy().tolist()]:
        spread = "" if math.isnan(sd) else f" ± {sd:.{digits}f}"
        count = "" if n == most else f" (n={n})"
        texts.setdefault(name, {})[at] = f"{mean:.{digits}f}{spread}{count}"
    ratios = sorted({at for line in texts.values() for at in line})
    return pd.DataFrame.from_dict(texts, orient="index", columns=ratios).fillna(MISSING)


def decimals(largest: float) -> int:
    """Three significant digits of the largest number, and at least one decimal below a thousand."""
    if not largest > 0:
        return 3
    before_point = math.floor(math.log10(largest)) + 1
    return max(3 - before_point, 1 if before_point <= 3 else 0)


def format_number(value: float, form: str = ".3g") -> str:
    """A number in few characters, a dash where there is none."""
    return MISSING if math.isnan(value) else f"{value:{form}}"


def format_interval(low: float, high: float, form: str = ".3g") -> str:
    """An interval, `0.1 to 0.3`, or a dash where there is none."""
    return MISSING if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def format_p(p: float) -> str:
    """A p-value in few characters: `0.103`, `4e-11`, a dash where there was no test."""
    if math.isnan(p):
        return MISSING
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-")


def starred(p_holm: float, star: str) -> str:
    """The corrected p-value with its `mark`, which is missing where nothing was compared."""
    return format_p(p_holm) + (star if isinstance(star, str) else "")


def families(tests: pd.DataFrame, *, roles: Roles) -> Iterator[tuple[str, list[tuple[str, pd.DataFrame]]]]:
    """The lines of `contrasts` by factor, and in it by pair of levels: `hydra vs l1 (rgb)`."""
    factors, along = roles.factors, roles.along
    for factor, of_factor in tests.groupby("factor", sort=False):
        pairs = of_factor.groupby(["level_a", "level_b", *factors], sort=False)
        called = []
        for (a, b, *fixed), lines in pairs:
            given = in_words(named(factors, fixed))
            called.append((f"{a} vs {b}" + (f" ({given})" if given else ""), lines.set_index(along)))
        yield str(factor), called


def mean_view(table: pd.DataFrame, *, title: str, along: str) -> Table:
    """What `mean_table` returns, for a terminal of 100 columns or more: spread below mean."""
    view = plain_view(title, "mean ± standard deviation")
    view.add_column(Text(f"{along} →"), ratio=1)
    for at in table.columns:
        view.add_column(f"{at:g}", justify="right", no_wrap=True)
    for name, cells in table.iterrows():
        view.add_row(Text(str(name)), *(cell.replace(" ± ", "\n±").replace(" (", "\n(") for cell in cells))
        view.add_section()
    return view


def contrast_views(tests: pd.DataFrame, *, roles: Roles) -> list[Table]:
    """What `contrasts` returns, as one table per factor: p, Holm's p and Hedges' g at each ratio."""
    views = []
    for factor, pairs in families(tests, roles=roles):
        ratios = sorted({at for _, lines in pairs for at in lines.index})
        first = pairs[0][1].iloc[0]
        view = plain_view(f"{factor}: {first['metric']}, {first['test']}", "\n".join([CONTRAST_MEANS, *notes(pairs)]))
        view.add_column(Text(f"{roles.along} →"), ratio=1)
        view.add_column("", no_wrap=True)
        for at in ratios:
            view.add_column(f"{at:g}", justify="right", no_wrap=True)
        for name, lines in pairs:
            columns = (lines[column].reindex(ratios) for column in ("p_value", "p_holm", "mark", "effect_size"))
            cells = map(_contrast_cell, *columns)
            view.add_row(Text(name), "p\nHolm\ng", *cells)
            view.add_section()
        views.append(view)
    return views


def notes(pairs: Sequence[tuple[str, pd.DataFrame]]) -> list[str]:
    """What was dropped, not tested or doubted in one of the `families`: `not tested: … — hydra vs l1 at 0`.

    A doubt is put `briefly`. What is said of every test is said without places.
    """
    tests = sum(int(lines["p_value"].notna().sum()) for _, lines in pairs)
    found = [
        (clause, (name, at, not math.isnan(p)))
        for name, lines in pairs
        for at, note, p in zip(lines.index, lines["note"], lines["p_value"], strict=True)
        # A ratio at which this pair was not compared has no note.
        for clause in (note.split("; ") if isinstance(note, str) and note else ())
    ]
    told = []
    for said, of in briefly(found):
        where: dict[str, list[str]] = {}
        for name, at, _ in of:
            where.setdefault(name, []).extend([] if math.isnan(at) else [f"{at:g}"])
        places = "; ".join(" at ".join(filter(None, [name, ", ".join(at)])) for name, at in where.items())
        told.append(said if sum(made for *_, made in of) == tests > 1 else f"{said} — {places}")
    return told


def briefly(clauses: Iterable[tuple[str, Place]]) -> list[tuple[str, list[Place]]]:
    """Return what clauses of tests' notes say, each thing once, and where.

    Doubts are one thing where the same is doubted and the same robust tests are below 5%. Their p-values are told as
    they are: no correction was made of them, so that they cannot confirm what rests on corrected ones.
    """
    kinds: dict[Hashable, list[tuple[str, Place]]] = {}
    for clause, place in clauses:
        doubt = read_doubt(clause)
        below = doubt and tuple((test, p < ALPHA) for test, p in doubt.robust.items())
        kinds.setdefault((doubt.what, doubt.check, below) if doubt else clause, []).append((clause, place))
    return [(_said([clause for clause, _ in alike]), [place for _, place in alike]) for alike in kinds.values()]


def _said(clauses: Sequence[str]) -> str:
    doubts = [doubt for doubt in map(read_doubt, clauses) if doubt]
    if not doubts:
        return clauses[0]
    first = doubts[0]
    robust = [f"{test} p={_span_of_p([doubt.robust[test] for doubt in doubts])}" for test in first.robust]
    doubted = f"{first.what} ({first.check})"
    return f"{doubted}: {' and '.join(robust)}, uncorrected" if robust else doubted


def _span_of_p(p_values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(map(format_p, (min(p_values), max(p_values)))))


def _contrast_cell(p: float, p_holm: float, star: str, effect: float) -> Text:
    g = MISSING if math.isnan(effect) else f"{effect:+.1f}"
    holm = Text(starred(p_holm, star), style="bold" if star == STAR else "")
    return Text("\n").join([Text(format_p(p)), holm, Text(g)])


def plain_view(title: str, caption: str) -> Table:
    """A table without columns or lines, as wide as the terminal; its texts are no markup."""
    return Table(
        title=Text(title),
        caption=Text(caption),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        expand=True,
    )


def add_columns(view: Table, words: Sequence[str], numbers: Sequence[str]) -> None:
    """Give a table its columns: of words, the first of them as wide as there is room, and then of numbers."""
    view.add_column(words[0], ratio=1)
    for word in words[1:]:
        view.add_column(Text(word), no_wrap=True)
    for number in numbers:
        view.add_column(number, justify="right", no_wrap=True)

"""Which of many settings matter: what a forest loses when it is told the wrong value of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from sweeps.statistics.analysis import CONFIDENCE
from sweeps.statistics.cells import are_numbers, check_apart, check_measured, finite
from sweeps.statistics.responses.draws import draw_means
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Values

FEWEST_DRAWS = 10
"""With fewer, a forest has nothing to learn from."""

RESAMPLES, TREES, SHUFFLES = 50, 20, 5
"""Forests, trees of each, and how often a field is shuffled: the ends of intervals move by a few hundredths with
more."""

NULLS, OF_EACH = 16, 4
"""How often the metric is shuffled among draws, and forests of each time."""

RESULTS = ("importance", "importance_low", "importance_high", "null_high", "predicted")


def importance(rows: pd.DataFrame, *, metric: str, fields: list[str], roles: Roles) -> pd.DataFrame:
    """Rank fields by how much a prediction of the metric needs them, for every configuration at each ratio.

    The metric's means over replicates are predicted from a draw's values by a random forest (Breiman 2001, Machine
    Learning 45). Importance is permutation importance, on draws that the forest has not seen: the
    mean squared error that shuffling one field adds, as a share of the metric's variance. Draws are resampled, those
    left out are predicted, and so on 50 times: mean, and 95% interval of resamples, which tell of the draws at hand.

    Its null is beside it: `null_high` is what the same mean is below, for all fields together with 95%, where the
    metric is shuffled among draws, so that no field matters. An importance below it is none. `predicted` is the share
    of the variance that the forest predicts of draws it has not seen; near 0 or below, ranks mean nothing.

    Fields that hang together share their importance, and one that works only through another has little by itself.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column.
        fields: columns that were drawn.
        roles: of the key columns; its other factors are configurations.

    Returns:
        A line per configuration, ratio and field, the most important first: the other factors, `along`, then `metric,
        field, n` (draws), `importance, importance_low, importance_high, null_high, predicted, matters, note`.

    Raises:
        ValueError: a column is missing, or unfit.
    """
    check_measured(rows, metric, roles)
    others = [name for name in roles.factors if name not in fields]
    columns = [*others, roles.along, "metric", "field", "n", *RESULTS, "matters", "note"]
    check_apart(columns)
    lines: list[dict[str, Any]] = []
    given = rows.assign(**{metric: finite(rows[metric])}).dropna(subset=[metric])
    for keys, cell in given.groupby([*others, roles.along], sort=True, dropna=False):
        draws = draw_means(cell, metric=metric, fields=fields, replicate=roles.replicate)
        place = dict(zip([*others, roles.along], keys, strict=True)) | {"metric": metric, "n": len(draws)}
        found = _ranked(draws, metric, fields)
        lines += [place | line for line in found]
    return pd.DataFrame(lines, columns=columns)


def _ranked(draws: pd.DataFrame, metric: str, fields: list[str]) -> list[dict[str, Any]]:
    """Return a line per field, the most important first."""
    nothing = dict.fromkeys(RESULTS, np.nan) | {"matters": False}
    target = draws[metric].to_numpy(dtype=float)
    if len(draws) < FEWEST_DRAWS:
        note = f"not ranked: {len(draws)} draws, a forest needs {FEWEST_DRAWS}"
        return [nothing | {"field": field, "note": note} for field in fields]
    if not np.ptp(target) > 0:
        return [nothing | {"field": field, "note": "not ranked: the metric does not vary"} for field in fields]
    features = _features(draws, fields)
    rng = np.random.default_rng(0)
    found, predicted = _resampled(features, target, rng)
    nulls = _null_high(_resampled(features, target, rng, shuffled=True)[0])
    tail = (1 - CONFIDENCE) / 2
    lines = []
    for place, field in enumerate(fields):
        low, high = np.quantile(found[:, place], [tail, 1 - tail])
        mean, null_high = float(found[:, place].mean()), float(nulls[place])
        lines.append(
            {
                "field": field,
                "importance": mean,
                "importance_low": float(low),
                "importance_high": float(high),
                "null_high": null_high,
                "predicted": predicted,
                "matters": bool(mean > null_high and predicted > 0),
                "note": "" if predicted > 0 else "ranks mean nothing: no draw is predicted better than by the mean",
            }
        )
    return sorted(lines, key=lambda line: -float(line["importance"]))


def _null_high(null: Values) -> Values:
    """Return what means over resamples are below where nothing matters, for all fields together.

    By Student's quantile of means over a few resamples of each shuffle, which vary no less than means over all.

    Args:
        null: importances, shape (shuffles × resamples of each, fields).
    """
    means = null.reshape(NULLS, -1, null.shape[1]).mean(axis=1)
    quantile = float(special.stdtrit(NULLS - 1, 1 - (1 - CONFIDENCE) / null.shape[1]))
    high: Values = means.mean(axis=0) + quantile * means.std(axis=0, ddof=1) * np.sqrt(1 + 1 / NULLS)
    return high


def _resampled(
    features: Values, target: Values, rng: np.random.Generator, *, shuffled: bool = False
) -> tuple[Values, float]:
    """Return the importance of each field in each resample, shape (resamples, fields), and what was predicted.

    `shuffled`: of the metric shuffled among draws, `NULLS` times.
    """
    from sklearn.ensemble import RandomForestRegressor

    count, variance = len(target), float(target.var())
    found: list[Values] = []
    errors: list[float] = []
    while len(found) < (NULLS * OF_EACH if shuffled else RESAMPLES):
        target = rng.permutation(target) if shuffled and len(found) % OF_EACH == 0 else target
        drawn = rng.integers(count, size=count)
        left = np.setdiff1d(np.arange(count), drawn)
        if len(left) < 2 or not np.ptp(target[drawn]) > 0:
            continue
        forest = RandomForestRegressor(TREES, random_state=int(rng.integers(2**31)))
        forest.fit(features[drawn], target[drawn])
        # As scikit-learn's `permutation_importance`, but of all fields in one prediction, which is ten times as fast.
        told = np.stack([features[left], *_each_shuffled(features[left], rng)])
        predicted = forest.predict(told.reshape(-1, features.shape[1])).reshape(len(told), len(left))
        error, *lost = np.square(predicted - target[left]).mean(axis=1)
        found.append((np.reshape(lost, (SHUFFLES, -1)).mean(axis=0) - error) / variance)
        errors.append(float(error))
    return np.array(found), 1 - float(np.mean(errors)) / variance


def _each_shuffled(features: Values, rng: np.random.Generator) -> Iterator[Values]:
    """Yield the features with one field shuffled, for each field in turn, and so on several times."""
    for _ in range(SHUFFLES):
        for field in range(features.shape[1]):
            shuffled = features.copy()
            shuffled[:, field] = rng.permutation(shuffled[:, field])
            yield shuffled


def _features(draws: pd.DataFrame, fields: list[str]) -> Values:
    """Return a column per field: numbers as they are, else codes of levels; NaN where a field does not matter."""
    columns = []
    for field in fields:
        values = draws[field]
        if are_numbers(values):
            columns.append(values.to_numpy(dtype=float, na_value=np.nan))
        else:
            codes = pd.Categorical(values.map(lambda value: None if value is None else str(value))).codes
            columns.append(np.where(codes < 0, np.nan, codes).astype(float))
    return np.column_stack(columns)

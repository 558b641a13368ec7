"""Which columns of rows are axes, and their parts: of a study, of the rows' own metadata, or as a user says."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from sweeps.errors import SweepError
from sweeps.spec.studies import find, loadable
from sweeps.statistics.roles import Roles
from sweeps.storage.names import AXES, ROLES
from sweeps.study import Doubts, Study


class Known(NamedTuple):
    """The parts that columns play; `metrics` with the main one first, if any are known; `remark` on how it is known.

    `doubts` as `Study.doubts`: which columns doubt which column of numbers.
    """

    roles: Roles
    metrics: tuple[str, ...] = ()
    remark: str = ""
    doubts: Doubts = MappingProxyType({})


class Given(NamedTuple):
    """What a user says of the columns of a file."""

    study: str | None = None
    axes: str | None = None
    along: str | None = None
    replicate: str | None = None


NOTHING = Given()


def roles_of(study: type[Study] | Study) -> Roles:
    """Return the parts that the axes of a study play."""
    return Roles(
        tuple(axis.name for axis in study.axes),
        replicate=study.replicate_axis,
        along=study.row_axis,
        pruned=study.pruned,
        panels=study.panel_axis,
        baseline=study.baseline_name,
        fields=tuple(axis.name for axis in study.axes if axis.optional and not axis.sampled),
        sampled=tuple(axis.name for axis in study.axes if axis.sampled),
        identity="row_key" if any(axis.optional for axis in study.axes) else None,
    )


def known_of(
    source: str,
    columns: Collection[str],
    metadata: Mapping[bytes, bytes] | None,
    given: Given,
    *,
    before: Known | None = None,
) -> Known:
    """Return the parts that columns of rows play.

    Args:
        source: where they are, for messages.
        columns: their names.
        metadata: of the Parquet they are from, if they are.
        given: what the user says, which counts first.
        before: what is known of them otherwise; by default, what the Parquet says of itself.

    Raises:
        SweepError: it is not known, or a column is not there.
    """
    if given.axes is None and (given.along is not None or given.replicate is not None):
        raise SweepError(f"{source}: found --along or --replicate without --axes, expected all three")
    if before is None:
        before = of_metadata(metadata)
    if given == NOTHING:
        return before or _guessed(source, columns)
    # What is not to be trusted of a column is so whatever the axes are.
    doubts = {} if before is None else dict(before.doubts)
    metrics = () if before is None else before.metrics
    if given.study is not None:
        study = find(given.study)
        doubts |= study.doubts
        metrics = tuple(study.metrics)
        roles = roles_of(study)
    elif before is None and len(fitting := _fitting(columns)) == 1:
        doubts |= next(iter(fitting.values())).doubts
    if given.axes is not None:
        roles = _as_given(source, columns, given)
    missing = [axis for axis in roles.axes if axis not in columns]
    if missing:
        raise SweepError(
            f"{source}: --study: found no column {missing[0]!r}, expected those of {given.study}: "
            f"{', '.join(roles.axes)}"
        )
    return Known(roles, metrics, doubts=doubts)


def run_along(source: str, rows: pd.DataFrame, roles: Roles, axis: str | None) -> Roles:
    """Return the roles with the axis along which a user wants curves to run; None: as it is.

    Raises:
        SweepError: it is no axis of numbers, or the one that repeats the experiment.
    """
    if axis is None:
        return roles
    fit = [
        each
        for each in roles.axes
        if each != roles.replicate and all(isinstance(level, (int, float)) for level in rows[each].tolist())
    ]
    if axis not in fit:
        drawn = f"; what a field does that was drawn is told by `sweeps analyze {source} --draws`"
        raise SweepError(
            f"{source}: --along: found {axis!r}, expected an axis of numbers: {', '.join(fit)}"
            f"{drawn if axis in roles.sampled else ''}"
        )
    return roles.running_along(axis)


def in_panels(source: str, roles: Roles, axis: str | None) -> Roles:
    """Return the roles with the axis of which a user wants a panel for each level; None: as it is.

    Raises:
        SweepError: it is none of the axes that are compared.
    """
    if axis is None:
        return roles
    if axis not in roles.factors:
        raise SweepError(f"{source}: --by: found {axis!r}, expected one of {', '.join(roles.factors)}")
    return replace(roles, panels=axis)


def of_metadata(metadata: Mapping[bytes, bytes] | None) -> Known | None:
    """Return what rows say of themselves; None where they do not, as those of before did not."""
    if metadata is None or AXES not in metadata or ROLES not in metadata:
        return None
    axes = metadata[AXES].decode().split(",")
    try:
        said = json.loads(metadata[ROLES])
        replicate, along = said["replicate"], said["along"]
    except (ValueError, KeyError, TypeError):
        return None  # of a version that says it in another way
    sampled = tuple(said.get("sampled", ()))
    roles = Roles(tuple(axes), replicate, along, pruned=said.get("pruned"), panels=said.get("panels"), sampled=sampled)
    return Known(roles, tuple(said.get("metrics", ())), doubts=said.get("doubts", {}))


def _as_given(source: str, columns: Collection[str], given: Given) -> Roles:
    assert given.axes is not None
    axes = tuple(axis.strip() for axis in given.axes.split(","))
    for option, name in (("--axes", each) for each in axes):
        if name not in columns:
            raise SweepError(f"{source}: {option}: found {name!r}, expected columns, such as {', '.join(columns)}")
    twice = [axis for axis in axes if axes.count(axis) > 1]
    if twice:
        raise SweepError(f"{source}: --axes: found {twice[0]!r} twice, expected different columns")
    for option, axis in (("--along", given.along), ("--replicate", given.replicate)):
        if axis is None or axis not in axes:
            raise SweepError(f"{source}: {option}: found {axis or 'nothing'}, expected one of {', '.join(axes)}")
    assert given.along is not None
    assert given.replicate is not None
    if given.along == given.replicate:
        raise SweepError(f"{source}: --along and --replicate: found {given.along!r} for both, expected different axes")
    return Roles(axes, given.replicate, given.along)


def _fitting(columns: Collection[str]) -> dict[str, type[Study]]:
    """Return the registered studies whose axes are all there."""
    return {name: study for name, study in loadable() if {axis.name for axis in study.axes} <= set(columns)}


def _guessed(source: str, columns: Collection[str]) -> Known:
    """Return the roles of the one registered study that fits."""
    fitting = _fitting(columns)
    if len(fitting) != 1:
        found = "the axes of no study" if not fitting else f"the axes of {' and '.join(sorted(fitting))}"
        raise SweepError(
            f"{source}: found {found} among its columns, expected --study NAME, or --axes with --along and --replicate"
        )
    ((name, study),) = fitting.items()
    axes = ", ".join(axis.name for axis in study.axes)
    remark = f"{source}: taken for rows of the study {name}, whose axes are {axes}; --study and --axes say otherwise"
    return Known(roles_of(study), tuple(study.metrics), remark, study.doubts)

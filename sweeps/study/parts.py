"""What a study is declared and handed in: axes, stages, pictures, tables, progress; each a plain value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, SupportsFloat

import numpy as np

Value = str | int | float
Cell = dict[str, Value]
"""One point of the grid: a value per axis."""

Checkpoint = Mapping[str, np.ndarray[Any, Any]]
"""What a stage hands on: named arrays, which may be read-only views of shared memory."""

NONE = "none"
"""What stands for an axis that a baseline has no value of."""


class Further(NamedTuple):
    """Values that an axis admits beside its choices: endlessly many, or such as are written in several ways.

    Attributes:
        told: what they are, in a few words, such as `N:M`.
        read: from what a spec gives, of any type, to the value that cells have; None for what is none of them. It
            raises ValueError, with `found …, expected …`, for what is meant as one and is none.
    """

    told: str
    read: Callable[[Any], str | None]


class Axis(NamedTuple):
    """A grid axis: its name, the type of its values, which values it admits, and what it is, for `sweeps describe`.

    `further`: values beside the `choices`, if any.
    `optional`: a value may be null, as only that of a field of settings may which is an axis; `sampled`: its values are
    drawn, together with those of other such axes.
    """

    name: str
    kind: type[str] | type[int] | type[float]
    choices: tuple[str, ...] | None = None
    bounds: tuple[float, float] | None = None
    meaning: str = ""
    optional: bool = False
    sampled: bool = False
    further: Further | None = None

    @property
    def admitted(self) -> tuple[str, ...]:
        """The choices, and what there is beside them, in words."""
        return (*(self.choices or ()), *((self.further.told,) if self.further is not None else ()))


class Stage(NamedTuple):
    """All that determines a stage's result for one cell, besides the results it reads.

    Attributes:
        axes: of the grid, on which it depends. A stage whose axes leave out the study's `row_axis`, and that reads no
            result of a row's own, is computed once for all cells that agree on its axes, and published; any other is
            computed with its row.
        fields: paths of the settings it may look at, such as `training.epochs` or `training`: the stage is handed these
            alone. None: all of them.
        settings: JSON that is hashed in place of the values of `fields`, where these do not say it all or say too much:
            a file is known by its content and not by its path, and a number of threads changes nothing. None: the
            values of `fields`.
        version: raised by hand when the stage's code changes what it computes.
        reads: earlier stages whose results it is handed, in this order. None: the last one before it that the cell has.
    """

    axes: tuple[str, ...]
    settings: Mapping[str, Any] | None = None
    version: int = 1
    fields: tuple[str, ...] | None = None
    reads: tuple[str, ...] | None = None


class Workload(NamedTuple):
    """A part of a stage's work: what it does, in a few words that are the same for like work, and what that takes.

    `operations` are floating-point; a multiply-add is two.
    """

    description: str
    operations: float


class Picture(NamedTuple):
    """An encoded image, small enough to be one of hundreds on a page, and what it shows in words; these alone are shown
    where `image` is empty.
    """

    image: bytes
    media_type: str
    text: str


class Gallery(NamedTuple):
    """Pictures in rows and columns, with a sentence on what they are.

    Attributes:
        title: of all of them.
        explanation: what a reader should know.
        heads: of the columns.
        lines: a label and as many pictures as there are `heads`. Equal neighbours are shown once, across their columns.
        steps: of each line, where there are many: those of one step are shown at a time, in words such as `75%`, and
            a reader goes from step to step; those of an empty one are shown at all of them.
    """

    title: str
    explanation: str
    heads: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Picture]]]
    steps: Sequence[str] = ()


class Curve(NamedTuple):
    """How something went in the course of one row: a value at each place.

    Attributes:
        panel: what rows it is of, in a few words; those of each are drawn by themselves.
        name: what tells it from others of its panel. Curves of the same are repetitions, of which the mean is drawn.
        at: places, such as epochs.
        values: as many.
    """

    panel: str
    name: str
    at: Sequence[float]
    values: Sequence[float]


class Course(NamedTuple):
    """Curves of how something went in the course of rows, for a figure of the report.

    Attributes:
        title: that no other figure of the study has.
        explanation: what a reader should know.
        along: label of the places, such as `epoch`.
        label: of the values, with their unit.
        curves: at least one.
    """

    title: str
    explanation: str
    along: str
    label: str
    curves: Sequence[Curve]


class DataTable(NamedTuple):
    """What `sweeps plan` shows of the data: names in the first column, counts or short texts in the others."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str | int]]


class Drafted(NamedTuple):
    """A spec's grid and fields of the study; sentences on why a value is what it is, by paths such as
    `training.epochs`; and texts of files to be written beside it, by the endings of their names."""

    settings: Mapping[str, Any]
    notes: Mapping[str, str]
    files: Mapping[str, str] = {}


class Draft(NamedTuple):
    """How `sweeps new` comes to a spec: an option of it that takes a `source`, such as `DIR`, and its `help`.

    `write` takes that source; the settings that a user has chosen, nested as in a spec; and the absolute path, without
    ending, of files beside the spec, None where it has no place. What a user can mend is raised as ValueError.
    """

    source: str
    help: str
    write: Callable[[str, Mapping[str, Any], str | None], Drafted]


class TradeOff(NamedTuple):
    """Two of a study's `metrics`, of both of which more is better, and that can rarely be had together.

    `explanation` says what a reader of the report should know of them; `against` is drawn to the right, `metric` up.
    """

    title: str
    explanation: str
    against: str
    metric: str


Lines = Mapping[str, np.ndarray[Any, Any]]
"""The columns of a row's table, each as long as the others."""

Doubts = Mapping[str, str | Sequence[str]]
"""What doubts columns of numbers: names of other columns; see `Study.doubts`."""

Files = Mapping[str, bytes]
"""What a user can take away of a row: the contents of files, by the endings of their names, such as `.txt`."""


class Measurement(NamedTuple):
    """Under what the files that rows have left can be measured again; see `Study.measure_kept`.

    Attributes:
        axis: names what is asked for, by a user's label: rows of measurements have it beside the study's own axes.
        settings: pydantic's type of what is asked for.
        columns: of such rows, as `Study.columns`; those of the study's metrics that are among them are theirs too.
        kept_by: the setting with which rows leave their files, such as `keep_models=true`.
        meanings: of columns that the study's own `meanings` do not tell.
    """

    axis: Axis
    settings: Any
    columns: Mapping[str, type]
    kept_by: str
    meanings: Mapping[str, str] = {}


class Progress(Protocol):
    """Where a long stage keeps how far it is, so that one whose process died goes on from there, and says so."""

    @property
    def is_due(self) -> bool:
        """Whether a state is wanted now, within an epoch too: the last was saved `progress_every` ago, or earlier.

        A stage may look at it after every step; one that only ever saves after its epochs need not.
        """

    def load(self) -> Checkpoint | None:
        """Return the state last saved for this very stage and cell; None where there is none."""

    def save(self, state: Callable[[], Checkpoint]) -> None:
        """Offer a state from which the work can go on, such as after an epoch.

        It is asked for, and kept in place of the last one, only where that costs little of the time it may save.
        """

    def report(self, done: float, of: float, unit: str = "epoch", **measured: SupportsFloat) -> None:
        """Say how far the stage is, for who watches it: `done` of `of`, such as 2.5 of 10 epochs, and what it measured
        of late, such as `loss`. 0 is told before the first, so that the pace of the others is known.

        A stage may say so after every step: what comes too soon after the last is not looked at, and numbers only where
        they are shown. It never fails, and no result depends on it.
        """

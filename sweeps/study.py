"""The one seam between the engine and a science: what a `Study` is, and how it is found by name.

The engine sees named stages with typed inputs and outputs and the grid axes each depends on; it never learns what is
trained or measured. A study is any class of this shape, registered as an entry point of the group `sweeps.studies` or
named in the spec as `module:Class`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel

from sweeps.errors import SpecError

Value = str | int | float
Cell = dict[str, Value]
"""One point of the grid: a value per axis."""

Checkpoint = Mapping[str, np.ndarray[Any, Any]]
"""What a stage hands on: named arrays, which may be read-only views of shared memory."""

StageName = Literal["base", "pretrain", "score", "evaluate_row"]


class Axis(NamedTuple):
    """A grid axis: its name, the type of its values, and which values it admits."""

    name: str
    kind: type[str] | type[int] | type[float]
    choices: tuple[str, ...] | None = None
    bounds: tuple[float, float] | None = None


class Stage(NamedTuple):
    """All that determines a stage's result for one cell, besides the results of the stages before it.

    `settings` is JSON: the stage's own settings and fingerprints of the data it reads. `version` is raised by hand
    when the stage's code changes what it computes.
    """

    axes: tuple[str, ...]
    settings: Mapping[str, Any]
    version: int = 1


class Workload(NamedTuple):
    """A part of a stage's work: what it does, in a few words that are the same for like work, and what that takes.

    `operations` are floating-point; a multiply-add is two.
    """

    description: str
    operations: float


class Picture(NamedTuple):
    """An encoded image, small enough to be one of hundreds on a page, and what it shows in words."""

    image: bytes
    media_type: str
    text: str


class Gallery(NamedTuple):
    """Pictures in rows and columns, with a sentence on what they are. Each of `lines` has a label and as many pictures
    as there are `heads`.
    """

    title: str
    explanation: str
    heads: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Picture]]]


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

Files = Mapping[str, bytes]
"""What a user can take away of a row: the contents of files, by the endings of their names, such as `.txt`."""


class Progress(Protocol):
    """Where a long stage keeps how far it is, so that one whose process died goes on from there."""

    def load(self) -> Checkpoint | None:
        """Return the state last saved for this very stage and cell; None where there is none."""

    def save(self, state: Callable[[], Checkpoint]) -> None:
        """Offer a state from which the work can go on, such as after an epoch.

        It is asked for, and kept in place of the last one, only where that costs little of the time it may save.
        """


class Study(Protocol):
    """A science that can be swept. Its methods run in worker processes; equal inputs must give equal results.

    Stages run in the order base → pretrain → score → evaluate_row. A result whose axes leave out `row_axis` is
    published and shared by all cells that agree on its axes; any other is computed with its row.

    Anything a user can mend is raised as ValueError with one sentence, and a device whose memory is too small as
    MemoryError. A stage leaves no memory of its device behind: the next one may run in the same process.
    """

    Settings: ClassVar[type[BaseModel]]
    """Fields of the spec that are the study's own."""

    axes: ClassVar[tuple[Axis, ...]]
    """The key columns of a row, in order. Every grid gives values to all of them."""

    row_axis: ClassVar[str]
    """The axis along which one trial fans out."""

    pruned: ClassVar[str]
    """What the row axis is the pruned fraction of, in the plural: `weights`, `channels`."""

    replicate_axis: ClassVar[str]
    """The axis whose values repeat an experiment: the random seed."""

    panel_axis: ClassVar[str | None]
    """The axis of which every level has a panel of its own in figures, side by side, if any."""

    columns: ClassVar[Mapping[str, type]]
    """What `evaluate_row` returns: column name to str, int or float.

    Names that end in `_s` are of seconds that do not overlap: the report adds them up.
    """

    tables: ClassVar[Mapping[str, Mapping[str, type]]]
    """Tables of many lines that `evaluate_row` may return beside the columns: their names, and per column its name and
    str, int, float, bool or a smaller type of numpy."""

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        """Files that `evaluate_row` returns beside the columns, as set: what they are called together, and their
        endings in the order in which they are published.
        """

    metrics: ClassVar[Mapping[str, str]]
    """Columns to draw and test, with their labels; the first is the study's main question."""

    trade_off: ClassVar[TradeOff | None]
    """The metrics to draw against each other, if any."""

    def __init__(self, settings: BaseModel) -> None:
        """Take validated settings; cheap, reads nothing."""

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Read what the stages will read, before anything runs; return sentences on what a user should know of it.

        Raises:
            ValueError: a user must mend something.
        """

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return further cells to compare the grid's with."""

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell came from `baselines`."""

    def stage(self, name: StageName, cell: Cell) -> Stage | None:
        """Declare a stage for a cell; None where the cell does without it (never for `evaluate_row`)."""

    def workloads(self, name: StageName, cell: Cell) -> Sequence[Workload]:
        """Return the parts of a declared stage's work, by arithmetic; nothing where that is not known.

        Raises:
            ValueError: a user must mend something.
        """

    def base(self, cell: Cell, progress: Progress) -> Checkpoint:
        """Return the starting point that trials share."""

    def pretrain(self, cell: Cell, base: Checkpoint | None, progress: Progress) -> Checkpoint:
        """Return the checkpoint that is scored and pruned; `base` is None where the cell has no such stage."""

    def score(self, cell: Cell, checkpoint: Checkpoint, progress: Progress) -> Checkpoint:
        """Return importance scores for the checkpoint's weights."""

    def evaluate_row(
        self, cell: Cell, checkpoint: Checkpoint, scores: Checkpoint | None, progress: Progress
    ) -> Mapping[str, Any]:
        """Prune, fine-tune and measure; return a value for each of `columns`.

        Under the name of one of `tables`, `Lines` may be there too, and under that of each of `files`, `Files` must
        be; they are kept beside the row.
        """

    def galleries(
        self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]
    ) -> Sequence[Gallery]:
        """Return pictures for the report of a sweep.

        Args:
            rows: all that are finished; the baselines' first, then in the order of their keys.
            lines: returns, for the name of one of `tables` and a `row_key`, what was kept; None where nothing was.

        Raises:
            ValueError: pictures are wanted and cannot be made.
        """


def find(name: str) -> type[Study]:
    """Return the study class of that name.

    Raises:
        SpecError: no such study.
    """
    module_name, _, attribute = name.partition(":")
    registered = {point.name: point for point in entry_points(group="sweeps.studies")}
    if name in registered:
        found: type[Study] = registered[name].load()
        return found
    if attribute:
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise SpecError(f"study: found {name!r}, which cannot be imported: {error}") from error
        if not isinstance(found, type):
            raise SpecError(f"study: found {name!r}, which is a {type(found).__name__}, expected a class")
        return found
    near = difflib.get_close_matches(name, registered, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"study: found {name!r}, expected {', '.join(sorted(registered))} or module:Class{hint}")

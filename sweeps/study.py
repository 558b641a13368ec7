"""The one seam between the engine and a science: what a `Study` is.

The engine sees named stages with typed inputs and outputs and the grid axes each depends on; it never learns what is
trained or measured. A study is a subclass of `Study`, registered as an entry point of the group `sweeps.studies` or
named in the spec as `module:Class`; how it is found is described in `sweeps.spec.studies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, SupportsFloat

import numpy as np
from pydantic import BaseModel, ConfigDict

from sweeps.errors import DeviceError as DeviceError
from sweeps.errors import is_device_lost as is_device_lost

Value = str | int | float
Cell = dict[str, Value]
"""One point of the grid: a value per axis."""

Checkpoint = Mapping[str, np.ndarray[Any, Any]]
"""What a stage hands on: named arrays, which may be read-only views of shared memory."""

NONE = "none"
"""What stands for an axis that a baseline has no value of."""


class Axis(NamedTuple):
    """A grid axis: its name, the type of its values, which values it admits, and what it is, for `sweeps describe`.

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


class NoSettings(BaseModel):
    """A study that has nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Study:
    """A science that can be swept; a subclass says what is to be known of it, and has one method per stage.

    Of every name in `stages`, in order, there is a method that computes it:

        def train(self, cell, progress): ...            # the first stage reads nothing
        def prune(self, cell, trained, progress): ...   # what `Stage.reads` names stands between cell and progress,
                                                        # None where the cell does without it

    All but the last return a `Checkpoint`. The last is computed for every cell and returns its row: a value for each of
    `columns`, and under the name of one of `tables` its `Lines`, under that of each of `files` its `Files`.

    Stages run in worker processes; equal inputs must give equal results. Anything a user can mend is raised as
    ValueError with one sentence, a device whose memory is too small as MemoryError, and one that this process cannot
    use any more as DeviceError. A stage leaves no memory of its device in use: the next may run in the same process.
    """

    Settings: ClassVar[type[BaseModel]] = NoSettings
    """Fields of the spec that are the study's own."""

    axes: ClassVar[tuple[Axis, ...]]
    """The key columns of a row, in order. Every grid gives values to all of them."""

    stages: ClassVar[tuple[str, ...]]
    """Names of the stages, in the order in which they run. The last one makes the row."""

    row_axis: ClassVar[str]
    """The axis along which one trial fans out, and curves run."""

    replicate_axis: ClassVar[str]
    """The axis whose values repeat an experiment: the random seed."""

    columns: ClassVar[Mapping[str, type]]
    """What the last stage returns: column name to str, int, float or bool. A value may be None, where it is not known.

    Names that end in `_s` are of seconds that do not overlap: the report adds them up.
    """

    metrics: ClassVar[Mapping[str, str]]
    """Columns to draw and test, with their labels; the first is the study's main question."""

    beside: ClassVar[Mapping[str, str]] = {}
    """Metrics that are read together, in one unit, such as what is left in hard circumstances and what there is in easy
    ones: the second is drawn beside the first in one scale, and tested where the first is."""

    doubts: ClassVar[Doubts] = {}
    """Columns of numbers that are not to be trusted everywhere, and for each the column, or columns, that say where.

    Where one of bool is true, analyses and figures of the number leave the row out, and say so. One of str tells of
    circumstances, such as a machine: where rows that are compared differ in it, they say that.
    """

    pruned: ClassVar[str | None] = None
    """What the row axis is the pruned fraction of, in the plural: `weights`, `channels`; None: of nothing."""

    panel_axis: ClassVar[str | None] = None
    """The axis of which every level has a panel of its own in figures, side by side, if any."""

    tables: ClassVar[Mapping[str, Mapping[str, type]]] = {}
    """Tables of many lines that the last stage may return beside the columns: their names, and per column its name and
    str, int, float, bool or a smaller type of numpy."""

    formats: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Other formats that `export` makes of a row's files, such as `onnx`, and the endings of theirs."""

    meanings: ClassVar[Mapping[str, str]] = {}
    """What columns and tables are, and their units, by name; `table.column` for a column of a table. `sweeps describe`
    shows it, and of a metric without, its label."""

    drafts: ClassVar[Mapping[str, Draft]] = {}
    """Specs that `sweeps new` writes, by the name of its option."""

    measurement: ClassVar[Measurement | None] = None
    """How the files that rows have left are measured again, if they can be."""

    trade_off: ClassVar[TradeOff | None] = None
    """The metrics to draw against each other, if any."""

    baseline_name: ClassVar[str] = "baseline"
    """What the rows of `baselines` are called where they are shown, in a few words."""

    settings: Any
    """As validated; in a stage, those alone that it declares."""

    def __init__(self, settings: Any) -> None:
        """Take validated settings; cheap, reads nothing."""
        self.settings = settings

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        """Files that the last stage returns beside the columns, as set: what they are called together, and their
        endings in the order in which they are published.
        """
        return {}

    def export(self, files: Mapping[str, Files], form: str) -> Files:
        """Return a row's files in another of `formats`.

        Args:
            files: as the last stage returned them, by the names of `files`.
            form: the format.

        Raises:
            ValueError: that cannot be done, for a reason that a user should know.
        """
        raise NotImplementedError

    @property
    def measured_under(self) -> Mapping[str, Any]:
        """What rows are measured under, as JSON: what a user leaves out of another of that `name` is as in this one."""
        return {}

    def measuring(self, asked: Any) -> Mapping[str, Any]:
        """Return, as JSON, what determines a measurement besides the files, the cell and what is asked for, such as the
        data; by default all settings.

        Raises:
            ValueError: a user must mend something.
        """
        return dict(self.settings.model_dump(mode="json"))

    def measure_kept(self, cell: Cell, files: Mapping[str, Files], asked: Any) -> dict[str, Any]:
        """Return a value for each column of `measurement`. It runs in worker processes, as stages do.

        Args:
            cell: whose row left the files.
            files: as the last stage returned them, by the names of `files`.
            asked: validated settings of `measurement`.
        """
        raise NotImplementedError

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Read what the stages will read, before anything runs; return sentences on what a user should know of it.

        Raises:
            ValueError: a user must mend something.
        """
        return []

    def data(self, cells: Sequence[Cell]) -> Sequence[DataTable]:
        """Return how much there is of what in the data, after `check` has read it."""
        return []

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return a sentence on what differs between replicates, and what does not; None where nothing is repeated.

        By default by the stages: those whose results depend on the replicate axis, and those that all replicates share.
        """
        if len({cell[self.replicate_axis] for cell in cells}) < 2:
            return None
        varies: dict[str, bool] = {}
        for cell in cells:
            for name in self.stages:
                stage = self.stage(name, cell)
                if stage is not None:
                    varies[name] = varies.get(name, False) or self.replicate_axis in stage.axes
        shared = [name for name in self.stages if varies.get(name) is False]
        said = ", ".join(name for name in self.stages if varies.get(name))
        same = f"; computed once for all of them: {', '.join(shared)}" if shared else ""
        return f"what varies with {self.replicate_axis}: {said}{same}"

    @property
    def paired(self) -> bool:
        """Whether rows of one replicate belong together, such as those from one checkpoint: tests are then in blocks of
        replicates, else between independent groups.
        """
        return True

    def facts(self, cells: Sequence[Cell]) -> Mapping[str, str]:
        """Return what was done, in a few words under each label, for a reader who has the results alone: on which data,
        with what, under what. It is asked for at a run, after `check`, and kept.

        Raises:
            ValueError: what it tells of cannot be read here.
        """
        return {}

    def remarks(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Return sentences on what a reader should know of results of these settings, such as a training that is short;
        by the settings alone, since reports are read where no data is.
        """
        return []

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return further cells to compare the grid's with."""
        return []

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell came from `baselines`."""
        return False

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare a stage for a cell; None where the cell does without it (never for the last).

        By default the last depends on everything, and those before it on everything but the row axis.
        """
        return Stage(
            tuple(axis.name for axis in self.axes if axis.name != self.row_axis or name == self.stages[-1]),
            fields=tuple(self.Settings.model_fields),
        )

    def code(self, name: str, cell: Cell) -> Mapping[str, Sequence[str]]:
        """Return the modules whose source makes a stage's result, by what a user would call them.

        Results remember it, so that those of code that has changed since can be told. By default the study's module.
        """
        return {"study": [type(self).__module__]}

    def workloads(self, name: str, cell: Cell) -> Sequence[Workload]:
        """Return the parts of a declared stage's work, by arithmetic; nothing where that is not known.

        Raises:
            ValueError: a user must mend something.
        """
        return []

    def cpu_pace(self, gpus: int | None) -> float | None:
        """Return the operations per second that a stage sustains on the CPU of this machine, measured within a second;
        None where that is not known, or stages would use a GPU: `gpus` is what a trial holds, and None one if there is.
        """
        return None

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
        return []

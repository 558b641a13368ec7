"""What a science has to say and to do to be swept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from sweeps.study.parts import (
    Axis,
    Cell,
    Course,
    DataTable,
    Doubts,
    Draft,
    Files,
    Gallery,
    Lines,
    Measurement,
    Stage,
    TradeOff,
    Workload,
)


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

    earlier: ClassVar[Mapping[str, str]] = {}
    """What metrics were at an earlier moment of the same row, such as before a last training: other metrics, by the
    ones. They are drawn dashed in the figures of these, and have none of their own."""

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

    def courses(self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]) -> Sequence[Course]:
        """Return curves for the report of a sweep of how something went in the course of rows, as their tables tell.

        Args:
            rows: as `galleries` gets them.
            lines: likewise.
        """
        return []

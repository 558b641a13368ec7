"""The file of one commit's figures: what is in it, how it is written and found."""

from __future__ import annotations

import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.history.short import Ratio
from robustprune.core.errors import InputError

FOLDER = Path(__file__).parent / "files"

_CPUINFO = Path("/proc/cpuinfo")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(_Strict):
    """A ratio, once per round.

    Attributes:
        values: larger is better.
        controls: the ratio of two equals in the same rounds, if the benchmark measures one.
    """

    values: tuple[float, ...] = Field(min_length=1)
    controls: tuple[float, ...] | None = None

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far from its median a round was at most, or two equals from 1: a share."""
        away = [abs(value / self.median - 1) for value in self.values]
        return max(away + [abs(control - 1) for control in self.controls or ()])


class Record(_Strict):
    """The figures of one commit on one machine.

    Attributes:
        commit: of the code that was measured, in full.
        date: when, UTC.
        processor: its kind; see `processor`.
        cores: how many the process could use.
        versions: of what computes beside this package.
        figures: by name.
        failed: benchmarks that told nothing, and why.
    """

    version: Literal[1] = 1
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    date: datetime
    processor: str
    cores: int = Field(ge=1)
    versions: dict[str, str]
    figures: dict[str, Figure]
    failed: dict[str, str] = {}

    def write(self, folder: Path) -> Path:
        """Write it under the name of its commit and processor, in place of one that is there."""
        slug = re.sub("[^a-z0-9]+", "-", self.processor.lower()).strip("-")
        path = folder / f"{self.commit[:12]}-{slug}.json"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path


def read(folder: Path) -> list[Record]:
    """Return all records of a folder, the oldest first.

    Raises:
        InputError: a file is none.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(Record.model_validate_json(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(f"{path}: {where}: {first['msg']}, expected figures of `benchmarks.history`") from None
    return sorted(records, key=lambda record: record.date)


def before(records: Sequence[Record], record: Record) -> Record | None:
    """Return the latest of records that is older than `record`, of another commit and of such a machine, if any is."""
    machine = (record.processor, record.cores)
    older = [
        each
        for each in records
        if each.date < record.date and each.commit != record.commit and (each.processor, each.cores) == machine
    ]
    return max(older, key=lambda each: each.date, default=None)


def figures(rounds: Iterable[dict[str, Ratio]]) -> dict[str, Figure]:
    """Return the figures of several rounds; one that a round lacks has fewer values."""
    found: dict[str, list[Ratio]] = {}
    for each in rounds:
        for name, ratio in each.items():
            found.setdefault(name, []).append(ratio)
    return {name: _figure(measured) for name, measured in found.items()}


def _figure(measured: Sequence[Ratio]) -> Figure:
    controls = tuple(ratio.control for ratio in measured if ratio.control is not None)
    return Figure(values=tuple(ratio.value for ratio in measured), controls=controls or None)


def processor() -> str:
    """Return the kind of this machine's processor: its name, which says little in the cloud, with family and model."""
    try:
        content = _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", content, flags=re.MULTILINE))
    if "model name" not in fields:
        return platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy", "numba", "ray")}}

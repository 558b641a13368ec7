"""What travels to the processes of a cluster: plain values that rebuild a study and its storage there."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.engine.declared import only
from sweeps.planning.keys import digest
from sweeps.spec import Spec
from sweeps.spec.axes.values import FieldAxis
from sweeps.spec.axes.varied import VariedStudy, study_at
from sweeps.spec.studies import find
from sweeps.storage import Store
from sweeps.storage.progress import EVERY_S
from sweeps.study import Axis, Cell, Study


class Job(NamedTuple):
    """A sweep, as every worker needs to know it. `settings` is JSON text of the study's settings, and `fields`
    of the axes that are some of them: the kind of each and the settings it has labels for, by its path.

    Results of code under one of the labels in `recompute` are computed again, where that is not today's code.
    """

    sweep: str
    storage: str
    study_name: str
    settings: str
    spec_hash: str
    git_commit: str | None
    recompute: frozenset[str] = frozenset()
    progress_every_s: float = EVERY_S
    fields: str = "{}"

    @property
    def study(self) -> Study:
        """The study, with all of its settings."""
        return _varied(self.study_name, self.settings, self.fields)

    def study_at(self, cell: Cell, fields: tuple[str, ...] | None = None) -> tuple[Study, Cell]:
        """Return the study with a cell's settings, and no others than `fields`, and the cell by its own axes; one study
        per process, so that data it has read is read once.
        """
        study, own = study_at(self.study, cell)
        if fields is None or set(fields) >= type(study.settings).model_fields.keys():
            return study, own
        settings = self.settings if study is self.study else json.dumps(study.settings.model_dump(mode="json"))
        return _study(self.study_name, settings, fields), own

    @property
    def store(self) -> Store:
        """The storage."""
        return _store(self.storage)


def job_of(spec: Spec, store: Store, *, recompute: Collection[str] = ()) -> Job:
    """Return a sweep's job for the processes of a cluster, which may have another working directory."""
    return Job(
        sweep=spec.name,
        storage=store.location if "://" in store.location else str(Path(store.location).absolute()),
        study_name=spec.engine.study,
        settings=json.dumps(spec.settings.model_dump(mode="json")),
        spec_hash=digest(spec.to_yaml()),
        git_commit=_git_commit(),
        recompute=frozenset(recompute),
        progress_every_s=spec.engine.progress_every_s,
        fields=json.dumps(_declared(spec.study.fields) if isinstance(spec.study, VariedStudy) else {}),
    )


def _declared(fields: Sequence[FieldAxis]) -> dict[str, Any]:
    return {field.path: [field.axis.kind.__name__, field.axis.sampled, dict(field.settings)] for field in fields}


@functools.lru_cache(maxsize=8)
def _varied(name: str, settings: str, fields: str) -> Study:
    study, kinds = _study(name, settings, None), {kind.__name__: kind for kind in (str, int, float, bool)}
    axes = [
        FieldAxis(Axis(path, kinds[kind], optional=True, sampled=sampled), known)
        for path, (kind, sampled, known) in json.loads(fields).items()
    ]
    return VariedStudy(study, axes) if axes else study


@functools.lru_cache(maxsize=128)
def _study(name: str, settings: str, fields: tuple[str, ...] | None) -> Study:
    study_class = find(name)
    every = study_class.Settings.model_validate(json.loads(settings))
    return study_class(every if fields is None else only(every, fields))


@functools.lru_cache(maxsize=2)
def _store(location: str) -> Store:
    return Store(location)


def _git_commit() -> str | None:
    """Return the commit of the code that runs, with a mark where it was changed since; None outside a checkout."""
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    command = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

"""What travels to the processes of a cluster: plain values that rebuild a study and its storage there."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from sweeps.planning.keys import digest
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.study import Study, find


class Job(NamedTuple):
    """A sweep, as every worker needs to know it. `settings` is JSON text of the study's settings."""

    sweep: str
    storage: str
    study_name: str
    settings: str
    spec_hash: str
    git_commit: str | None

    @property
    def study(self) -> Study:
        """The study; one per process and settings, so that data it has read is read once."""
        return _study(self.study_name, self.settings)

    @property
    def store(self) -> Store:
        """The storage."""
        return _store(self.storage)


def job_of(spec: Spec, store: Store) -> Job:
    """Return a sweep's job for the processes of a cluster, which may have another working directory."""
    return Job(
        sweep=spec.name,
        storage=store.location if "://" in store.location else str(Path(store.location).absolute()),
        study_name=spec.engine.study,
        settings=json.dumps(spec.settings.model_dump(mode="json")),
        spec_hash=digest(spec.to_yaml()),
        git_commit=_git_commit(),
    )


@functools.lru_cache(maxsize=2)
def _study(name: str, settings: str) -> Study:
    study_class = find(name)
    return study_class(study_class.Settings.model_validate(json.loads(settings)))


@functools.lru_cache(maxsize=2)
def _store(location: str) -> Store:
    return Store(location)


def _git_commit() -> str | None:
    """Return the commit of the code that runs, with a mark where it was changed since; None outside a checkout."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

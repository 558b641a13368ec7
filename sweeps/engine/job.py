"""What travels to the processes of a cluster: plain values that rebuild a study and its storage there."""

from __future__ import annotations

import functools
import json
from typing import NamedTuple

from sweeps.store import Store
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


@functools.lru_cache(maxsize=2)
def _study(name: str, settings: str) -> Study:
    study_class = find(name)
    return study_class(study_class.Settings.model_validate(json.loads(settings)))


@functools.lru_cache(maxsize=2)
def _store(location: str) -> Store:
    return Store(location)

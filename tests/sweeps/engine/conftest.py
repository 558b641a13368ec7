"""A toy sweep to run, what it yields when nothing happens to it, and one Ray for all runs that leave it as it is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support import shared_ray
from tests.support.toy_run import ToyRun


@pytest.fixture(scope="session")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    shared_ray.connect()
    toy = ToyRun(tmp_path_factory.mktemp("undisturbed"))
    toy.run_here()
    return toy.outcomes()


@pytest.fixture
def undisturbed(_undisturbed: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run that nothing happened to."""
    return _undisturbed


@pytest.fixture
def toy(tmp_path: Path) -> ToyRun:
    return ToyRun(tmp_path)


@pytest.fixture
def toy_here(toy: ToyRun) -> ToyRun:
    """The same, for tests that run it in this process, on a Ray that they share."""
    shared_ray.connect()
    return toy


@pytest.fixture
def no_ray() -> None:
    """For tests that start a Ray of their own in this process."""
    shared_ray.leave()

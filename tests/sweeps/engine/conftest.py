"""A toy sweep to run, and what it yields when nothing happens to it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support.toy_run import ToyRun


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of a run that nothing happened to."""
    toy = ToyRun(tmp_path_factory.mktemp("undisturbed"))
    toy.run()
    return toy.outcomes()


@pytest.fixture
def toy(tmp_path: Path) -> ToyRun:
    return ToyRun(tmp_path)

"""Published Darknet files, where they are at hand."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def darknet_data() -> Path:
    root = Path(__file__).resolve().parents[3]
    folder = Path(os.environ.get("ROBUSTPRUNE_DATA", root.parent / "shared" / "data")) / "darknet"
    if not folder.is_dir():
        pytest.skip(f"no Darknet files: {folder} is absent (set ROBUSTPRUNE_DATA)")
    return folder

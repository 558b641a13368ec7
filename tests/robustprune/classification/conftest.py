"""Data for tests of classifiers: real images where at hand."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cifar10_data() -> Path:
    """Folder of some CIFAR-10 images, in zip files, and of the weights of a ResNet-20."""
    default = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("ROBUSTPRUNE_DATA", default)) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; ROBUSTPRUNE_DATA names the folder above it")
    return folder

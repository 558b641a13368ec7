"""What tests of classifiers share: real images where at hand, and a file of weights."""

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.robustprune.classification.tiny_study import study


@pytest.fixture(scope="session")
def cifar10_data() -> Path:
    """Folder of some CIFAR-10 images, in zip files, and of the weights of a ResNet-20."""
    default = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("ROBUSTPRUNE_DATA", default)) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; ROBUSTPRUNE_DATA names the folder above it")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of weights that fits."""
    path = tmp_path / "given.safetensors"
    state = study()._build("resnet8").network.state_dict()
    safetensors.numpy.save_file({name: np.asarray((tensor + 1).numpy()) for name, tensor in state.items()}, path)
    return str(path)

"""A file of weights that fits the tiny study."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.robustprune.studies.classification.tiny_study import cell, study


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of weights that fits."""
    path = tmp_path / "given.safetensors"
    state = study().task(cell()).build().network.state_dict()
    safetensors.numpy.save_file({name: np.asarray((tensor + 1).numpy()) for name, tensor in state.items()}, path)
    return str(path)

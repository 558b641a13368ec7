"""Models that a sweep has kept; `load_model` rebuilds one from its file, of whatever task.

How the files are made is told in `inference.model_files`, and in `kept_models` of each task.
"""

from __future__ import annotations

import os

from robustprune.classification import kept_models as classification
from robustprune.classification.kept_models import ClassifierSpec, KeptClassifier
from robustprune.detection import kept_models as detection
from robustprune.detection.kept_models import KeptModel, ModelSpec
from robustprune.inference.model_files import read

__all__ = ["ClassifierSpec", "KeptClassifier", "KeptModel", "ModelSpec", "load_model"]


def load_model(path: str | os.PathLike[str]) -> KeptModel | KeptClassifier:
    """Rebuild a kept model from its .safetensors file, bit for bit.

    Raises:
        InputError: the file cannot be read, is not whole, or is no such model.
    """
    if read(path).task == "classification":
        return classification.load_model(path)
    return detection.load_model(path)

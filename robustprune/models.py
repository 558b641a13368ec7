"""Models that a sweep has kept; `load_model` rebuilds one from its file.

How the files are made is told in `detection.kept_models`.
"""

from robustprune.detection.kept_models import KeptModel, ModelSpec, load_model

__all__ = ["KeptModel", "ModelSpec", "load_model"]

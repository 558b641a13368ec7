"""Robust pruning of detectors and classifiers: attacks, scores, masks, training and measurements, in plain PyTorch.

Usable alone, from a notebook. Nothing here knows how work is distributed; `sweeps` does that, through `studies`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("robust-pruning-sweeps")
except PackageNotFoundError:  # a copy of the source that was never installed
    __version__ = "unknown"

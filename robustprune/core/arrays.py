"""Tensors by name as NumPy arrays by name: the form in which results and states leave a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""May be read-only, as views of memory that other processes share."""


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Return copies, in C order whatever the tensors' memory format, so that later steps leave them alone."""
    return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in tensors.items()}

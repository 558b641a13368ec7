"""The package adv-lib, where attacks on classifiers come from."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable

from torch import Tensor

from robustprune.core.errors import InputError

Network = Callable[[Tensor], Tensor]
"""From images in [0, 1], shape (N, C, H, W), to logits, (N, classes); all that the library's attacks ask for."""


def check_installed() -> None:
    """Look for the package without importing it.

    Raises:
        InputError: it is not there.
    """
    if importlib.util.find_spec("adv_lib") is None:
        raise InputError(
            "found no package adv-lib, expected it for the attacks ddn, fmn, apgd, fab and standard: "
            "PIP_CONSTRAINT=constraints.txt pip install -e '.[attacks]'"
        )


def library_attack(name: str) -> Callable[..., Tensor]:
    """Return an attack of the library, whose import takes seconds the first time."""
    check_installed()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
        attack: Callable[..., Tensor] = getattr(importlib.import_module("adv_lib.attacks"), name)
    return attack

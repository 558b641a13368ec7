"""The state dicts in a file of weights, read without running anything that the file says.

Formats by ending: safetensors, NumPy's npz without objects, and PyTorch's with `weights_only`. What the tensors are to
a classifier is in `checkpoints`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from robustprune.errors import InputError

StateDict = dict[str, Tensor]


def read_state_dicts(path: Path) -> dict[str, StateDict]:
    """Return the tensors of each dictionary in the file, by where that lies in the others: `""`, `model.ema`.

    All else in the file, such as the number of an epoch, is left out. Tensors are on the CPU.

    Raises:
        InputError: the file cannot be read, is not whole, is of no such format, or holds objects to unpickle.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise InputError(f"{path}: found a file that ends in {ending!r}, expected one of {', '.join(_READERS)}")
    try:
        content = _READERS[ending](path)
    except OSError as error:
        raise InputError(f"{path}: the weights cannot be read ({error.strerror or error})") from error
    except Exception as error:  # Whatever a parser trips over in damaged bytes.
        refused = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            raise InputError(
                f"{path}: found damaged or other content, expected a whole {ending} file of tensors"
            ) from error
        raise InputError(
            f"{path}: found Python objects ({refused[1]}), which are not unpickled as that may run anything, expected "
            "tensors alone: save the state dict, torch.save(model.state_dict(), ...)"
        ) from error
    return dict(_state_dicts(content, ()))


def _state_dicts(content: Any, location: tuple[str, ...]) -> Iterator[tuple[str, StateDict]]:
    if not isinstance(content, Mapping):
        return
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield ".".join(location), tensors
    for name, value in content.items():
        yield from _state_dicts(value, (*location, str(name)))


def _read_npz(path: Path) -> StateDict:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(_native(arrays[name])) for name in arrays.files}


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(array.dtype.newbyteorder("="))


def _read_pytorch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".npz": _read_npz,
    **dict.fromkeys((".pt", ".pth", ".tar", ".ckpt"), _read_pytorch),
}

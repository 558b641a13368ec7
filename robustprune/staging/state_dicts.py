"""The state dicts in a file of weights, read without running anything that the file says.

Formats by ending: safetensors, NumPy's npz without objects, and PyTorch's with `weights_only`. What the tensors are to
a network is known where that is: `classification.weights`, `detection.centernet.backbones.given`.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from robustprune.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """The tensors of one of the dictionaries in a file.

    Attributes:
        location: the keys that lead to it: `""`, `model.ema`.
        tensors: by name; dense, of real numbers, on the CPU.
        triples: by name, its tensors and lists of three numbers, then those of the dictionaries that it lies in.
    """

    location: str
    tensors: dict[str, Tensor]
    triples: dict[str, Tensor]


def read_state_dicts(path: Path) -> list[StateDict]:
    """Return each dictionary in the file that has tensors.

    All else in the file, such as the number of an epoch, is left out.

    Raises:
        InputError: the file cannot be read, is not whole, is of no such format, or holds objects to unpickle, or
            tensors that are not dense and real.
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
    found = list(_state_dicts(content, (), {}, set()))
    for state_dict in found:
        for name, tensor in state_dict.tensors.items():
            _check(tensor, name, path)
    return found


def _state_dicts(
    content: Any, location: tuple[str, ...], enclosing: dict[str, Tensor], visited: set[int]
) -> Iterator[StateDict]:
    # A dictionary may lie in several others, and in itself.
    if not isinstance(content, Mapping) or id(content) in visited:
        return
    visited.add(id(content))
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    own = {name: tensor for name, tensor in tensors.items() if tensor.numel() == 3}
    own |= {str(name): torch.tensor(value, dtype=torch.double) for name, value in content.items() if _is_triple(value)}
    triples = own | enclosing | own
    if tensors:
        yield StateDict(location=".".join(location), tensors=tensors, triples=triples)
    for name, value in content.items():
        yield from _state_dicts(value, (*location, str(name)), triples, visited)


def _is_triple(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(each, float | int) for each in value)


def _check(tensor: Tensor, name: str, path: Path) -> None:
    kinds = {
        "sparse": tensor.layout is not torch.strided,
        "meta, without numbers": tensor.is_meta,
        "complex": tensor.is_complex(),
        "quantized": tensor.is_quantized,
    }
    for kind, applies in kinds.items():
        if applies:
            raise InputError(f"{path}: found tensor {name!r} that is {kind}, expected a dense one of real numbers")


def _read_npz(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(_native(arrays[name])) for name in arrays.files}


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(array.dtype.newbyteorder("="))


def _read_pytorch(path: Path) -> Any:
    # PyTorch warns of sparse and quantized tensors, which `_check` refuses.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".npz": _read_npz,
    **dict.fromkeys((".pt", ".pth", ".th", ".tar", ".ckpt", ".bin"), _read_pytorch),
}

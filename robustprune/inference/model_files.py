"""The files of a kept model, of any task: its weights as safetensors, and in them the spec that rebuilds it.

The spec is YAML and lies in the header under `spec`, so that one file is enough; a sweep leaves the same text beside
it, for people. What is in a spec, and how a network is made of it, is the task's affair.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from robustprune.core.arrays import Arrays
from robustprune.core.errors import InputError

ENDINGS = (".yaml", ".safetensors")
"""Of a kept model's files: the spec to read, and the model, which has the spec in it too."""

TASK = "task"
"""The key of a spec that says which task the model is of; specs of before have none, and are of detection."""

OLDEST_TASK = "detection"

Model = TypeVar("Model")


class ModelFile(NamedTuple):
    """What is in a model's file: its spec, and its tensors by name."""

    spec: dict[str, Any]
    arrays: Arrays

    @property
    def task(self) -> str:
        """The task that the model is of."""
        return str(self.spec.get(TASK, OLDEST_TASK))


def written(spec: Mapping[str, Any], arrays: Arrays) -> dict[str, bytes]:
    """Return the contents of a model's files, by their endings."""
    text: str = yaml.dump(dict(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    header = {"spec": text, "sha256": _checksum(text, arrays)}
    return {".yaml": text.encode(), ".safetensors": save(dict(arrays), header)}


def read(path: str | os.PathLike[str]) -> ModelFile:
    """Return what is in a model's .safetensors file.

    Raises:
        InputError: the file cannot be read, is not whole, or is no such model.
    """
    header, arrays = _read(path)
    if not {"spec", "sha256"} <= header.keys():
        raise InputError(f"{path}: found safetensors without a spec of ours, expected a model that a sweep has kept")
    text = header["spec"]
    if header["sha256"] != _checksum(text, arrays):
        raise InputError(f"{path}: found a damaged file, expected the bytes that were written; copy it again")
    return ModelFile(yaml.safe_load(text), arrays)


def check(found: ModelFile, path: str | os.PathLike[str], *, task: str, formats: tuple[int, ...]) -> None:
    """See that a model is of a task, and written as this version knows it.

    Raises:
        InputError: it is not.
    """
    if found.task != task:
        raise InputError(f"{path}: found a model of {found.task}, expected one of {task}")
    if found.spec["format"] not in formats:
        known = " or ".join(map(str, formats))
        raise InputError(
            f"{path}: found a model of format {found.spec['format']}, expected {known}, as this version writes it"
        )


def rebuilt(files: Mapping[str, bytes], load: Callable[[Path], Model]) -> Model:
    """Return what `load` makes of a model's file, from the contents of its files by their endings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kept.safetensors")
        path.write_bytes(files[".safetensors"])
        return load(path)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)
)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], Arrays]:
    if not Path(path).is_file():
        raise InputError(f"{path}: found no file of that name, expected the .safetensors file of a model")
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: expected a whole .safetensors file ({error})") from error


def _checksum(text: str, arrays: Arrays) -> str:
    """Return what changes with any bit of either. It is the same in all formats, so that damage is told from age."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()

"""Tensors in a folder of their own: a file named by its content, then the description that makes it count."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from sweeps.storage import names
from sweeps.storage.files import Files, UnreadableError, to_json
from sweeps.study import Checkpoint

META = "meta.json"
ENDING = ".safetensors"


class Published(NamedTuple):
    """Tensors, and what was published with them; `meta["sha256"]` is the hash of their bytes."""

    tensors: Checkpoint
    meta: dict[str, Any]


def publish(files: Files, folder: str, tensors: Checkpoint, meta: Mapping[str, Any]) -> Published | None:
    """Publish tensors and what is known about them. The first writer wins; what is damaged is written anew.

    Returns:
        None where these were published, else what another published before.
    """
    if (found := load(files, folder)) is not None:
        return found
    name, described = _write(files, folder, tensors, meta)
    if not files.publish(f"{folder}/{META}", described):
        if (found := load(files, folder)) is not None:
            if file_of(found.meta) != name:
                files.delete(f"{folder}/{name}")
            return found
        files.publish(f"{folder}/{META}", described, replace=True)
    return None


def replace(files: Files, folder: str, tensors: Checkpoint, meta: Mapping[str, Any]) -> None:
    """Publish tensors in place of what is there."""
    before = read_meta(files, folder)
    # A name of its own, so that nobody who replaces it can remove what another is about to describe.
    _, described = _write(files, folder, tensors, meta, mark=f"-{uuid.uuid4().hex[:8]}")
    files.publish(f"{folder}/{META}", described, replace=True)
    if before is not None:
        files.delete(f"{folder}/{file_of(before)}")


def load(files: Files, folder: str) -> Published | None:
    """Return published tensors; None where there are none or their bytes are not the published ones."""
    meta = read_meta(files, folder)
    while meta is not None:
        tensors = _tensors(files, folder, meta)
        if tensors is not None:
            return Published(tensors, meta)
        # Between the two looks they may have been replaced, with what they were described by.
        before, meta = meta, read_meta(files, folder)
        if meta == before:
            return None
    return None


def read_meta(files: Files, folder: str) -> dict[str, Any] | None:
    """Return what was published with tensors; None where there is nothing or it is damaged."""
    return read_metas(files, [folder])[0]


def read_metas(files: Files, folders: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return what was published with the tensors of each folder; many are read at a time."""
    found = files.look_into([f"{folder}/{META}" for folder in folders], "sha256", lambda hash: isinstance(hash, str))
    return [None if meta is None else _understood(meta) for meta in found]


def _understood(meta: dict[str, Any]) -> dict[str, Any]:
    """Return a description without those of its fields that are read here and are not what they should be."""

    def fits(name: str, value: Any) -> bool:
        match name:
            case "file":
                return isinstance(value, str) and names.is_tensors(value)
            case "seconds":
                return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            case "code":
                return isinstance(value, dict)
        return True

    return {name: value for name, value in meta.items() if fits(name, value)}


def _write(
    files: Files, folder: str, tensors: Checkpoint, meta: Mapping[str, Any], mark: str = ""
) -> tuple[str, bytes]:
    """Publish the tensors alone; return their file's name, and the description that makes them count."""
    data = save_tensors(dict(tensors))
    checksum = hashlib.sha256(data).hexdigest()
    # Named by content, so that two writers of one key can never leave one's tensors with the other's checksum. Whatever
    # has that name already is the same, or damaged.
    name = f"{checksum}{mark}{ENDING}"
    files.publish(f"{folder}/{name}", data, replace=True)
    return name, to_json({**meta, "sha256": checksum, "bytes": len(data), "file": name})


def file_of(meta: Mapping[str, Any]) -> str:
    """Return the name of the file that is described; versions before 0.2 did not say it."""
    return str(meta.get("file") or f"{meta.get('sha256')}{ENDING}")


def _tensors(files: Files, folder: str, meta: Mapping[str, Any]) -> Checkpoint | None:
    try:
        data = files.read(f"{folder}/{file_of(meta)}")
        if hashlib.sha256(data).hexdigest() != meta["sha256"]:
            return None
        tensors: Checkpoint = load_tensors(data)
    except (FileNotFoundError, UnreadableError, SafetensorError, KeyError):
        return None
    return tensors

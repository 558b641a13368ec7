"""How a storage's own things are named, by which they are told from what others left there."""

from __future__ import annotations

import re

AXES = b"sweeps.axes"
"""Which of the columns are axes, in the metadata of the rows' schema."""

ROLES = b"sweeps.roles"
"""There too: which parts the axes play, and what is measured, as JSON; rows of before do not say."""

_ROW = re.compile(r"[0-9a-f]+-[0-9a-f]+")
_FILES = re.compile(r"[0-9a-f]+-[0-9a-f]+(-[0-9a-f]{8})?")
_TENSORS = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{8})?\.safetensors")
_UNFINISHED = re.compile(r"\.(.+\.([0-9a-f]+|lock)\.tmp|write-test-[0-9a-f]+)", re.DOTALL)


def is_row(name: str, ending: str = ".parquet") -> bool:
    """Say whether a file's name, without its folder, is that of a row, such as `0123-4567.parquet`; with the ending
    `.json`, that of a failure.
    """
    return name.endswith(ending) and _ROW.fullmatch(name.removesuffix(ending)) is not None


def is_files_key(stem: str) -> bool:
    """Say whether names of a row's tables and files begin like that, see `rows.files_key`; of before, by its key."""
    return _FILES.fullmatch(stem) is not None


def is_tensors(name: str) -> bool:
    """Say whether a file's name, without its folder, is that of tensors."""
    return _TENSORS.fullmatch(name) is not None


def is_unfinished(name: str) -> bool:
    """Say whether a file was to get its name, or to be removed, a moment later; its folder does not matter."""
    return _UNFINISHED.fullmatch(name.rpartition("/")[2]) is not None

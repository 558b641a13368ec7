"""What identifies a file: its content, wherever it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

from robustprune.core.errors import InputError


def file_sha256(path: str, field: str) -> str:
    """Return the SHA-256 of a file's bytes.

    Args:
        path: of the file.
        field: the setting that names it, for the message.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{field}: {path} cannot be read ({error.strerror})") from error

"""A store in a folder, which counts what is asked of it and fails as told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.fs

from robustprune.staging import copies
from robustprune.staging.copies import Copy

URI = "s3://bucket/coco"


class FakeStore:
    """A file system of Arrow's whose bucket `bucket` is a folder.

    Attributes:
        place: the folder that stands for s3://bucket/coco.
        read: names of files, each time one is opened.
        down: what everything raises, if anything.
        tags: checksums to tell, by name.
        on_block: called with a name and a block that was read; returns what arrives.
    """

    type_name = "s3"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fs = pyarrow.fs.SubTreeFileSystem(str(root), pyarrow.fs.LocalFileSystem())
        self.place = root / "bucket" / "coco"
        self.place.mkdir(parents=True)
        self.read: list[str] = []
        self.listings = 0
        self.down: Exception | None = None
        self.tags: dict[str, dict[str, bytes]] = {}
        self.on_block: Callable[[str, bytes], bytes] = lambda name, block: block

    def put(self, name: str, content: bytes) -> None:
        """Write an object; later ones have later time stamps."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        now = time.time_ns()
        os.utime(path, ns=(now, now))

    def get_file_info(self, what: Any) -> Any:
        if self.down is not None:
            raise self.down
        self.listings += not isinstance(what, str)
        return self._fs.get_file_info(what)

    def open_input_file(self, path: str) -> Any:
        if self.down is not None:
            raise self.down
        name = path.removeprefix("bucket/coco/")
        self.read.append(name)
        return _Stream(self, name, (self._root / path).open("rb"))


class _Stream:
    def __init__(self, store: FakeStore, name: str, file: Any) -> None:
        self._store, self._name, self._file = store, name, file
        self.seek = file.seek

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def metadata(self) -> dict[str, bytes]:
        return self._store.tags.get(self._name, {})

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        return self._store.on_block(self._name, block) if block else block


def opened(uri: str = URI) -> Copy:
    """Return the copy as a new process opens it."""
    return copies.open_copy(uri, "dataset.root")

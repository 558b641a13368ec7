"""What a place held when it was listed, as this machine keeps it, and which of its files are here.

Below the cache folder:

    data/NAME-HASH/         a URI
        lock                held by who lists or copies
        latest              which listing was the last, and when it began
        ID.json             a listing: names, sizes and time stamps; ID is their hash
        ID.copied           a line per file that arrived: its name, SHA-256, and the time stamp of the copy
        ID.in-use           locked by all processes that read the copy, so that it stays
        ID.parts/           files on their way
        ID/                 the copy

A place that changed gets another listing and so another copy: who reads the first is not disturbed. Files that stayed
the same are linked into it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from robustprune.core.files import write_whole
from robustprune.staging.cache import locked
from robustprune.staging.remote import RemoteFile


class Copied(NamedTuple):
    """What is known of a file that arrived."""

    sha256: str
    modified_ns: int


class Snapshot:
    """A listing that was kept. All that changes something is called while the lock of its place is held."""

    def __init__(self, home: Path, identity: str) -> None:
        """Read it.

        Raises:
            OSError: it cannot be read.
        """
        self._home, self.id = home, identity
        said = json.loads(self._beside("json").read_text(encoding="utf-8"))
        self.is_file: bool = said["is_file"]
        self.files = {name: RemoteFile(*file) for name, file in said["files"].items()}
        self.folder, self.parts = home / identity, self._beside("parts")

    @classmethod
    def publish(cls, home: Path, files: Mapping[str, RemoteFile], *, is_file: bool) -> Snapshot:
        """Return the snapshot of a listing; a new one begins with those files of others that stayed the same."""
        content = json.dumps({"is_file": is_file, "files": {name: files[name] for name in sorted(files)}})
        identity = hashlib.sha256(content.encode()).hexdigest()[:16]
        if not (home / f"{identity}.json").exists():
            others = [cls(home, other) for other in _identities(home)]
            write_whole(home / f"{identity}.json", content)
            new = cls(home, identity)
            for other in others:
                new._link(other)
            return new
        return cls(home, identity)

    def hold(self) -> IO[bytes]:
        """Keep it from being removed for as long as what is returned is open."""
        file = self._beside("in-use").open("ab")
        locked(file, fcntl.LOCK_SH)
        return file

    def remove_others(self) -> None:
        """Remove the snapshots of this place that no process reads."""
        for identity in _identities(self._home):
            if identity == self.id:
                continue
            other = Snapshot(self._home, identity)
            with other._beside("in-use").open("ab") as file:
                if not locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    continue
                # Last what tells that it is there: what is half removed is removed the next time.
                for folder in (other.folder, other.parts):
                    shutil.rmtree(folder, ignore_errors=True)
                for ending in ("copied", "in-use", "json"):
                    other._beside(ending).unlink(missing_ok=True)

    def copied(self) -> dict[str, Copied]:
        """Return what is known of the files that arrived, by their names."""
        try:
            lines = self._beside("copied").read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines:
            # One that a process died over is half a line.
            with contextlib.suppress(ValueError):
                name, sha256, modified_ns = json.loads(line)
                found[name] = Copied(sha256, modified_ns)
        return found

    def note(self, files: Iterable[tuple[str, Copied]]) -> None:
        """Remember files that arrived."""
        with self._beside("copied").open("ab") as lines:
            for name, copied in files:
                lines.write(f"\n{json.dumps([name, *copied])}\n".encode())

    def is_whole(self, name: str, copied: Copied | None) -> bool:
        """Say whether a file is here as it arrived: by its size and time stamp, or else by its content."""
        if copied is None:
            return False
        path = self.folder / name
        try:
            found = path.stat()
            if found.st_size != self.files[name].size:
                return False
            if found.st_mtime_ns == copied.modified_ns:
                return True
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == copied.sha256
        except OSError:
            return False

    def _link(self, other: Snapshot) -> None:
        linked = []
        for name, copied in other.copied().items():
            file = other.files[name]
            if self.files.get(name) == file and file.modified_ns is not None and other.is_whole(name, copied):
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                # Where there are no links it is copied again.
                with contextlib.suppress(OSError):
                    os.link(other.folder / name, path)
                    linked.append((name, copied))
        self.note(linked)

    def _beside(self, ending: str) -> Path:
        return self._home / f"{self.id}.{ending}"


def read_json(path: Path) -> Any:
    """Return what a file holds; None where there is none, or half of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _identities(home: Path) -> list[str]:
    return [path.stem for path in home.glob("*.json")]

"""One file's way from a store to this machine: it goes on where it stood, and is whole before it has its name."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from robustprune.core.errors import InputError
from robustprune.staging.remote import BLOCK, Checksum, Remote, RemoteFile


class StoppedError(Exception):
    """Whoever waited for the file does so no more."""


class Transfer:
    """Copies files of a place; several threads may do so together."""

    def __init__(self, remote: Remote, tell: Callable[[int], None]) -> None:
        """Take where they come from; `tell` is called with the number of bytes that came."""
        self._remote, self._tell = remote, tell
        self._stopped = threading.Event()
        self._tags_are_checksums = True

    def stop(self) -> None:
        """Let all files rest where they stand."""
        self._stopped.set()

    def copy(self, name: str, file: RemoteFile, part: Path, target: Path) -> str:
        """Copy a file; return its SHA-256.

        Args:
            name: of the file at its place.
            file: as it was listed.
            part: where it grows; what an earlier process left there is its beginning.
            target: where it then appears, in one step.

        Raises:
            InputError: it changed, or arrives otherwise than the store says that it is.
            OSError: it cannot be written.
            StoppedError: it was stopped.
        """
        received, said = self._receive(name, file, part)
        if not self._agree(received, said):
            part.unlink()
            again, said = self._receive(name, file, part)
            if said is not None and not self._agree(again, said):
                if said.sure or again.sha256 != received.sha256:
                    part.unlink()
                    raise self._refusal(
                        name, f"arrived twice as other bytes than those of its MD5, {said.md5}, expected those"
                    )
                # The same bytes again: a tag that is no checksum, as of objects that are encrypted with own keys.
                self._tags_are_checksums = False
            received = again
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return received.sha256

    def _receive(self, name: str, file: RemoteFile, part: Path) -> tuple[_Part, Checksum | None]:
        with _Part(part, most=file.size) as received:

            def take(block: bytes) -> None:
                if self._stopped.is_set():
                    raise StoppedError
                received.take(block)
                self._tell(len(block))

            said = self._remote.read(name, take, start=lambda: received.size)
        if received.size != file.size or not self._remote.is_still(name, file):
            part.unlink()
            raise self._refusal(name, "changed while it was copied, expected data that stays as it is; start again")
        return received, said

    def _agree(self, received: _Part, said: Checksum | None) -> bool:
        if said is None or not (said.sure or self._tags_are_checksums):
            return True
        return said.md5 == (received.md5_of_one_part if said.parts else received.md5)

    def _refusal(self, name: str, what: str) -> InputError:
        return InputError(f"{self._remote.field}: {self._remote.uri}: {name} {what}")


class _Part:
    """The beginning of a file, and what it hashes to."""

    def __init__(self, path: Path, *, most: int) -> None:
        self._file = path.open("a+b")
        self._sha256, self._md5, self.size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        if self._file.tell() > most:
            self._file.truncate(0)
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            self._count(block)

    def __enter__(self) -> _Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def take(self, block: bytes) -> None:
        self._file.write(block)
        self._file.flush()
        self._count(block)

    def _count(self, block: bytes) -> None:
        self._sha256.update(block)
        self._md5.update(block)
        self.size += len(block)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def md5_of_one_part(self) -> str:
        """As S3 tells it of an object that was put in parts, of which there is one."""
        return hashlib.md5(self._md5.digest(), usedforsecurity=False).hexdigest()

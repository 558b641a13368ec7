"""What identifies a file, its content, wherever it lies; what a file is that is not what was expected; and writing one
so that it is never seen half.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from robustprune.core.errors import InputError

HEAD = 1024
"""Bytes at the start of a file that tell what it is."""

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
}
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_UTF8_MARK = b"\xef\xbb\xbf"
_WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


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


def write_whole(path: Path, content: str) -> None:
    """Make a text file appear in one step, in place of one of that name.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


def write_folder_once(root: Path, name: str, write: Callable[[Path], object]) -> None:
    """Let a folder appear whole or not at all, unless something is there already; also if several processes write it.

    Args:
        root: the folder to create.
        name: what it is called while it is written.
        write: makes and fills the folder that it is given.
    """
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as temporary:
        finished = Path(temporary, name)
        write(finished)
        try:
            os.rename(finished, root)
        except OSError as error:
            # Another process was first: renaming never replaces a folder that holds something.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def mistaken_for(content: bytes) -> str | None:
    """Return what a file is that often lies where a picture or annotations should: by its first `HEAD` bytes.

    None where it is none of these: an empty file, a pointer of Git LFS, a web page, an archive.
    """
    head = content[:HEAD]
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, whose content was not downloaded (`git lfs pull` does)"
    if _WEB_PAGE.match(head.removeprefix(_UTF8_MARK)):
        return "a web page (HTML), as a download that failed leaves"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((name for start, name in _ARCHIVES.items() if head.startswith(start)), None)


def read_utf8(path: Path, expected: str) -> bytes:
    """Return the content of a text file in UTF-8, without a byte-order mark.

    Its encoding is looked at as far as its first bytes tell; see `undecodable`.

    Args:
        path: of the file.
        expected: what it should be, for messages.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected {expected}") from None
    if what := mistaken_for(content):
        raise InputError(f"{path}: found {what}, expected {expected}")
    if encoding := _wide_encoding(content):
        raise InputError(f"{path}: found text in {encoding}, expected {expected} in UTF-8")
    return content.removeprefix(_UTF8_MARK)


def undecodable(content: bytes) -> str | None:
    """Return where a text is no UTF-8, in words; None where it is."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        return (
            f"text that is not UTF-8 (byte 0x{content[error.start]:02x} at line {line} column {column}), "
            "but in another encoding, such as GBK or Latin-1"
        )
    return None


def other_spelling(name: str, there: Iterable[str], *, of: str = "that of the file") -> str | None:
    """Return in words how one of the names that are `there` is written otherwise than `name`; None where none is alike.

    Two names may look the same and be of other bytes: macOS writes é as e and an accent, most others as one letter.

    Args:
        name: to be found.
        there: the names that there are.
        of: whose these are.
    """
    composed = unicodedata.normalize("NFC", name)
    alike = {unicodedata.normalize("NFC", other): other for other in there}
    if composed in alike:
        form = "composed (NFC)" if composed == name else "decomposed (NFD)"
        return f"written {form}, where {of}, {alike[composed]!r}, is in another Unicode form"
    for written_alike, difference in ((str.casefold, "capitals"), (_plain, "blanks or capitals")):
        folded = {written_alike(other): alike[other] for other in alike}
        if written_alike(composed) in folded:
            return f"where {of} is {folded[written_alike(composed)]!r}, with other {difference}"
    return None


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def _wide_encoding(content: bytes) -> str | None:
    for mark, name in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return name
    # Without a mark: the first two letters of JSON are ASCII.
    return "UTF-16" if content[:1] == b"\0" or content[1:2] == b"\0" else None

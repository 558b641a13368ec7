"""Where this machine keeps what it can get again, and how processes take turns there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from robustprune.core.errors import InputError
from robustprune.core.progress import PATIENCE

VARIABLE = "ROBUSTPRUNE_CACHE"
"""Of the environment: another folder in place of the default."""

AGAIN_S = 0.05
"""After so long a process that waits looks again."""


def cache_folder() -> Path:
    """Return the folder: $ROBUSTPRUNE_CACHE, or below $XDG_CACHE_HOME or ~/.cache, or, where none can be written, below
    the folder of temporary files.

    Raises:
        InputError: somebody else has a folder of that name there.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    with contextlib.suppress(RuntimeError):  # a user without a home
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustprune"
        if _can_be_written(folder):
            return folder
    folder = Path(tempfile.gettempdir(), f"robustprune-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(f"{folder}: found somebody else's, expected a folder of this user ({VARIABLE}=DIR names one)")
    return folder


def _can_be_written(folder: Path) -> bool:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


@contextlib.contextmanager
def one_at_a_time(path: Path, waiting: str) -> Iterator[None]:
    """Let no other process, nor thread, of this machine in until this is done; the end of a process lets the next in.

    Args:
        path: of a file that stands for it.
        waiting: what to say on stderr where another is in for long.
    """
    with path.open("ab") as file:
        began, said = time.monotonic(), False
        while locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB) is False:
            if not said and time.monotonic() - began > PATIENCE:
                said = True
                print(waiting, file=sys.stderr, flush=True)
            time.sleep(AGAIN_S)
        yield


def locked(file: IO[bytes], how: int) -> bool | None:
    """Lock a file until it is closed; say whether it is now. None: where it lies nothing can be locked.

    Args:
        file: that is open.
        how: as `fcntl.flock` has it.
    """
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True

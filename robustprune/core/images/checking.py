"""Every picture of a data set, opened and decoded once before anything is computed; what was found is remembered.

A training of days is not to end at a file that was cut off in the last epoch.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from robustprune.core.errors import InputError
from robustprune.core.images.memory import Checked, PictureMemory, Stamp, stamp
from robustprune.core.images.reading import check_checksums, read_rgb


def check_pictures(
    paths: Sequence[Path], *, memory: Path, tell: Callable[[int], object] = lambda done: None
) -> list[Checked]:
    """Decode every picture that is not remembered, in as many threads as there are cores.

    Args:
        paths: of the files.
        memory: folder where it is remembered which files were whole, by their size and time stamp, so that they are
            not decoded again. One that cannot be written is no error.
        tell: called with the number of pictures done so far.

    Raises:
        InputError: files are missing or damaged; the first is named, and how many there are.
    """
    remembered = PictureMemory(memory)
    found: dict[int, Checked] = {}
    damaged: dict[int, InputError] = {}
    pool = ThreadPoolExecutor()
    try:
        jobs = {}
        for index, path in enumerate(paths):
            known = remembered.get(path)
            if known is not None:
                found[index] = known
            else:
                jobs[pool.submit(_decoded, path)] = index
        for job in as_completed(jobs):
            index = jobs[job]
            try:
                when, found[index] = job.result()
            except InputError as error:
                damaged[index] = error
            else:
                remembered.add(paths[index], when, found[index])
            tell(len(found) + len(damaged))
    finally:
        pool.shutdown(cancel_futures=True)
        remembered.save()
    if damaged:
        others = f"; {len(damaged) - 1} more pictures cannot be read either" if len(damaged) > 1 else ""
        raise InputError(f"{damaged[min(damaged)]}{others}")
    return [found[index] for index in range(len(paths))]


def _decoded(path: Path) -> tuple[Stamp, Checked]:
    try:
        # Before the content: a file that is written meanwhile is decoded again next time.
        when = stamp(path)
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected an image file") from None
    _, kind = read_rgb(io.BytesIO(content), str(path))
    check_checksums(content, str(path))
    return when, Checked(kind, hashlib.sha256(content).hexdigest())

"""Names of files for what people have named: sweeps and studies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

_LONGEST = 100
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def file_stem(words: str, *, told_by: Sequence[str] = ()) -> str:
    """Return words as part of a file's name: at most 100 characters, letters, digits and `._-` of ASCII.

    Words that are such already stay as they are. Others are told apart by a short hash at the end.

    Args:
        told_by: what tells things of the same words apart, such as their places; enters the hash, if there is any.
    """
    fit = _UNFIT.sub("-", words)
    if fit == words and len(words) <= _LONGEST and not told_by:
        return words
    digest = hashlib.sha256(json.dumps([words, *told_by]).encode()).hexdigest()[:8]
    return f"{fit[: _LONGEST - len(digest) - 1]}-{digest}"

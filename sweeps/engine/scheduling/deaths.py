"""Why a trial's process died, and where, from what Ray and Tune keep of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from sweeps.engine.tasks import cause

_ADDRESS = re.compile(r"\bip[:=]\s*([0-9a-fA-F.:]+[0-9a-fA-F])")


class Death(NamedTuple):
    """Why a process died, in a line without its number, so that such deaths count together, and its node's address."""

    why: str
    address: str | None


def death_of(file: str | None) -> Death:
    """Return what the file says in which Tune keeps the error that ended a trial."""
    if file is None:
        return Death("it told no reason", None)
    error = cloudpickle.loads(Path(file).read_bytes())
    found = _ADDRESS.search(str(error))
    address = found[1] if found is not None else None
    if isinstance(error, RayTaskError):
        return Death(cause(error.cause), address)
    if isinstance(error, RayActorError) and error.actor_init_failed:
        # The last line of a traceback: the process could not even load what it was to run.
        return Death(str(error).strip().splitlines()[-1].strip(), address)
    return Death(type(error).__name__, address)

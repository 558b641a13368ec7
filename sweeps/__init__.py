"""Distributed sweeps: a grid of trials on Ray, one row of Parquet each, exactly once, and the statistics on them.

For scripts and notebooks, the work of the commands:

    finished = sweeps.run("demo", set={"finetune.epochs": 2})
    finished.frame                      # the rows, a pandas DataFrame
    finished.analyze(metric="map_adv")  # tests on them
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api.computing import measure, plan, run
    from sweeps.api.reading import analyze, status
    from sweeps.results.sweep import load_results

try:
    __version__ = version("robust-pruning-sweeps")
except PackageNotFoundError:  # a copy of the source that was never installed
    __version__ = "unknown"

__all__ = ["__version__", "analyze", "load_results", "measure", "plan", "run", "status"]

_PLACES = {
    "analyze": "sweeps.api.reading",
    "load_results": "sweeps.results.sweep",
    "measure": "sweeps.api.computing",
    "plan": "sweeps.api.computing",
    "run": "sweeps.api.computing",
    "status": "sweeps.api.reading",
}
"""Where the public names live. They are imported when they are first used: a worker process needs none of them."""


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, for whoever looks for them at a prompt."""
    return sorted({*globals(), *__all__})

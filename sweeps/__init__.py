"""Distributed sweeps: a grid of trials on Ray, one row of Parquet each, exactly once, and the statistics on them."""

from sweeps.results.sweep import load_results
from sweeps.version import __version__

__all__ = ["__version__", "load_results"]

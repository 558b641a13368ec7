"""Which version of the package this is, for results to remember."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("robust-pruning-sweeps")
except PackageNotFoundError:  # a copy of the source that was never installed
    __version__ = "unknown"

"""A plug-in of robust-pruning-sweeps, complete: each of its three methods is one file, named in pyproject.toml."""

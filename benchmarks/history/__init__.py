"""One file of figures per commit, as ratios, so that a slowdown is seen: `python -m benchmarks.history`."""

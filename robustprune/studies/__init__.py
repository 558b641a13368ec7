"""The studies that `sweeps` can run: axes, columns and settings, put together from tasks, methods and training."""

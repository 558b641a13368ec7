"""The commands for scripts and notebooks: the same work, returned as objects with frames and not printed."""

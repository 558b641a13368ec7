"""The commands of the command line, one a file; errors and exit statuses are in `sweeps.cli`."""

"""`python -m sweeps` is the console script `sweeps`."""

from sweeps.cli import main

main()

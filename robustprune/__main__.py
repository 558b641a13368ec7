"""`python -m robustprune`: the science without Ray."""

from robustprune.cli import main

main()

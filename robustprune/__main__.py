"""`python -m robustprune`: the science without Ray."""

from robustprune.cli.main import main

main()

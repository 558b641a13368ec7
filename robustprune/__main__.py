"""`python -m robustprune`: the science without Ray."""

from robustprune.cli.evaluate import main

main()

"""The command line of the science, `python -m robustprune`; each command in a file of its own."""

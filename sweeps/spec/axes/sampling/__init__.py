"""Draws of a space of settings: `sample` in a spec, in place of a list of values for each of many axes."""

"""Hypothesis tests on rows: which differences between trials are more than chance, and how large they are."""

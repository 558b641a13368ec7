"""Physically smaller detectors: what is left of a pruned one when everything that its zeros make idle is taken out."""

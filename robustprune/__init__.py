"""Robust pruning of detectors: attacks, importance scores, masks and measurements, in plain PyTorch.

Usable alone, from a notebook. Nothing here knows how work is distributed; `sweeps` does that.
"""

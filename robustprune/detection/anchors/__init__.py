"""Detectors with anchors in every cell of a grid: what their raw outputs mean, and which of them answer for objects."""

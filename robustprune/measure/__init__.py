"""Measurements of a detector: accuracy and time."""

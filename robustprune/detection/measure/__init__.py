"""Measurements of a detector: detections, their precision, its cost."""

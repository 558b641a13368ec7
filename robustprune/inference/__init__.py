"""Inference with pruned detectors: networks that make their zeros pay."""

from robustprune.inference.compaction import CompactDetector, compact

__all__ = ["CompactDetector", "compact"]

"""Inference with pruned detectors: networks that make their zeros pay."""

from robustprune.inference.compaction import CompactDetector, compact
from robustprune.inference.engine import Engine, dense_engine, fastest_engine

__all__ = ["CompactDetector", "Engine", "compact", "dense_engine", "fastest_engine"]

"""What is pruned together, by name: from a layer's importance scores to its mask."""

from robustprune.structures.structured import structured
from robustprune.structures.unstructured import unstructured

STRUCTURES = {"unstructured": unstructured, "structured": structured}

__all__ = ["STRUCTURES", "structured", "unstructured"]

"""What is pruned together, by name: from the importance scores of all layers to their masks."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from robustprune.detection.darknet.couplings import Group
from robustprune.structures.masks import Masks
from robustprune.structures.structured import structured
from robustprune.structures.unstructured import unstructured

Structure = Callable[[Mapping[str, Tensor], float, Sequence[Group]], Masks]
"""(importance, ratio, groups) to masks, by layer; `groups` are the `couplings` of the layers of `importance`."""

STRUCTURES: dict[str, Structure] = {"unstructured": unstructured, "structured": structured}

__all__ = ["STRUCTURES", "Structure", "structured", "unstructured"]

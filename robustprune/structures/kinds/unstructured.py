"""Prune single weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from robustprune.structures.entry import StructureEntry
from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks
from robustprune.structures.scopes import Scope


def unstructured(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup], scope: Scope) -> Masks:
    """Return masks that keep the most important weights; for arguments see `StructureEntry`.

    `groups` are of no account, since single weights are not coupled.
    """
    return dict(zip(importance, scope(list(importance.values()), ratio), strict=True))


UNSTRUCTURED = StructureEntry(masks=unstructured, coupled=False)

"""What is to be known of a structure, besides how it draws masks: an entry of the registry in `by_name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks
from robustprune.structures.scopes import Scope


@dataclass(frozen=True, kw_only=True)
class StructureEntry:
    """What is pruned together, by name.

    Attributes:
        masks: `masks(importance, ratio, groups, scope)` returns what stays: booleans per layer, in the shape of its
            weights. `importance` has one score per weight of each layer, higher is kept longer; `ratio` in [0, 1] is
            the fraction to prune; `groups` are the coupled channels of those layers, none where the structure is not
            `coupled`; `scope(scores, ratio)` says what stays of parts that compete, see `scopes`.
        coupled: whole channels are decided on, so that those which the network couples have to be known.
        removes: what is pruned leaves the network; otherwise it stays in its place, as zeros.
        fixed: the only ratio beside 0 to which it prunes, every layer alike; None: any, in any scope.
        version: raised by hand when the same scores give other masks.
    """

    masks: Callable[[Mapping[str, Tensor], float, Sequence[CoupledGroup], Scope], Masks]
    coupled: bool = False
    removes: bool = False
    fixed: float | None = None
    version: int = 1


def is_fixed(ratio: float, fixed: float) -> bool:
    """Say whether a ratio is the fixed one of a structure, but for what decimals leave out, such as .333 of 1/3."""
    return abs(ratio - fixed) < 1e-3

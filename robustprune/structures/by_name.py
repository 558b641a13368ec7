"""Structures by name, and the masks that they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from robustprune.plugins import Family, Registry, check_callable
from robustprune.structures.entry import StructureEntry
from robustprune.structures.groups import CoupledGroup, decided_filters
from robustprune.structures.kinds import n_of_m
from robustprune.structures.kinds.filters import CHANNELS, STRUCTURED
from robustprune.structures.kinds.unstructured import UNSTRUCTURED
from robustprune.structures.masks import Masks
from robustprune.structures.ratios import Ratios, ratio_of
from robustprune.structures.scopes import SCOPES, scope_of

STRUCTURES: Registry[StructureEntry] = Registry(
    "robustprune.structures",
    kind="structure",
    entry=StructureEntry,
    bundled={"unstructured": UNSTRUCTURED, "structured": STRUCTURED, "channels": CHANNELS},
    check=lambda name, entry: check_callable(entry.masks),
    family=Family("N:M", "2:4", n_of_m.entry_of),
)


def draw_masks(
    structure: str,
    importance: Mapping[str, Tensor],
    ratio: float,
    *,
    groups: Sequence[CoupledGroup],
    scope: str,
    comparable: bool,
    ratios: Ratios = MappingProxyType({}),
) -> Masks:
    """Return what a structure keeps, per layer of `importance`; see `StructureEntry` and `scopes`.

    Layers of a ratio of their own are pruned to that, whatever the scope; the others compete in it. Channels that come
    and go together have the least ratio of their layers': one leaves only where every layer may lose it. At a ratio of
    0 all stay, everywhere.

    Args:
        structure: by name.
        importance: one score per weight of each layer.
        ratio: fraction to prune.
        groups: the coupled channels of those layers, where the structure decides on these.
        scope: by name.
        comparable: whether scores of different layers are of one unit.
        ratios: of layers, by patterns of their names; see `structures.ratios`.

    Raises:
        InputError: no such structure.
        ValueError: a score is NaN, or the structure returned no boolean per weight.
    """
    entry = STRUCTURES.lookup(structure)
    draw = partial(_drawn, structure, comparable=comparable)
    if not (ratios and ratio):
        return draw(importance, ratio, groups, scope=scope)
    masks = {name: torch.ones_like(scores, dtype=torch.bool) for name, scores in importance.items()}
    if not entry.coupled:
        own = {name: ratio_of([name], ratios, ratio) for name in importance}
        for (at, within), names in _alike(own, ratio, scope).items():
            masks |= draw({name: importance[name] for name in names}, at, groups, scope=within)
        return masks
    least = {index: ratio_of(group.filters, ratios, ratio) for index, group in enumerate(groups)}
    for (at, within), indices in _alike(least, ratio, scope).items():
        some = [groups[index] for index in indices]
        filters = decided_filters(some)  # of a layer, groups of other ratios may decide on the others
        drawn = draw({name: importance[name] for name in filters}, at, some, scope=within)
        for name, decided in filters.items():
            masks[name][decided] = drawn[name][decided]
    return masks


Part = TypeVar("Part")


def _alike(own: Mapping[Part, float | None], ratio: float, scope: str) -> dict[tuple[float, str], list[Part]]:
    """Return parts by the ratio that they are pruned to, and by what they compete in: those of a ratio of their own in
    none, so that each layer of them has it.
    """
    found: dict[tuple[float, str], list[Part]] = {}
    for part, fixed in own.items():
        found.setdefault((ratio, scope) if fixed is None else (fixed, SCOPES[0]), []).append(part)
    return found


def _drawn(
    structure: str,
    importance: Mapping[str, Tensor],
    ratio: float,
    groups: Sequence[CoupledGroup],
    *,
    scope: str,
    comparable: bool,
) -> Masks:
    """Return what a structure keeps at one ratio, and see that it is masks."""
    masks = STRUCTURES[structure].masks(importance, ratio, groups, scope_of(scope, comparable=comparable))
    if masks.keys() != importance.keys():
        first = min(masks.keys() ^ importance.keys())
        raise ValueError(f"structure {structure!r}: found masks of other layers than were scored, such as {first}")
    for layer, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != importance[layer].shape:
            raise ValueError(
                f"structure {structure!r}: found a mask of {mask.dtype} and shape {tuple(mask.shape)} for {layer}, "
                f"expected booleans of shape {tuple(importance[layer].shape)}"
            )
    return masks

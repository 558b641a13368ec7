"""The ratios that layers and structures have of their own: the setting that gives layers theirs, and what is checked of
it, and of a grid, before anything runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS
from robustprune.structures import SCOPES, STRUCTURES, Ratios
from robustprune.structures.entry import is_fixed
from robustprune.structures.ratios import pattern_of
from robustprune.studies.in_words import listed
from sweeps.study import Cell

LayerRatios = dict[str, Annotated[float, Field(ge=0, lt=1)] | Literal["ratio"]]

ROWS: Ratios = {}
"""Unless a spec says otherwise every layer has the row's ratio."""


def ratios_field() -> Any:
    """Return the field of a study's settings that gives layers ratios of their own."""
    return Field(
        default=ROWS,
        description="by patterns of layers' names, such as *.downsample.*, of which the first that matches counts: a "
        "ratio that such layers have wherever anything is pruned, or the word ratio: the row's, as other layers have",
    )


def layer_ratios(settings: Any) -> Ratios:
    """Return the ratios that layers have of their own, of settings that may have no field for them."""
    found: Ratios = settings.ratios if "ratios" in type(settings).model_fields else ROWS
    return found


def ratio_inputs(settings: Any, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return, as JSON, what the masks of a cell depend on besides scores, structure, scope and ratio: ratios of layers,
    in the order in which patterns are looked at.
    """
    own = layer_ratios(settings) if cell["ratio"] != 0 else ROWS
    return {"ratios": [*map(list, own.items())]} if own else {}


def told_ratios(ratios: Ratios) -> dict[str, str]:
    """Return, for `Study.facts`, which layers have ratios of their own; nothing where none have."""
    said = [
        f"{pattern}: {'that of the row' if ratio == 'ratio' else f'{ratio:g}'}" for pattern, ratio in ratios.items()
    ]
    return {"ratios of layers": ", ".join([*said, "others: that of the row"])} if ratios else {}


def check_fixed(cells: Sequence[Cell], ratios: Ratios, *, scope: Callable[[Cell], str], axis: bool) -> None:
    """See that structures of one ratio are asked for no other, and that ratios of layers are shares of weights.

    Args:
        cells: in which a method is at work.
        ratios: of layers.
        scope: returns what competes for staying in a cell.
        axis: that is an axis, not a setting.

    Raises:
        InputError: one is.
    """
    for name in dict.fromkeys(str(cell["initializer"]) for cell in cells) if ratios else ():
        if INITIALIZERS[name].prunes != "weights":
            raise InputError(
                f"ratios: found ratios of layers with the initializer {name!r}, whose ratio is a share of the whole "
                "network's operations, expected none with it (ratios: {})"
            )
    points = dict.fromkeys((str(cell["structure"]), float(cell["ratio"]), scope(cell)) for cell in cells)
    for structure in dict.fromkeys(name for name, _, _ in points):
        fixed = STRUCTURES.lookup(structure).fixed
        if fixed is None:
            continue
        quoted, pruned = json.dumps(structure), [(at, of) for name, at, of in points if name == structure and at]
        said = f"with the structure {quoted}, which prunes every layer to {fixed:g}"
        if others := list(dict.fromkeys(at for at, _ in pruned if not is_fixed(at, fixed))):
            entries = ", ".join(f"{{structure: {quoted}, ratio: {each:g}}}" for each in others)
            raise InputError(
                f"grid.ratio: found {', '.join(f'{each:g}' for each in others)} {said} (at 0 nothing), expected "
                f"{fixed:g} or 0: leave the others out by grid.exclude: [{entries}], or list the structure's own cells "
                "under grid.include"
            )
        if within := next((of for _, of in pruned if of != SCOPES[0]), None):
            left_out = f" (grid.exclude: [{{structure: {quoted}, scope: {within}}}])" if axis else ""
            raise InputError(
                f"{'grid.scope' if axis else 'scope'}: found {within!r} {said}, so that layers cannot compete, "
                f"expected {SCOPES[0]!r}{left_out}"
            )
        for pattern, ratio in ratios.items():
            if ratio != "ratio" and ratio and not is_fixed(ratio, fixed):
                raise InputError(f"ratios.{pattern}: found {ratio:g} {said}, expected 0, {fixed:g} or ratio")


def layer_names(network: nn.Module) -> list[str]:
    """Return the names of a network's layers with weights to prune, among them those that never are."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def check_ratios(ratios: Ratios, networks: Mapping[str, tuple[Sequence[str], Iterable[str]]]) -> list[str]:
    """See that every pattern means something; return a sentence per network on the layers that have which ratio.

    Args:
        ratios: of layers.
        networks: by what a user calls each, the names of its layers: all of them, and those that may be pruned.

    Raises:
        InputError: a pattern is the first that matches for no layer of any network, or prunes what may not be pruned.
    """
    if not ratios:
        return []
    first = {
        name: {layer: pattern for layer in layers if (pattern := pattern_of(layer, ratios)) is not None}
        for name, (layers, _) in networks.items()
    }
    for index, (pattern, ratio) in enumerate(ratios.items()):
        matched = {layer for of in first.values() for layer, by in of.items() if by == pattern}
        if not matched:
            _refuse(pattern, [*ratios][:index], networks)
        if ratio and not any(matched & {*prunable} for _, prunable in networks.values()):
            raise InputError(
                f"ratios.{pattern}: found {ratio}, but all that it matches is never pruned, {listed(sorted(matched))}, "
                "expected 0, or a pattern of other layers"
            )
    told = []
    for name, (_, prunable) in networks.items():
        by: dict[float | str, list[str]] = {}
        for layer in prunable:
            by.setdefault(ratios[first[name][layer]] if layer in first[name] else "ratio", []).append(layer)
        rows, own = by.pop("ratio", []), [f"at {ratio:g}: {listed(layers)}" for ratio, layers in by.items()]
        count = len(rows) + sum(map(len, by.values()))
        told.append("; ".join([f"ratios: of {name}, {len(rows)} of {count} layers have the row's ratio", *own]))
    return told


def _refuse(pattern: str, before: Sequence[str], networks: Mapping[str, tuple[Sequence[str], Iterable[str]]]) -> None:
    names = [layer for layers, _ in networks.values() for layer in layers]
    taken = next((layer for layer in names if pattern_of(layer, {pattern: 0.0}) is not None), None)
    if taken is not None:
        earlier = pattern_of(taken, dict.fromkeys(before, 0.0))
        raise InputError(
            f"ratios.{pattern}: found a pattern all of whose layers, such as {taken}, match {earlier!r} before it, "
            "expected it before that one"
        )
    raise InputError(
        f"ratios.{pattern}: found a pattern that matches no layer of {', '.join(networks)}, expected one of names such "
        f"as {listed(names)}"
    )

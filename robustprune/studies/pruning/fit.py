"""Which methods fit which structures, scopes and ratios; asked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS
from robustprune.structures import STRUCTURES


def check_fit(
    cells: Iterable[Mapping[str, Any]], *, scope: Callable[[Mapping[str, Any]], str], settings: Callable[[str], Any]
) -> None:
    """See that methods fit the structures, scopes and ratios that the grid has them at.

    Args:
        cells: in which a method is at work.
        scope: of a cell.
        settings: of a method, by its name.

    Raises:
        InputError: one does not.
    """
    asked = {
        (str(cell["initializer"]), str(cell["structure"]), scope(cell), float(cell["ratio"])): None for cell in cells
    }
    for name, structure, among, ratio in asked:
        method = INITIALIZERS[name]
        coupled = method.structures == "coupled"
        if method.structures != "any" and STRUCTURES[structure].coupled != coupled:
            fitting = [each for each, entry in STRUCTURES.items() if entry.coupled == coupled]
            raise InputError(
                f"grid.structure: found {structure!r} with the initializer {name!r}, expected one that it fits: "
                f"{' or '.join(fitting)}"
            )
        if method.refuses is not None:
            why = method.refuses(settings(name), structure=structure, scope=among, ratio=ratio)
            if why is not None:
                raise InputError(why)

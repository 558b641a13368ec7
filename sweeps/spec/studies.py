"""How a study is found by its name: among entry points of the group `sweeps.studies`, or as `module:Class`."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from types import ModuleType

from sweeps.errors import SpecError
from sweeps.spec.bundles import cause_of, source_of
from sweeps.study import Study

GROUP = "sweeps.studies"

OURS = "robust-pruning-sweeps"
"""The distribution that `sweeps` belongs to; its version is no part of a key, since its stages have their own."""


def find(name: str, *, importing: bool = True) -> type[Study]:
    """Return the study class of that name.

    Args:
        name: of an entry point, or `module:Class`.
        importing: import a module that is named so. Else it counts only if this process has imported it already: the
            name may be from a storage that others write to.

    Raises:
        SpecError: there is no such study, or the package that has it is broken.
    """
    module_name, _, attribute = name.partition(":")
    points = registered()
    if name in points:
        return _loaded(points[name])
    if attribute and not importing:
        module = sys.modules.get(module_name)
        if module is None or attribute not in vars(module):
            raise SpecError(
                f"study: found {name!r} in a storage, which is of no installed package, expected a registered study: "
                "no other is imported because a file says so"
            )
        return _checked(vars(module)[attribute], name)
    if attribute:
        try:
            found = getattr(_imported(module_name), attribute)
        except (Exception, SystemExit) as error:  # whatever a file of a user trips over
            raise SpecError(f"study: found {name!r}, which cannot be imported: {cause_of(error)}") from error
        return _checked(found, name)
    near = difflib.get_close_matches(name, points, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"study: found {name!r}, expected {', '.join(sorted(points))} or module:Class{hint}")


def registered() -> dict[str, EntryPoint]:
    """Return the entry points of studies by name. Nothing is imported: one that is broken does no harm to others."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def loadable() -> Iterator[tuple[str, type[Study]]]:
    """Yield the registered studies with their names; those that cannot be loaded are passed over, see `broken`."""
    for name in registered():
        try:
            study = find(name)
        except SpecError:
            continue
        yield name, study


_loaded_from: dict[tuple[str, str], EntryPoint] = {}
"""Of classes that were found by the name of an entry point, which may lead to them from elsewhere."""


def plugin_of(module: str, name: str) -> str | None:
    """Return `name==version` of the foreign distribution that registers a class; None for ours, and for none at all."""
    place = f"{module}:{name}"
    points = [point for point in registered().values() if point.value == place]
    for point in [*points, *filter(None, [_loaded_from.get((module, name))])]:
        if point.dist is not None and point.dist.name != _ours():
            return f"{point.dist.name}=={point.dist.version}"
    return None


def broken() -> Iterator[str]:
    """Yield a sentence per foreign package whose study cannot be loaded, with the cause."""
    for point in registered().values():
        if point.dist is not None and point.dist.name == _ours():
            continue
        try:
            _loaded(point)
        except SpecError as error:
            yield str(error)


def _loaded(point: EntryPoint) -> type[Study]:
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # a foreign package may raise anything when it is imported
        raise SpecError(
            f"study: {point.name!r} of {source_of(point)} cannot be loaded from {point.value}: {cause_of(error)}"
        ) from error
    study = _checked(found, point.name)
    _loaded_from[study.__module__, study.__qualname__] = point
    return study


def _imported(module_name: str) -> ModuleType:
    """Import a module, also from the current folder, as `python -m sweeps` does and the console script would not."""
    here = str(Path.cwd())
    if here not in sys.path:
        # Last: a file there may be named like a module of Python's. Ray tells its processes of the folder by itself.
        sys.path.append(here)
    return importlib.import_module(module_name)


def _checked(found: object, name: str) -> type[Study]:
    if not isinstance(found, type):
        raise SpecError(f"study: found {name!r}, which is a {type(found).__name__}, expected a class")
    if not issubclass(found, Study):
        raise SpecError(f"study: found {name!r}, a class that is no Study, expected a subclass of sweeps.study.Study")
    return found


@functools.lru_cache(maxsize=1)
def _ours() -> str:
    try:
        return distribution(OURS).name
    except PackageNotFoundError:
        return OURS

"""Methods by name: those of this package, and those that other installed packages add through entry points.

A package adds one by an entry point, of the group that its registry names, which leads to an entry of the registry's
type:

    [project.entry-points."robustprune.initializers"]
    noise = "their_package:NOISE"

A plug-in that cannot be used does no harm to others: it is left out, and whoever asks for it is told why.
"""

from __future__ import annotations

import difflib
import functools
import operator
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast

from pydantic import BeforeValidator, Field

from robustprune.core.errors import InputError

Entry = TypeVar("Entry")

OWN = "robust-pruning-sweeps"
"""The distribution of this package, whose entries have no part in keys."""


class Family(NamedTuple, Generic[Entry]):
    """Entries that are too many to list: their names say what they are.

    Attributes:
        told: such a name in words, such as `N:M`.
        example: one of them.
        entry: from a name to its entry; None for a name that is none of them.
    """

    told: str
    example: str
    entry: Callable[[str], Entry | None]


class Registry(Mapping[str, Entry], Generic[Entry]):
    """The entries of one kind, by name. Plug-ins are imported when the first of them is asked for."""

    def __init__(
        self,
        group: str,
        *,
        kind: str,
        entry: type[Entry],
        bundled: Mapping[str, Entry],
        check: Callable[[str, Entry], None] = lambda name, entry: None,
        admits: Callable[[Entry], bool] = lambda entry: True,
        family: Family[Entry] | None = None,
    ) -> None:
        """Take what is bundled.

        Args:
            group: of the entry points that add to it.
            kind: what an entry is, for messages.
            entry: the type of an entry.
            bundled: by name.
            check: raises ValueError for an entry of a plug-in that cannot be what its name says.
            admits: passes over entries that are for others, such as for another task.
            family: entries beside those, which iterating leaves out.
        """
        self.group, self.kind = group, kind
        self._entry, self._bundled, self._check, self._admits = entry, dict(bundled), check, admits
        self._family = family
        self._origins: dict[str, str] = {}
        self._broken: dict[str, str] = {}

    @property
    def broken(self) -> Mapping[str, str]:
        """Why a plug-in was left out, by name; with its package."""
        assert self._entries is not None  # they are loaded now
        return self._broken

    @functools.cached_property
    def _entries(self) -> dict[str, Entry]:
        found = dict(self._bundled)
        for point in entry_points(group=self.group):
            origin = _distribution(point)
            try:
                entry = point.load()
                if not isinstance(entry, self._entry):
                    raise TypeError(
                        f"found {point.value}, which is a {type(entry).__name__}, expected a {self._entry.__name__}"
                    )
                if not self._admits(entry):
                    continue
                if not re.fullmatch(r"\w[\w-]*", point.name) or point.name == "none":
                    raise ValueError(
                        f"found the name {point.name!r}, expected letters, digits, _ and -, and not 'none', which "
                        "stands for unpruned networks"
                    )
                if point.name in found:
                    raise ValueError(f"the name {point.name!r} is taken")
                self._check(point.name, entry)
            except (Exception, SystemExit) as error:  # Whatever a package trips over while it is imported.
                self._broken[point.name] = f"{origin}: {type(error).__name__}: {' '.join(str(error).split())}"
                continue
            found[point.name] = entry
            self._origins[point.name] = origin
        return found

    def __getitem__(self, name: str) -> Entry:
        """Return the entry called `name`.

        Raises:
            KeyError: there is none; `lookup` says it to a user.
        """
        if name not in self._entries and self._family is not None:
            found = self._family.entry(name)
            if found is not None:
                return found
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, the bundled ones first."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._entries)

    @property
    def listed(self) -> dict[str, Entry]:
        """The entries to show, and one that stands for the family, under its name in words."""
        family = {} if self._family is None else {self._family.told: self[self._family.example]}
        return {**self._entries, **family}

    def lookup(self, name: str) -> Entry:
        """Return the entry called `name`.

        Raises:
            InputError: no such entry; the message names the nearest one and all of them, or why a plug-in is left out.
        """
        if name in self:
            return self[name]
        if name in self.broken:
            raise InputError(f"{self.kind} {name!r}: its plug-in cannot be used, of {self.broken[name]}")
        near = difflib.get_close_matches(name, self._entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown {self.kind} {name!r}: expected one of {', '.join(self.listed)}{hint}")

    def refuse_broken(self, given: Any) -> Any:
        """Return what a spec gives, a name or settings with a `name`; a pydantic validator.

        Raises:
            ValueError: it names a plug-in that is left out; the message has its package and cause.
        """
        name = given.get("name") if isinstance(given, dict) else given
        if isinstance(name, str) and name not in self._entries and name in self.broken:
            raise ValueError(f"found {name!r}, whose plug-in cannot be used, of {self.broken[name]}")
        return given

    def remarks(self) -> list[str]:
        """Return a sentence per plug-in that was left out."""
        return [f"the {self.kind} {name!r} is left out: plug-in of {why}" for name, why in self.broken.items()]

    def origin(self, name: str) -> str | None:
        """Return the package, and its version, that an entry comes from; None for what is bundled."""
        assert name in self.listed or name in self
        return self._origins.get(name)

    def identity(self, name: str) -> dict[str, Any]:
        """Return what a key has to say of an entry besides its name: a raised version, and a foreign package.

        A bundled entry of version 1 adds nothing.
        """
        version = getattr(self[name], "version", 1)
        origin = self.origin(name)
        return {
            **({"version": version} if version != 1 else {}),
            **({"plugin": origin} if origin is not None else {}),
        }


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """What a task knows several of by name: a loss, a network, a data set. Each task says what it expects.

    Attributes:
        task: the task that it is for: `detection`, `classification`.
        provides: a function, or the settings of a data set.
        version: raised by hand when it computes something else.
    """

    task: str
    provides: Any
    version: int = 1


def task_registry(
    group: str,
    *,
    kind: str,
    task: str,
    bundled: Mapping[str, Any],
    check: Callable[[str, TaskEntry], None] | None = None,
) -> Registry[TaskEntry]:
    """Return the registry of what one task knows by name; `bundled` is what the entries provide, or entries.

    Without a `check`, that is to be a function.
    """
    return Registry(
        group,
        kind=kind,
        entry=TaskEntry,
        bundled={
            name: each if isinstance(each, TaskEntry) else TaskEntry(task=task, provides=each)
            for name, each in bundled.items()
        },
        check=check if check is not None else lambda name, entry: check_callable(entry.provides),
        admits=lambda entry: entry.task == task,
    )


def check_callable(provided: Any) -> None:
    """Check that what an entry provides is a function.

    Raises:
        TypeError: it is not.
    """
    if not callable(provided):
        raise TypeError(f"it provides a {type(provided).__name__}, expected a function")


def check_named_settings(name: str, settings: Any) -> None:
    """Check that a union of settings can tell these by their field `name`.

    Raises:
        ValueError: it cannot.
    """
    field = settings.model_fields.get("name")
    if field is None or typing.get_args(field.annotation) != (name,):
        raise ValueError(f"its settings lack the field name: Literal[{name!r}]")


def any_settings(registry: Registry[TaskEntry]) -> Any:
    """Return the type of settings that are of any entry of a registry, told by their field `name`, for pydantic."""
    union = functools.reduce(operator.or_, [cast(Any, entry.provides) for entry in registry.values()])
    return Annotated[union, Field(discriminator="name"), BeforeValidator(registry.refuse_broken)]


def any_name(registry: Registry[Any]) -> Any:
    """Return the type of the name of any entry of a registry, for pydantic."""
    return Annotated[Literal[tuple(registry)], BeforeValidator(registry.refuse_broken)]


def identities(*used: tuple[Registry[Any], str]) -> dict[str, Any]:
    """Return, as JSON, what keys have to say of the entries that a result is made with; nothing of bundled ones."""
    said = {f"{registry.kind} {name}": registry.identity(name) for registry, name in used}
    return {name: identity for name, identity in said.items() if identity}


def _distribution(point: EntryPoint) -> str:
    """Return the package of an entry point and its version, as pip spells it."""
    return f"{point.dist.name}=={point.dist.version}" if point.dist is not None else "an unknown package"

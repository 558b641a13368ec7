"""What pruned networks reach before they are trained again: the setting that has it measured, and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field


def hard_pruned_field() -> Any:
    """Return the field of a study's settings that has hard-pruned networks measured."""
    return Field(
        default=True,
        description="measure pruned networks before they are trained again, too, in the columns that end in _hard; it "
        "costs one more measurement under attack a row. Set it before rows are computed: those that are finished get "
        "none",
    )


def hard_columns(columns: Iterable[str]) -> dict[str, type]:
    """Return a column of numbers for each of those named, as measured before training."""
    return {f"{name}_hard": float for name in columns}


def hard_meanings(columns: Iterable[str], meanings: Mapping[str, str]) -> dict[str, str]:
    """Return what `hard_columns` are, by what those of after training are."""
    return {
        f"{name}_hard": f"{meanings[name]}: hard-pruned, before any training after it, batch norm's statistics renewed "
        "as `renewal` says; null where that was not measured, as in baselines"
        for name in columns
    }


def hard(measured: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Return those of what was measured that are kept of hard-pruned networks, under their names."""
    return {f"{name}_hard": measured[name] for name in columns}

"""What training under attack lowers, each objective in a file of its own, and a term that may be added to any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustprune.training.objectives import by_name
from robustprune.training.objectives.by_name import OBJECTIVES, check_fit, entry_of, form_of
from robustprune.training.objectives.entry import Form, ObjectiveEntry

if TYPE_CHECKING:
    from robustprune.training.objectives.by_name import ObjectiveSettings

__all__ = ["OBJECTIVES", "Form", "ObjectiveEntry", "ObjectiveSettings", "check_fit", "entry_of", "form_of"]


def __getattr__(name: str) -> Any:
    """Return the type of settings that has those of plug-ins in it; see `by_name`."""
    return getattr(by_name, name)

"""What is to be known of a way to train under attack, besides how it works: an entry of the registry in `by_name`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from robustprune.core.settings import Settings


class Form(NamedTuple):
    """An objective without its task and its attack, its settings bound to it.

    Attributes:
        loss: `loss(task, clean, attacked, targets)`; see `ObjectiveEntry`.
        ascended: `ascended(task, clean, attacked, targets)`; likewise.
    """

    loss: Callable[[Any, Any, Any, Any], Tensor]
    ascended: Callable[[Any, Any, Any, Any], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectiveEntry:
    """A way to train under attack, by name.

    Attributes:
        loss: `loss(task, clean, attacked, targets, **settings)` returns the scalar of a batch that training lowers. It
            is given the task's outputs on the images under attack, and on the same images as they are: None unless
            `clean_too`.
        settings: their field `name` admits the objective's name alone.
        clean_too: clean images are trained on beside attacked ones, in the same pass.
        ascended: `ascended(task, clean, attacked, targets, **settings)` returns what the attack raises, for each
            example by itself, (N,), where that is not the task's own loss. `clean` has no gradient then.
        sees: what the outputs have to be. Every task has a loss of them; only classifiers' are logits.
        version: raised by hand when the same settings train otherwise.
    """

    loss: Callable[..., Tensor]
    settings: type[Settings]
    clean_too: bool
    ascended: Callable[..., Tensor] | None = None
    sees: Literal["loss", "logits"] = "loss"
    version: int = 1

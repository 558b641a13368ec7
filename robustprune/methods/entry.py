"""What is to be known of a method that scores weights, besides how it works: an entry of the registry in `by_name`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from robustprune.core.operations import Work
from robustprune.core.settings import Settings
from robustprune.methods.problem import Problem
from robustprune.task import Task


class NoSettings(Settings):
    """Nothing to set."""


@dataclass(frozen=True, kw_only=True)
class InitializerEntry:
    """A way to score weights ("initializer" of the pruning mask), by name.

    Attributes:
        score: `score(network, problem, settings)` returns one tensor per layer of `problem.layers`, in the shape of its
            weights; higher is kept longer. The network is in eval mode, and left as it is.
        settings: with a default for every field.
        per_structure: scores depend on what is pruned together, and so serve one structure.
        per_ratio: they depend on the structure, the scope and the ratio.
        comparable: in the scope `global`, scores of different layers compete as they are; otherwise each counts beside
            the mean of its layer's. As they are does well for scores of one unit, such as a change of the loss.
        sees_images: they depend on images.
        attacks: these are attacked, where the network was trained under attack.
        work: `work(settings, forward=…, images=…, attack=…, clean_too=…)`, with arguments as in
            `core.operations.training`, tells what scoring takes; None where that is not known.
        check: `check(task, network)` raises InputError for a network that cannot be scored, before anything runs.
        version: raised by hand when the same settings give other scores.
    """

    score: Callable[[nn.Module, Problem, Any], dict[str, Tensor]]
    settings: type[Settings] = NoSettings
    per_structure: bool = False
    per_ratio: bool = False
    comparable: bool = False
    sees_images: bool = True
    attacks: bool = True
    work: Callable[..., Work] | None = None
    check: Callable[[Task, nn.Module], object] | None = None
    version: int = 1

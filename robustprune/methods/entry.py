"""What is to be known of a method that scores weights, besides how it works: an entry of the registry in `by_name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from robustprune.core.operations import Work
from robustprune.core.settings import Settings
from robustprune.methods.outcome import Outcome
from robustprune.methods.problem import Problem
from robustprune.task import Task


class NoSettings(Settings):
    """Nothing to set."""


@dataclass(frozen=True, kw_only=True)
class InitializerEntry:
    """A way to score weights ("initializer" of the pruning mask), by name.

    Attributes:
        score: `score(network, problem, settings)` returns one tensor per layer of `problem.layers`, in the shape of its
            weights; higher is kept longer. Or an `Outcome`, where the method trains a network itself, or draws the
            masks. The network is in eval mode, and left as it is.
        settings: with a default for every field.
        per_structure: scores depend on what is pruned together, and so serve one structure.
        per_ratio: they depend on the structure, the scope and the ratio.
        comparable: in the scope `global`, scores of different layers compete as they are; otherwise each counts beside
            the mean of its layer's. As they are does well for scores of one unit, such as a change of the loss.
        sees_images: they depend on images.
        attacks: these are attacked, where the network was trained under attack; or where a field `attacked` of the
            settings says so, if there is one that is not null.
        work: `work(settings, forward=…, images=…, attack=…, clean_too=…)`, with arguments as in
            `core.operations.training`, tells what scoring takes; None where that is not known.
        leaves_out: where whole channels will be pruned, it computes with no more of them than it must: `work` is given
            `left=…` as well, the share of a layer's channels that stay, which is 1 in other structures.
        check: `check(task, network)` raises InputError for a network that cannot be scored, before anything runs.
        refuses: `refuses(settings, structure=…, scope=…, ratio=…)` says in a sentence why it cannot serve one of the
            grid, with the field, what was found and what was expected; None where it can. It is asked before anything
            runs, of the ratios at which the method works.
        trains: how it comes to a network of its own: `onward` from the checkpoint; from `scratch`, so that it needs no
            checkpoint, and works at a ratio of 0 too; None: weights stay as they are.
        prunes: what the ratio is a share of.
        structures: which it fits: those in which whole channels go, `coupled`, the others, or `any`.
        tables: what it keeps beside a row: names of tables, and for each column its name and int, float, bool or a
            smaller type of numpy.
        columns: of a row, that it fills itself: names, and int, float or bool.
        meanings: of these tables and columns; `table.column` for one of a table.
        version: raised by hand when the same settings give other scores.
    """

    score: Callable[[nn.Module, Problem, Any], dict[str, Tensor] | Outcome]
    settings: type[Settings] = NoSettings
    per_structure: bool = False
    per_ratio: bool = False
    comparable: bool = False
    sees_images: bool = True
    attacks: bool = True
    work: Callable[..., Work] | None = None
    leaves_out: bool = False
    check: Callable[[Task, nn.Module], object] | None = None
    refuses: Callable[..., str | None] | None = None
    trains: Literal["onward", "scratch"] | None = None
    prunes: Literal["weights", "operations"] = "weights"
    structures: Literal["any", "coupled", "uncoupled"] = "any"
    tables: Mapping[str, Mapping[str, type]] = field(default_factory=dict)
    columns: Mapping[str, type] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    def attacked(self, settings: Settings, *, trained: bool) -> bool:
        """Say whether images are attacked, by the settings and by whether the network was trained under attack."""
        asked = getattr(settings, "attacked", None)
        return self.attacks and (trained if asked is None else bool(asked))

    def works(self, settings: Any, *, left: float, **scale: Any) -> list[Work]:
        """Return the parts of a scoring's work; none where that is not known.

        Args:
            settings: its own.
            left: share of a layer's channels that stay, where whole ones will be pruned; else 1.
            scale: the other arguments of `work`.
        """
        if self.work is None:
            return []
        return [self.work(settings, **scale, **({"left": left} if self.leaves_out else {}))]

    def outcome(self, network: nn.Module, problem: Problem, settings: Any) -> Outcome:
        """Return what `score` does, in one form."""
        found = self.score(network, problem, settings)
        return found if isinstance(found, Outcome) else Outcome(found)

    @property
    def from_scratch(self) -> bool:
        """Whether it needs no checkpoint."""
        return self.trains == "scratch"

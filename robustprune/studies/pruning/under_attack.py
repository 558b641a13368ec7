"""How a study's networks are trained under attack: the fields that say so, and what these come to."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pydantic import Field

from robustprune.attacks import configured, takes_one_step
from robustprune.core.operations import STATISTICS, AttackWork, counted, training_passes
from robustprune.core.settings import Settings
from robustprune.plugins import identities
from robustprune.studies.in_words import attack as in_words
from robustprune.task import Task
from robustprune.training import Objective
from robustprune.training.objectives import OBJECTIVES, entry_of, form_of
from robustprune.training.objectives.by_name import training_attack_work
from robustprune.training.objectives.free import Free
from robustprune.training.objectives.gradient_alignment import PASSES, Alignment, GradAlign
from robustprune.training.overfitting import Overfitting, Watch


def objective_field(usual: Settings) -> Any:
    """Return the field of a study's settings that says what training under attack lowers."""
    return Field(
        default=usual,
        description="what training under attack lowers, before pruning, in scoring and after it; a name alone will do",
    )


def grad_align_field() -> Any:
    """Return the field of a study's settings that adds GradAlign's term to that."""
    return Field(
        default=None,
        description="a term that keeps gradients beside an image like those at it, against catastrophic overfitting; "
        "null: none",
    )


def free_field() -> Any:
    """Return the field of a study's settings that lets trainings do without steps of an attack."""
    return Field(
        default=None,
        description="free adversarial training: perturbations from the trainings' own steps; null: the adversary's, "
        "which scoring, renewal and the choice of an epoch take either way",
    )


def overfitting_field() -> Any:
    """Return the field of a study's settings that has trainings watched."""
    return Field(
        default=Overfitting(),
        description="how trainings under attacks of a single step (fast-at, fgsm), and free ones, are watched for "
        "catastrophic overfitting; null: never",
    )


def objective_under(attack: Settings, *, settings: Any, task: Task, generator: torch.Generator) -> Objective:
    """Return what training under an attack lowers; all that it draws comes from `generator`.

    Args:
        attack: settings of it.
        settings: of a study, with the fields above, as for all below.
        task: of the network.
        generator: on the CPU.
    """
    alignment, epsilon = None, float(attack.epsilon)  # type: ignore[attr-defined]
    if settings.grad_align is not None:
        weight = settings.grad_align.weight_at(epsilon)
        alignment = Alignment(weight=weight, epsilon=epsilon, generator=generator)
    return Objective(
        task=task,
        attack=configured(attack, generator),
        clean_too=entry_of(settings.objective).clean_too,
        form=form_of(settings.objective),
        alignment=alignment,
        free=None if settings.free is None else Free(replays=settings.free.replays, epsilon=epsilon),
    )


def objective_inputs(settings: Any) -> dict[str, Any]:
    """Return, as JSON, what determines a result besides its attack: nothing where it is as usual."""
    own, term = settings.objective, settings.grad_align
    usual = type(settings).model_fields["objective"].default
    return {
        **({} if own == usual else {"objective": own.model_dump(mode="json")}),
        **identities((OBJECTIVES, own.name)),
        **({} if term is None else {"grad_align": term.model_dump(mode="json")}),
        **({} if settings.free is None else {"free": settings.free.model_dump(mode="json")}),
    }


def watch_of(attack: Settings | None, settings: Any, objective: Objective, *, seed: int) -> Watch | None:
    """Return what watches a training under an attack; None where it is not attacked or there is nothing to see."""
    if attack is None or objective.attack is None:
        return None
    return Watch.of(_watching(settings), task=objective.task, adversary=attack, seed=seed)


def watch_inputs(settings: Any, attack: Settings) -> dict[str, Any]:
    """Return, as JSON, what determines the end of a training under an attack: nothing where it is not watched."""
    own = _watching(settings)
    if own is None or not (own.always or takes_one_step(attack)):
        return {}
    return {"overfitting": own.model_dump(mode="json", exclude={"always"})}


def _watching(settings: Any) -> Overfitting | None:
    """Return how trainings are watched: free ones take a single step at a time, whatever the adversary does."""
    own: Overfitting | None = settings.overfitting
    return own if own is None or settings.free is None else own.model_copy(update={"always": True})


class TrainingWork(NamedTuple):
    """What training on one image takes, in the terms of `core.operations.training`."""

    attack: AttackWork | None
    clean_too: bool


def training_work(settings: Any, attack: Settings) -> TrainingWork:
    """Return what training under an attack takes, the term of GradAlign counted with the attack."""
    passes, words = training_attack_work(settings.objective, attack)
    term = 0 if settings.grad_align is None else PASSES
    return TrainingWork(AttackWork(passes + term, words), entry_of(settings.objective).clean_too)


def loop_work(settings: Any, attack: Settings) -> TrainingWork:
    """Return what a step of the training loop takes of `training_work`, free trainings being told as what they are."""
    usual = training_work(settings, attack)
    if settings.free is None or usual.attack is None:
        return usual
    replays, own = settings.free.replays, training_passes(None) * (1 + usual.clean_too)
    term = 0 if settings.grad_align is None else PASSES
    # Neither a pass for the statistics that an attack sees nor one for its steps, and every batch several times.
    passes = replays * (own + term) - own - STATISTICS
    return TrainingWork(AttackWork(passes, f"free, {counted(replays, 'replay')}"), usual.clean_too)


def training_in_words(settings: Any, attack: Settings) -> str:
    """Return the attack in training, and of the rest what is not as usual."""
    term: GradAlign | None = settings.grad_align
    usual = type(settings).model_fields["objective"].default
    said = [
        in_words(attack),
        *([] if settings.objective == usual else [f"objective {in_words(settings.objective)}"]),
        *([] if settings.free is None else [f"free, {counted(settings.free.replays, 'replay')}"]),
        *([] if term is None else [f"GradAlign, weight {term.weight_at(attack.epsilon):.4g}"]),  # type: ignore[attr-defined]
    ]
    return "; ".join(said)

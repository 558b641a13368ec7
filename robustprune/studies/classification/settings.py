"""The fields of a classification study's spec, and what of them determines the result of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from robustprune import staging
from robustprune.attacks import ATTACKS, AttackSettings, PgdSettings
from robustprune.classification.classifier import NORMALISATIONS, Normalisation
from robustprune.classification.data.datasets import DATASETS, Dataset
from robustprune.classification.losses import LOSSES
from robustprune.classification.measure.evaluation import Evaluation
from robustprune.core.files import file_sha256
from robustprune.core.settings import Settings
from robustprune.methods import INITIALIZERS, NoSettings, initializer_settings
from robustprune.plugins import any_name, identities
from robustprune.studies.classification.training import Retraining, SgdTraining
from robustprune.studies.measured import keep_models_field
from robustprune.studies.pruning.hard_pruned import hard_pruned_field
from robustprune.studies.pruning.ratios import LayerRatios, ratios_field
from robustprune.studies.pruning.under_attack import (
    free_field,
    grad_align_field,
    objective_field,
    objective_inputs,
    overfitting_field,
    watch_inputs,
)
from robustprune.studies.seed_draws import SeedDraws, drawn_inputs, seed_draws_field
from robustprune.training import Renewal
from robustprune.training.objectives import ObjectiveSettings
from robustprune.training.objectives.attacked import AttackedSettings
from robustprune.training.objectives.free import FreeSettings
from robustprune.training.objectives.gradient_alignment import GradAlign
from robustprune.training.overfitting import Overfitting

TRAININGS = ("standard", "adversarial")

FROM_SCRATCH = "cifar10"
"""Of models that are trained here, where the study names none: these learn from whatever it is."""

if TYPE_CHECKING:
    InitializerSettings = BaseModel
    LossName = str
else:
    InitializerSettings = initializer_settings()
    LossName = any_name(LOSSES)


Shade = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(gt=0, le=1)]


class Statistics(Settings):
    """A normalisation: of red, green and blue in [0, 1]."""

    mean: list[Shade] = Field(min_length=3, max_length=3, description="what is subtracted from red, green and blue")
    std: list[Spread] = Field(min_length=3, max_length=3, description="what these are then divided by")

    @property
    def numbers(self) -> Normalisation:
        """What is subtracted and divided by."""
        mean, std = ((values[0], values[1], values[2]) for values in (self.mean, self.std))
        return Normalisation(mean, std)

    @property
    def identity(self) -> str | dict[str, Any]:
        """What it is in keys: its name, if it has one."""
        named = (name for name, numbers in NORMALISATIONS.items() if numbers == self.numbers)
        return next(named, None) or self.model_dump(mode="json")


def _by_name(given: Any) -> Any:
    if given is None or isinstance(given, dict | Statistics):
        return given
    if not isinstance(given, str) or given not in NORMALISATIONS:
        names = ", ".join(map(repr, NORMALISATIONS))
        raise ValueError(f"found {given!r}, expected {names} or {{mean: [r, g, b], std: [r, g, b]}}")
    mean, std = NORMALISATIONS[given]
    return {"mean": list(mean), "std": list(std)}


NormalisationSettings = Annotated[Statistics | None, BeforeValidator(_by_name)]
"""By name, or in numbers; None where nothing was chosen."""


class Weights(Settings):
    """A file of weights, and the normalisation they were trained with."""

    file: str = Field(description="the file, a path or a URI in a bucket; docs/checkpoints.md tells of which kinds")
    normalisation: NormalisationSettings = Field(
        default=None, description="null: what the file brings, or else that of the study"
    )
    part: str | None = Field(
        default=None,
        description="keys, joined by dots, of the weights in a file that has several, such as best or last",
    )


def _named(given: Any) -> Any:
    return {"file": given} if isinstance(given, str) else given


WeightsSettings = Annotated[Weights, BeforeValidator(_named)]
"""A file alone will do."""


class Given(Settings):
    """Weights of a model from elsewhere."""

    standard: WeightsSettings | None = Field(default=None, description="in place of standard training")
    adversarial: WeightsSettings | None = Field(default=None, description="in place of adversarial training")
    initial: WeightsSettings | None = Field(
        default=None, description="for trainings to start from, in place of random weights"
    )


class ClassificationSettings(Settings):
    """The fields of a spec that are this study's own."""

    dataset: Dataset = Field(description="images to train and to measure on")
    normalisation: NormalisationSettings = Field(
        default=None,
        description="of models whose weights bring none: none, cifar10, imagenet, or {mean: […], std: […]}; null: such "
        "files are refused, and what is trained here has cifar10",
    )
    weights: dict[str, Given] = Field(default={}, description="per model, files of weights")
    loss: LossName = Field(default="cross-entropy", description="what training lowers and its attack raises")
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="share of the training images that best epochs are chosen by"
    )
    pretrain: SgdTraining = Field(description="training before pruning, of models whose weights are not given")
    adversary: AttackSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=10, random_start=True),
        description="the attack in adversarial training",
    )
    objective: ObjectiveSettings = objective_field(AttackedSettings())
    grad_align: GradAlign | None = grad_align_field()
    free: FreeSettings | None = free_field()
    overfitting: Overfitting | None = overfitting_field()
    retrain: Retraining = Retraining()
    renewal: Renewal | None = Field(
        default=Renewal(), description="how batch norm's statistics are taken anew after pruning; null: never"
    )
    initializers: InitializerSettings = Field(
        default=InitializerSettings(), description="settings of methods that score weights, by name"
    )
    ratios: LayerRatios = ratios_field()
    evaluation: Evaluation
    hard_pruned: bool = hard_pruned_field()
    keep_models: bool = keep_models_field()
    seed_draws: SeedDraws = seed_draws_field()
    threads: int = Field(default=1, ge=1, description="CPU threads per worker; metrics depend on it in the last bits")

    def given(self, model: str, training: str) -> Weights | None:
        """Return a model's trained weights; None where it is trained here."""
        files = self.weights.get(model, Given())
        return files.standard if training == "standard" else files.adversarial

    def initial(self, model: str) -> Weights | None:
        """Return the weights that a model's trainings start from; None where these are random."""
        return self.weights.get(model, Given()).initial


def pretrain_inputs(settings: ClassificationSettings, *, model: str, training: str) -> dict[str, Any]:
    """Return, as JSON, what determines the checkpoint of a model.

    Raises:
        InputError: a file that is part of it cannot be read.
    """
    network = network_inputs(settings, model=model, training=training)
    if settings.given(model, training) is not None:
        return network
    own = settings.pretrain.model_dump(mode="json")
    attacked = training == "adversarial"
    watched = watch_inputs(settings, settings.adversary) if attacked else {}
    return network | _trained(settings, own, attacked=attacked) | watched


def network_inputs(settings: ClassificationSettings, *, model: str, training: str) -> dict[str, Any]:
    """Return, as JSON, what determines a model before any training of ours, besides its name.

    Raises:
        InputError: a file that is part of it cannot be read.
    """
    network = {"classes": list(settings.dataset.classes), "image_size": settings.dataset.image_size}
    chosen = settings.normalisation
    network |= {"normalisation": FROM_SCRATCH if chosen is None else chosen.identity}
    network |= identities((DATASETS, settings.dataset.name))
    given, initial = settings.given(model, training), settings.initial(model)
    if given is not None:
        network |= {"weights": identified(given, f"weights.{model}.{training}")}
    elif initial is not None:
        network |= {"initial": identified(initial, f"weights.{model}.initial")}
    return network


def score_inputs(settings: ClassificationSettings, *, initializer: str, training: str) -> dict[str, Any]:
    """Return, as JSON, what determines an initializer's scores besides the checkpoint."""
    method = INITIALIZERS[initializer]
    asked = getattr(settings.initializers, initializer) if method.settings.model_fields else NoSettings()
    own = asked.model_dump(mode="json")
    if not method.sees_images:
        return {"settings": own, **drawn_inputs(settings.seed_draws)}
    return _trained(settings, own, attacked=method.attacked(asked, trained=training == "adversarial"))


def row_inputs(settings: ClassificationSettings, *, training: str, pruned: bool) -> dict[str, Any]:
    """Return, as JSON, what determines a row besides the checkpoint and the scores."""
    measured = {
        "test": settings.dataset.fingerprint("test"),
        "evaluation": settings.evaluation.model_dump(mode="json"),
        "threads": settings.threads,
        **identities((DATASETS, settings.dataset.name)),
        **identities(*((ATTACKS, each.name) for each in (settings.evaluation.attack, *settings.evaluation.distances))),
    }
    if not pruned:
        return measured
    attacked = retrained_under_attack(settings, training)
    own = settings.retrain.model_dump(mode="json", exclude={"under_attack"})
    renewal = None if settings.renewal is None else settings.renewal.model_dump(mode="json")
    watched = watch_inputs(settings, settings.adversary) if attacked else {}
    return measured | {"retraining": _trained(settings, own, attacked=attacked) | watched, "renewal": renewal}


def retrained_under_attack(settings: ClassificationSettings, training: str) -> bool:
    """Say whether a pruned model is retrained adversarially."""
    wanted = settings.retrain.under_attack
    return training == "adversarial" if wanted is None else wanted


def identified(weights: Weights, field: str) -> dict[str, Any]:
    """Return, as JSON, what identifies a file of weights: its content.

    Raises:
        InputError: it cannot be read.
    """
    normalisation = None if weights.normalisation is None else weights.normalisation.identity
    own = {} if weights.part is None else {"part": weights.part}
    sha256 = file_sha256(str(staging.local(weights.file, field)), field)
    return {"sha256": sha256, "normalisation": normalisation, **own}


def _trained(settings: ClassificationSettings, own: dict[str, Any], *, attacked: bool) -> dict[str, Any]:
    """Return what a training depends on; the attack only where it is made, the decay only where there is one."""
    falls = own.get("schedule") == "exponential"
    return {
        "settings": {name: value for name, value in own.items() if name != "decay" or falls},
        "train": settings.dataset.fingerprint("train"),
        **drawn_inputs(settings.seed_draws),
        "holdout": settings.holdout,
        "threads": settings.threads,
        "loss": settings.loss,
        **identities((DATASETS, settings.dataset.name), (LOSSES, settings.loss)),
        **(_adversary(settings) if attacked else {}),
    }


def _adversary(settings: ClassificationSettings) -> dict[str, Any]:
    own = settings.adversary
    named = identities((ATTACKS, own.name))
    return {"adversary": own.model_dump(mode="json"), **named, **objective_inputs(settings)}

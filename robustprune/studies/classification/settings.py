"""The fields of a classification study's spec, and what of them determines the result of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from robustprune.attacks import ATTACKS, AttackSettings, PgdSettings
from robustprune.classification.data.datasets import DATASETS, Dataset
from robustprune.classification.losses import LOSSES
from robustprune.classification.measure.evaluation import Evaluation
from robustprune.core.files import file_sha256
from robustprune.core.settings import Settings
from robustprune.methods import INITIALIZERS, initializer_settings
from robustprune.plugins import any_name, identities
from robustprune.studies.classification.training import Retraining, SgdTraining
from robustprune.training import Renewal

TRAININGS = ("standard", "adversarial")

NormalisationName = Literal["cifar10", "imagenet", "none"]

if TYPE_CHECKING:
    InitializerSettings = BaseModel
    LossName = str
else:
    InitializerSettings = initializer_settings()
    LossName = any_name(LOSSES)


class Weights(Settings):
    """A file of weights, and the normalisation they were trained with."""

    file: str
    normalisation: NormalisationName | None = Field(
        default=None, description="null: what the file brings, or else that of the study"
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

    dataset: Dataset
    normalisation: NormalisationName = Field(
        default="cifar10", description="of models whose weights bring none of their own"
    )
    weights: dict[str, Given] = Field(default={}, description="per model, files of weights")
    loss: LossName = "cross-entropy"
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="share of the training images that best epochs are chosen by"
    )
    pretrain: SgdTraining
    adversary: AttackSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=10, random_start=True),
        description="the attack in adversarial training",
    )
    retrain: Retraining = Retraining()
    renewal: Renewal | None = Field(
        default=Renewal(), description="how batch norm's statistics are taken anew after pruning; null: never"
    )
    initializers: InitializerSettings = InitializerSettings()
    evaluation: Evaluation
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
    network = {"classes": list(settings.dataset.classes), "image_size": settings.dataset.image_size}
    network |= {"normalisation": settings.normalisation, **identities((DATASETS, settings.dataset.name))}
    given, initial = settings.given(model, training), settings.initial(model)
    if given is not None:
        return network | {"weights": identified(given, f"weights.{model}.{training}")}
    if initial is not None:
        network |= {"initial": identified(initial, f"weights.{model}.initial")}
    own = settings.pretrain.model_dump(mode="json")
    return network | _trained(settings, own, attacked=training == "adversarial")


def score_inputs(settings: ClassificationSettings, *, initializer: str, training: str) -> dict[str, Any]:
    """Return, as JSON, what determines an initializer's scores besides the checkpoint."""
    method = INITIALIZERS[initializer]
    own: dict[str, Any] = {}
    if method.settings.model_fields:
        own = getattr(settings.initializers, initializer).model_dump(mode="json")
    if not method.sees_images:
        return {"settings": own}
    return _trained(settings, own, attacked=method.attacks and training == "adversarial")


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
    return measured | {"retraining": _trained(settings, own, attacked=attacked), "renewal": renewal}


def retrained_under_attack(settings: ClassificationSettings, training: str) -> bool:
    """Say whether a pruned model is retrained adversarially."""
    wanted = settings.retrain.under_attack
    return training == "adversarial" if wanted is None else wanted


def identified(weights: Weights, field: str) -> dict[str, Any]:
    """Return, as JSON, what identifies a file of weights: its content.

    Raises:
        InputError: it cannot be read.
    """
    return {"sha256": file_sha256(weights.file, field), "normalisation": weights.normalisation}


def _trained(settings: ClassificationSettings, own: dict[str, Any], *, attacked: bool) -> dict[str, Any]:
    """Return what a training depends on; the attack only where it is made, the decay only where there is one."""
    falls = own.get("schedule") == "exponential"
    return {
        "settings": {name: value for name, value in own.items() if name != "decay" or falls},
        "train": settings.dataset.fingerprint("train"),
        "holdout": settings.holdout,
        "threads": settings.threads,
        "loss": settings.loss,
        **identities((DATASETS, settings.dataset.name), (LOSSES, settings.loss)),
        **(_adversary(settings) if attacked else {}),
    }


def _adversary(settings: ClassificationSettings) -> dict[str, Any]:
    own = settings.adversary
    return {"adversary": own.model_dump(mode="json"), **identities((ATTACKS, own.name))}

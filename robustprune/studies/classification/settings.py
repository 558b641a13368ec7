"""The fields of a classification study's spec, and what of them determines the result of each stage."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model, field_validator

from robustprune.attacks import AttackSettings, PgdSettings
from robustprune.attacks.ddn import DdnSettings
from robustprune.attacks.fmn import FmnSettings
from robustprune.classification.data import Dataset
from robustprune.classification.importances import IMPORTANCES
from robustprune.classification.measure.attacks import FixedBudgetSettings, MinimumNormSettings
from robustprune.classification.training import Training
from robustprune.core.errors import InputError
from robustprune.core.settings import Settings

TRAININGS = ("standard", "adversarial")


NormalisationName = Literal["cifar10", "imagenet", "none"]


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


class Retraining(Training):
    """What a pruned classifier goes through before it is measured."""

    under_attack: bool | None = Field(
        default=None,
        description="null: as the classifier was trained, adversarially or not; false: never, true: always",
    )


class Evaluation(Settings):
    """How a classifier is measured."""

    batch_size: int = Field(default=256, ge=1)
    attack: FixedBudgetSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=20, random_start=True),
        description="under which accuracy_adv is measured",
    )
    distances: list[MinimumNormSettings] = Field(
        min_length=1, description="minimum-norm attacks; an image's distance is the least that any of them finds"
    )
    images: int | None = Field(
        default=None, ge=1, description="of the test images, drawn at random, for those attacks; null: all of them"
    )
    timing_repeats: int = Field(default=40, ge=1)
    timing_warm_up: int = Field(default=5, ge=0)

    @property
    def labelled_distances(self) -> dict[str, DdnSettings | FmnSettings]:
        """The minimum-norm attacks by name, and norm where they have one: `ddn`, `fmn_linf`."""
        return {_label(each): each for each in self.distances}

    @field_validator("distances")
    @classmethod
    def _differ(cls, distances: list[DdnSettings | FmnSettings]) -> list[DdnSettings | FmnSettings]:
        names = [_label(each) for each in distances]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"found {twice[0]} a second time, expected each attack and norm once")
        return distances


ImportanceSettings = create_model(  # one optional entry per importance that has settings
    "ImportanceSettings",
    __base__=Settings,
    **{name: (method.settings, method.settings()) for name, method in IMPORTANCES.items() if method.settings},  # type: ignore[call-overload]
)


class ClassificationSettings(Settings):
    """The fields of a spec that are this study's own."""

    dataset: Dataset
    normalisation: NormalisationName = Field(
        default="cifar10", description="of models whose weights bring none of their own"
    )
    weights: dict[str, Given] = Field(default={}, description="per model, files of weights")
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="share of the training images that best epochs are chosen by"
    )
    pretrain: Training
    adversary: AttackSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=10, random_start=True),
        description="the attack in adversarial training",
    )
    retrain: Retraining = Retraining()
    importances: ImportanceSettings = ImportanceSettings()  # type: ignore[valid-type]
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
    plain = settings.model_dump(mode="json")
    network = {"classes": list(settings.dataset.classes), "image_size": settings.dataset.image_size}
    network |= {"normalisation": settings.normalisation}
    given, initial = settings.given(model, training), settings.initial(model)
    if given is not None:
        return network | {"weights": _identified(given, f"weights.{model}.{training}")}
    if initial is not None:
        network |= {"initial": _identified(initial, f"weights.{model}.initial")}
    return network | _trained(settings, plain["pretrain"], attacked=training == "adversarial")


def score_inputs(settings: ClassificationSettings, *, importance: str, training: str) -> dict[str, Any]:
    """Return, as JSON, what determines an importance's scores besides the checkpoint."""
    own = getattr(settings.importances, importance).model_dump(mode="json")
    method = IMPORTANCES[importance]
    if not method.sees_images:
        return {"settings": own}
    return _trained(settings, own, attacked=method.attacks and training == "adversarial")


def row_inputs(settings: ClassificationSettings, *, training: str, pruned: bool) -> dict[str, Any]:
    """Return, as JSON, what determines a row besides the checkpoint and the scores."""
    plain = settings.model_dump(mode="json")
    measured = {
        "test": settings.dataset.fingerprint("test"),
        "evaluation": plain["evaluation"],
        "threads": settings.threads,
    }
    if not pruned:
        return measured
    attacked = retrained_under_attack(settings, training)
    own = {name: value for name, value in plain["retrain"].items() if name != "under_attack"}
    return measured | {"retraining": _trained(settings, own, attacked=attacked)}


def retrained_under_attack(settings: ClassificationSettings, training: str) -> bool:
    """Say whether a pruned model is retrained adversarially."""
    wanted = settings.retrain.under_attack
    return training == "adversarial" if wanted is None else wanted


def _trained(settings: ClassificationSettings, own: dict[str, Any], *, attacked: bool) -> dict[str, Any]:
    """Return what a training depends on; the attack only where it is made, the decay only where there is one."""
    falls = own.get("schedule") == "exponential"
    return {
        "settings": {name: value for name, value in own.items() if name != "decay" or falls},
        "train": settings.dataset.fingerprint("train"),
        "holdout": settings.holdout,
        "threads": settings.threads,
        **({"adversary": settings.adversary.model_dump(mode="json")} if attacked else {}),
    }


def _label(attack: DdnSettings | FmnSettings) -> str:
    return f"{attack.name}_{attack.norm}" if isinstance(attack, FmnSettings) else attack.name


def _identified(weights: Weights, field: str) -> dict[str, Any]:
    try:
        digest = hashlib.sha256(Path(weights.file).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{field}: {weights.file} cannot be read ({error.strerror})") from error
    return {"sha256": digest, "normalisation": weights.normalisation}

"""The fields of a detection study's spec, and what of them determines the result of each stage."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, create_model, field_validator

from robustprune.attacks import AttackSettings, PgdSettings
from robustprune.core.errors import InputError
from robustprune.core.precision import Compute
from robustprune.core.settings import Settings
from robustprune.detection.darknet import cfg
from robustprune.detection.data.datasets import Dataset
from robustprune.detection.measure.evaluation import Evaluation
from robustprune.detection.training import Training
from robustprune.initializers import INITIALIZERS

MOST_IMAGES = 5000
"""Measured on more images than these, all of COCO's val2017, a model's detections are not kept by default."""


class DetectorSettings(Settings):
    """The network, and where it starts from."""

    config: str = Field(description="a Darknet .cfg file, or the name of a bundled one")
    weights: str | None = Field(default=None, description="Darknet .weights to start from, in place of base training")
    image_size: int = Field(ge=32)
    loss: Literal["ciou"] = "ciou"


class LoaderSettings(Settings):
    """How images are read; no result depends on it."""

    workers: int = Field(default=4, ge=1, description="threads that decode and letterbox, per worker process")
    cache_gib: float = Field(default=2.0, ge=0, description="memory for letterboxed images, per worker process, in GiB")


class DetectionsSettings(Settings):
    """What is kept and shown of each model's detections; no result depends on it."""

    keep: bool | None = Field(
        default=None, description=f"null: where at most {MOST_IMAGES:,} images are measured on, which take 20 MB a row"
    )
    images: list[int] | None = Field(default=None, description="ids of the images in the report; null chooses three")
    confidence: float = Field(default=0.5, ge=0, lt=1, description="what the report shows is surer than that")

    def kept_of(self, images: int) -> bool:
        """Say whether detections on so many images are kept."""
        return images <= MOST_IMAGES if self.keep is None else self.keep


class BaseTraining(Training):
    """Clean training from scratch, once per sweep; without it, the detector starts from given weights."""

    seed: int = Field(default=0, ge=0)


InitializerSettings = create_model(  # one optional entry per registered initializer
    "InitializerSettings",
    __base__=Settings,
    **{name: (method.settings, method.settings()) for name, method in INITIALIZERS.items()},  # type: ignore[call-overload]
)


class DetectionSettings(Settings):
    """The fields of a spec that are this study's own."""

    dataset: Dataset
    detector: DetectorSettings
    attack: AttackSettings = PgdSettings()
    base: BaseTraining | None = Field(default=None, validate_default=True)
    pretrain: Training
    finetune: Training
    initializers: InitializerSettings = InitializerSettings()  # type: ignore[valid-type]
    evaluation: Evaluation = Evaluation()
    compute: Compute = Compute()
    loader: LoaderSettings = LoaderSettings()
    detections: DetectionsSettings = DetectionsSettings()
    keep_models: bool = Field(
        default=False,
        description="keep each row's model in <sweep>/models, as large as its float32 weights; set it before rows are "
        "computed: those that are finished get none",
    )
    prune_heads: bool = False
    share_pretraining: bool = Field(
        default=True, description="one checkpoint per colour and seed; false trains one per trial"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per worker; metrics depend on it in the last bits")

    @field_validator("base")
    @classmethod
    def _starts_somewhere(cls, base: BaseTraining | None, info: ValidationInfo) -> BaseTraining | None:
        detector = info.data.get("detector")
        if base is None and isinstance(detector, DetectorSettings) and detector.weights is None:
            raise ValueError(
                "found nothing, expected detector.weights to start from (--set detector.weights=FILE), "
                "or a training from scratch"
            )
        return base

    @property
    def base_seed(self) -> int:
        """The seed of what all trials start from, and so of baseline rows."""
        return 0 if self.base is None else self.base.seed


# Attack settings younger than the first results, with the value that does nothing: so results keep their keys.
_LATER = (("random_start", False), ("restarts", 1))


def stage_inputs(settings: DetectionSettings) -> dict[str, dict[str, Any]]:
    """Return, as JSON, the settings and fingerprints that determine each stage, besides the stages before it.

    Keys: `base`, `pretrain`, each initializer, `evaluate_row`, and `baseline` for the rows of unprotected detectors.

    Raises:
        InputError: a file that is part of them cannot be read.
    """
    plain = settings.model_dump(mode="json")
    detector = plain["detector"] | {"config": _cfg_sha256(settings.detector.config)}
    if settings.detector.weights is not None:
        detector["weights"] = _file_sha256(settings.detector.weights)
    attack = {name: value for name, value in plain["attack"].items() if (name, value) not in _LATER}
    trained, exact = (_unless_default(compute) for compute in (settings.compute, settings.compute.exactly()))
    common = {"detector": detector, "threads": plain["threads"], **exact}
    train, val = (settings.dataset.fingerprint(split) for split in ("train", "val"))
    own_training = {"training": plain["base"], "train": train, **trained} if settings.detector.weights is None else {}
    robust = common | {"attack": attack, "train": train, **trained}
    measured = common | {"attack": attack, "val": val, "evaluation": plain["evaluation"]}
    pruning = {"prune_heads": plain["prune_heads"]}
    scores = dict(plain["initializers"])
    if _activates_unnormalised(settings.detector.config):
        # Only of such detectors did the first release explain the layers before an activation wrongly.
        scores["deeplift"] = scores["deeplift"] | {"version": 2}
    return {
        "base": common | own_training,
        "pretrain": robust | {"training": plain["pretrain"]},
        **{name: robust | pruning | {"scores": own} for name, own in scores.items()},
        "evaluate_row": measured | pruning | {"train": train, "training": plain["finetune"], **trained},
        "baseline": measured,
    }


def _unless_default(compute: Compute) -> dict[str, Any]:
    """Return nothing for the default, which is younger than the first results too."""
    return {} if compute == Compute() else {"compute": compute.model_dump(mode="json")}


def _cfg_sha256(path_or_name: str) -> str:
    """Identify a .cfg by what it says, not by its comments or where it lies."""
    said = [(section.name, sorted(section.options.items())) for section in cfg.read(path_or_name)]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _activates_unnormalised(config: str) -> bool:
    """Say whether a convolution goes into an activation with no batch norm between."""
    convolutions = [section for section in cfg.read(config) if section.name == "convolutional"]
    return any(
        section.text("batch_normalize", "0") == "0" and section.text("activation", "logistic") != "linear"
        for section in convolutions
    )


def _file_sha256(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"detector.weights: {path} cannot be read ({error.strerror})") from error

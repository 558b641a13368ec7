"""The fields of a detection study's spec, and what of them determines the result of each stage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from robustprune import staging
from robustprune.attacks import ATTACKS, AttackSettings, PgdSettings
from robustprune.core.files import file_sha256
from robustprune.core.precision import Compute
from robustprune.core.settings import GIB, PIXELS, Settings
from robustprune.detection import augmentation
from robustprune.detection.augmentation import Augmentation
from robustprune.detection.darknet import cfg
from robustprune.detection.data.classes import read_names
from robustprune.detection.data.datasets import DATASETS, Dataset
from robustprune.detection.data.letterbox import Fit
from robustprune.detection.image_size import ImageSize, smallest
from robustprune.detection.losses import LOSSES
from robustprune.detection.measure.evaluation import Evaluation
from robustprune.detection.measure.kitti_ap import KittiSettings
from robustprune.detection.measure.matching import MAX_DETECTIONS
from robustprune.detection.networks import NETWORKS, answers_otherwise, network_identity, own_loss
from robustprune.methods import INITIALIZERS, initializer_settings
from robustprune.plugins import any_name, identities
from robustprune.structures import SCOPES
from robustprune.studies.detection.training import AdamTraining
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
from robustprune.training.objectives.clean_and_attacked import CleanAndAttackedSettings
from robustprune.training.objectives.free import FreeSettings
from robustprune.training.objectives.gradient_alignment import GradAlign
from robustprune.training.overfitting import Overfitting

MOST_IMAGES = 5000
"""Measured on more images than these, all of COCO's val2017, a model's detections are not kept by default."""

if TYPE_CHECKING:
    InitializerSettings = BaseModel
    LossName = str
else:
    InitializerSettings = initializer_settings()
    LossName = any_name(LOSSES)


LEAST_SIDE = 32

Side = Annotated[int, Field(ge=LEAST_SIDE)]


def _is_a_side(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and given >= LEAST_SIDE and given % 1 == 0


class DetectorSettings(Settings):
    """The network, what it reads, and where it starts from."""

    config: str = Field(
        description="a Darknet .cfg file, the name of a bundled one, or that of another network: centernet-small, "
        "centernet-resnet18, centernet-dla34, or a plug-in's"
    )
    weights: str | None = Field(
        default=None,
        description="Darknet .weights to start from, in place of base training; a path, or a URI in a bucket",
    )
    backbone: str | None = Field(
        default=None,
        description="file of weights that the backbone of a CenterNet starts from, as torchvision (ResNet-18) or timm "
        "(DLA-34) have them for ImageNet: .safetensors, .npz or PyTorch's; base trains the whole",
    )
    weights_cutoff: int | None = Field(
        default=None,
        ge=1,
        description="only the first so many layers of the .cfg start from the weights, as those of a backbone "
        "(darknet53.conv.74: 74); base trains the whole",
    )
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="side of the images, or [width, height]; null: as the .cfg says, or the network is made for",
        json_schema_extra=PIXELS,
    )
    fit: Fit | None = Field(
        default=None,
        description="how a picture is brought to that size: letterbox keeps its aspect, stretch does not; null: as the "
        "engine does that the .cfg is written for",
    )
    names: str | list[str] | None = Field(
        default=None,
        description="of the detector's classes, in its order: a Darknet .names file, or a list; categories are matched "
        "by name then, else by position",
    )
    loss: LossName | None = Field(
        default=None,
        validate_default=True,
        description="what training lowers and the attack raises; null: that of the detector's family, ciou where there "
        "are anchors, focal for CenterNets, whose targets focal-exact-radius draws narrower",
    )

    @field_validator("image_size", mode="before")
    @classmethod
    def _is_a_size(cls, given: Any) -> Any:
        """Say in one sentence what a size is, and take one as `--image-size` does."""
        written = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", given) if isinstance(given, str) else None
        size = [int(side) for side in written.groups() if side] if written else given
        sides = size if isinstance(size, list | tuple) else [size]
        are_two = len(sides) == 2 or not isinstance(size, list | tuple) or written is not None
        if given is not None and not (are_two and all(_is_a_side(side) for side in sides)):
            raise ValueError(
                f"found {given!r}, expected a side of at least {LEAST_SIDE} pixels, or two, [width, height]"
            )
        return sides[0] if written and len(sides) == 1 else size

    @field_validator("loss")
    @classmethod
    def _is_of_the_family(cls, loss: str | None, info: ValidationInfo) -> str | None:
        """Say which it is, where nothing is said."""
        return own_loss(info.data["config"]) if loss is None and "config" in info.data else loss

    @property
    def size(self) -> ImageSize | None:
        """The size of the images, as the science has it."""
        if not isinstance(self.image_size, list):
            return self.image_size
        width, height = self.image_size
        return smallest(height, width)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, if they are given.

        Raises:
            InputError: the file cannot be read, or names something twice.
        """
        return None if self.names is None else read_names(self.names, "detector.names")

    @property
    def starts_from_weights(self) -> bool:
        """Whether any layer starts from a file."""
        return self.weights is not None or self.backbone is not None

    @property
    def is_whole(self) -> bool:
        """Whether weights for all layers are given, so that nothing is trained before pretraining."""
        return self.weights is not None and self.weights_cutoff is None


class LoaderSettings(Settings):
    """How images are read; no result depends on it."""

    workers: int = Field(default=4, ge=1, description="threads that decode and letterbox, per worker process")
    cache_gib: float = Field(
        default=2.0, ge=0, description="memory for letterboxed images, per worker process", json_schema_extra=GIB
    )


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


class BaseTraining(AdamTraining):
    """Clean training from scratch, once per sweep; without it, the detector starts from given weights."""

    seed: int = Field(default=0, ge=0, description="of random weights, order and mirroring, the same for all trials")


class DetectionSettings(Settings):
    """The fields of a spec that are this study's own."""

    dataset: Dataset = Field(description="images to train and to measure on")
    detector: DetectorSettings
    attack: AttackSettings = Field(
        default=PgdSettings(), description="under which rows are measured, and the attack in adversarial training"
    )
    adversary: AttackSettings | None = Field(
        default=None, description="another attack in adversarial training, such as fast-at; null: attack"
    )
    objective: ObjectiveSettings = objective_field(CleanAndAttackedSettings())
    grad_align: GradAlign | None = grad_align_field()
    free: FreeSettings | None = free_field()
    overfitting: Overfitting | None = overfitting_field()
    augmentation: Augmentation | None = Field(
        default=None, description="how images of every training are changed at random; null: mirrored alone"
    )
    base: BaseTraining | None = Field(default=None, validate_default=True)
    pretrain: AdamTraining = Field(description="adversarial training, before pruning")
    finetune: AdamTraining = Field(description="adversarial training, after pruning")
    renewal: Renewal | None = Field(
        default=Renewal(), description="how batch norm's statistics are taken anew after pruning; null: never"
    )
    initializers: InitializerSettings = Field(
        default=InitializerSettings(), description="settings of methods that score weights, by name"
    )
    scope: Literal["layer", "global"] = Field(
        default="layer", description="the same ratio in every layer, or one ranking of all weights"
    )
    ratios: LayerRatios = ratios_field()
    evaluation: Evaluation = Evaluation()
    compute: Compute = Compute()
    loader: LoaderSettings = LoaderSettings()
    detections: DetectionsSettings = DetectionsSettings()
    hard_pruned: bool = hard_pruned_field()
    keep_models: bool = keep_models_field()
    prune_heads: bool = Field(default=False, description="prune the layers that give the raw outputs, too")
    share_pretraining: bool = Field(
        default=True,
        description="one checkpoint per colour and seed; false trains one per trial, all from the same base detector: "
        "trials of one seed then are no pairs, and are tested as independent groups",
    )
    seed_draws: SeedDraws = seed_draws_field()
    threads: int = Field(default=1, ge=1, description="CPU threads per worker; metrics depend on it in the last bits")

    @field_validator("base")
    @classmethod
    def _starts_somewhere(cls, base: BaseTraining | None, info: ValidationInfo) -> BaseTraining | None:
        detector = info.data.get("detector")
        if base is None and isinstance(detector, DetectorSettings) and not detector.is_whole:
            if detector.weights is not None:
                raise ValueError(
                    "found nothing, expected a training of the layers that detector.weights_cutoff leaves out"
                )
            raise ValueError(
                "found nothing, expected detector.weights to start from (--set detector.weights=FILE), "
                "or a training from scratch"
            )
        return base

    @property
    def training_attack(self) -> Any:
        """The attack in adversarial training."""
        return self.attack if self.adversary is None else self.adversary

    @property
    def base_seed(self) -> int:
        """The seed of what all trials start from, and so of baseline rows."""
        return 0 if self.base is None else self.base.seed


ATTACK_DEFAULTS = (("random_start", False), ("restarts", 1))
"""Settings of attacks that are left out of keys where they do nothing."""

EVALUATION_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("max_detections", MAX_DETECTIONS),
    ("kitti", KittiSettings().model_dump(mode="json")),
)
"""Likewise, settings of measuring that came later."""

PER_IMAGE_ATTACK_VERSION = 2
"""Of what attacks on detectors ascend: since 2 the sum of each image's own loss; see CHANGELOG.md."""

UNNORMALISED_DEEPLIFT_VERSION = 2
"""Of deeplift's scores for detectors that activate a convolution without batch norm; see CHANGELOG.md."""


def stage_inputs(settings: DetectionSettings) -> dict[str, dict[str, Any]]:
    """Return, as JSON, the settings and fingerprints that determine each stage, besides the stages before it.

    Keys: `base`, `pretrain`, each initializer, `evaluate_row`, and `baseline` for the rows of unprotected detectors.

    Raises:
        InputError: a file that is part of them cannot be read.
    """
    plain = settings.model_dump(mode="json")
    detector = _detector(settings.detector, plain["detector"])
    trained, exact = (_unless_default(compute) for compute in (settings.compute, settings.compute.exactly()))
    trained |= augmentation.inputs(settings.augmentation)
    common = {"detector": detector, "threads": plain["threads"], **exact}
    loss = [] if settings.detector.loss is None else [(LOSSES, settings.detector.loss)]
    common |= identities((DATASETS, settings.dataset.name), *loss)
    train, val = (settings.dataset.fingerprint(split) for split in ("train", "val"))
    own_training = {} if settings.detector.is_whole else {"training": plain["base"], "train": train, **trained}
    attacked, adversary = (_attacked(each) for each in (settings.attack, settings.training_attack))
    objective, watched = objective_inputs(settings), watch_inputs(settings, settings.training_attack)
    robust = common | adversary | objective | {"train": train, **trained}
    evaluation = {
        name: value for name, value in plain["evaluation"].items() if (name, value) not in EVALUATION_DEFAULTS
    }
    measured = common | attacked | {"val": val, "evaluation": evaluation}
    drawn = drawn_inputs(settings.seed_draws)
    pruning = {"prune_heads": plain["prune_heads"], **drawn}
    pruning |= {"scope": settings.scope} if settings.scope != SCOPES[0] else {}
    return {
        "base": common | own_training,
        "pretrain": robust | drawn | watched | {"training": plain["pretrain"]},
        **{name: _scored(settings, name, robust, common) for name in INITIALIZERS},
        "evaluate_row": measured
        | pruning
        | objective
        | watched
        | ({} if adversary == attacked else {"adversary": adversary})
        | {"train": train, "training": plain["finetune"], "renewal": plain["renewal"], **trained},
        "baseline": measured,
    }


def _attacked(attack: Settings) -> dict[str, Any]:
    """Return what an attack adds to what determines a stage."""
    plain = attack.model_dump(mode="json")
    said = {name: value for name, value in plain.items() if (name, value) not in ATTACK_DEFAULTS}
    return {"attack": said, "attack_version": PER_IMAGE_ATTACK_VERSION, **identities((ATTACKS, plain["name"]))}


def _detector(settings: DetectorSettings, plain: dict[str, Any]) -> dict[str, Any]:
    """Return what determines the network and its start; of newer fields what is not as it used to be."""
    said: dict[str, Any] = {"config": network_identity(settings.config), "weights": None}
    if settings.weights is not None:
        said["weights"] = file_sha256(str(staging.local(settings.weights, "detector.weights")), "detector.weights")
    if settings.backbone is not None:
        said["backbone"] = file_sha256(str(staging.local(settings.backbone, "detector.backbone")), "detector.backbone")
    if settings.weights_cutoff is not None:
        said["weights_cutoff"] = settings.weights_cutoff
    if settings.class_names is not None:
        said["names"] = list(settings.class_names)
    # A square is the same, written as its side or as both.
    size = settings.size if isinstance(settings.size, int) else plain["image_size"]
    return said | {"image_size": size, "loss": plain["loss"]} | answers_otherwise(settings.config, settings.fit)


def _scored(settings: DetectionSettings, name: str, robust: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Return what determines an initializer's scores; the scope only where it looks at ratios."""
    method = INITIALIZERS[name]
    own: dict[str, Any] = {}
    if method.settings.model_fields:
        own = getattr(settings.initializers, name).model_dump(mode="json")
    if name == "deeplift" and _activates_unnormalised(settings.detector.config):
        own = own | {"version": UNNORMALISED_DEEPLIFT_VERSION}
    scope = {"scope": settings.scope} if method.per_ratio and settings.scope != SCOPES[0] else {}
    pruning = {"prune_heads": settings.prune_heads, **scope, **drawn_inputs(settings.seed_draws)}
    return (robust if method.sees_images else common) | pruning | {"scores": own}


def _unless_default(compute: Compute) -> dict[str, Any]:
    """Return nothing for the default, which has no part in keys."""
    return {} if compute == Compute() else {"compute": compute.model_dump(mode="json")}


def _activates_unnormalised(config: str) -> bool:
    """Say whether a convolution of a .cfg goes into an activation with no batch norm between."""
    if config in NETWORKS:
        return False
    convolutions = [section for section in cfg.read(config) if section.name == "convolutional"]
    return any(
        section.text("batch_normalize", "0") == "0" and section.text("activation", "logistic") != "linear"
        for section in convolutions
    )

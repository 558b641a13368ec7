"""A pruned detector as files to take away, as `inference.model_files` writes them, and rebuilt from these.

Other formats, for engines that know nothing of this package, are written in `inference`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.core.arrays import to_arrays
from robustprune.core.settings import Settings
from robustprune.detection import darknet, networks
from robustprune.detection.darknet import cfg
from robustprune.detection.data.letterbox import PADDING, Fit
from robustprune.detection.data.samples import Colour
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, in_words
from robustprune.inference import model_files as kept
from robustprune.inference.model_files import ENDINGS as ENDINGS

FORMAT, OTHER_INPUT_FORMAT, NAMED_FORMAT = 1, 2, 3
"""Of a model's file; raised when a reader of this one would not understand it: 2 of oblong or stretched images, 3 of a
network that has a name and no .cfg."""


class ModelSpec(Settings):
    """All that a model is besides its weights.

    Attributes:
        image_size: of the images it was trained and measured on, in pixels: a side, or [height, width].
        fit: how pictures were brought to that size.
        colour: what those were; a greyscale image has its luma in three channels.
        classes: their names, in the order of the detector's outputs.
        cfg: text of a Darknet .cfg; None for a network that has none.
        network: the name of that network, in place of a .cfg.
    """

    format: int
    structure: str
    initializer: str
    colour: Colour
    seed: int
    ratio: float
    image_size: int | list[int]
    classes: list[str]
    cfg: str | None = None
    network: str | None = None
    fit: Fit = "letterbox"

    @property
    def size(self) -> ImageSize:
        """The size of the images, as the science has it."""
        return self.image_size if isinstance(self.image_size, int) else (self.image_size[0], self.image_size[1])


class KeptModel(NamedTuple):
    """A detector in eval mode on the CPU, its pruned weights exactly zero, and its spec.

    It can be called, and is what a file of `inference.onnx` is: from images to boxes, none of them suppressed.

        model = load_model("runs/demo/models/….safetensors")
        boxes = model(images)
        model.ratio, model.classes, model.preprocessing
    """

    detector: Detector
    spec: ModelSpec

    def __call__(self, images: Tensor) -> Tensor:
        """Return the boxes in images, with gradients as they are set.

        Shape:
            - images: (N, channels, H, W) in [0, 1], on the detector's device, H and W multiples of its stride; see
              `preprocessing`
            - returns: (N, boxes, 5 + classes): cx, cy, w, h in pixels, objectness, class probabilities
        """
        height, width = images.shape[-2:]
        return self.detector.decode(self.detector(images), (height, width))

    @property
    def study(self) -> str:
        """The study that it is from."""
        return "detection"

    @property
    def cell(self) -> dict[str, str | int | float]:
        """The point of the grid that it is from: a value per axis."""
        axes = ("structure", "initializer", "colour", "seed", "ratio")
        return {axis: getattr(self.spec, axis) for axis in axes}

    @property
    def ratio(self) -> float:
        """The fraction that was pruned."""
        return self.spec.ratio

    @property
    def image_size(self) -> ImageSize:
        """Of the images that it was trained and measured on."""
        return self.spec.size

    @property
    def classes(self) -> list[str]:
        """Names of its classes, in the order of the probabilities."""
        return self.spec.classes

    @property
    def preprocessing(self) -> str:
        """What is to be done to a picture before the model sees it; `detection.data.letterbox` does it."""
        colour = "the luma (Rec. 601) in all three channels"
        if self.detector.channels == 1:
            colour = "the luma (Rec. 601) alone"
        elif self.spec.colour == "rgb":
            colour = "red, green and blue"
        size = f"a square of {self.image_size}" if isinstance(self.image_size, int) else in_words(self.image_size)
        resized = f"resize to {size} pixels, whatever the aspect, bilinear without antialiasing"
        if self.spec.fit == "letterbox":
            resized = (
                f"resize to fit {size} pixels, keeping the aspect, bilinear without antialiasing; "
                f"pad evenly with {PADDING:g}"
            )
        return f"{resized}; {colour}, divided by 255"


def model_files(
    detector: Detector,
    *,
    cell: Mapping[str, Any],
    image_size: ImageSize,
    classes: Sequence[str],
    network: str | None = None,
    fit: Fit = "letterbox",
) -> dict[str, bytes]:
    """Return the contents of a model's files, by their endings.

    Args:
        detector: pruned and fine-tuned, on any device.
        cell: the point of the grid that it is from.
        image_size: see `ModelSpec`.
        classes: see `ModelSpec`.
        network: its name, where it is not Darknet's.
        fit: see `ModelSpec`.
    """
    size = image_size if isinstance(image_size, int) else list(image_size)
    plain = FORMAT if fit == "letterbox" and isinstance(size, int) else OTHER_INPUT_FORMAT
    spec = ModelSpec(
        format=plain if network is None else NAMED_FORMAT,
        **cell,
        image_size=size,
        classes=list(classes),
        cfg=cfg.dump(detector.sections) if isinstance(detector, darknet.Detector) else None,
        network=network,
        fit=fit,
    )
    return kept.written(spec.model_dump(exclude_defaults=True), to_arrays(detector.state_dict()))


def load_model(path: str | os.PathLike[str]) -> KeptModel:
    """Rebuild a kept model from its .safetensors file, bit for bit.

    Raises:
        InputError: the file cannot be read, is not whole, or is no such model.
    """
    found = kept.read(path)
    kept.check(found, path, task="detection", formats=(FORMAT, OTHER_INPUT_FORMAT, NAMED_FORMAT))
    spec = ModelSpec.model_validate(found.spec)
    detector: Detector
    if spec.network is not None:
        detector = networks.build(spec.network, classes=len(spec.classes), image_size=spec.size)
    else:
        assert spec.cfg is not None
        detector = darknet.Detector(cfg.parse(spec.cfg, f"{path}: cfg"))
    detector.load_state_dict({name: torch.from_numpy(array) for name, array in found.arrays.items()})
    return KeptModel(detector.eval(), spec)


def model_of(files: Mapping[str, bytes]) -> KeptModel:
    """Rebuild a kept model from the contents of its files, by their endings; see `load_model`."""
    return kept.rebuilt(files, load_model)

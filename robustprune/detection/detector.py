"""What a detector is to everything that is not its network: what its raw outputs mean, and what it learns.

A detector of another family is a class of its own that derives from `Detector`: a module with `targets`, `loss` and
`decode`. Methods, attacks, trainings, measures and studies ask for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.image_size import ImageSize
from robustprune.detection.losses import LOSSES, family_of
from robustprune.structures.groups import Layer
from robustprune.task import Explained


class Suppression(NamedTuple):
    """How much two boxes overlap: by IoU, or less the further their centres are apart; see `measure.suppression`."""

    kind: Literal["greedy", "diou"]
    beta: float = 0.6


GREEDY = Suppression("greedy")


class Candidates(NamedTuple):
    """Every box that a detector might find, as the margin attack sees it; K of them in each image.

    Shape:
        boxes: (N, K, 4), centre x, centre y, width, height in pixels of the network's input.
        objectness: (N, K), how sure it is that something is there, in [0, 1].
        logits: (N, K, classes), of the classes.
    """

    boxes: Tensor
    objectness: Tensor
    logits: Tensor


class Detector(nn.Module):
    """A detector of any family: a module with `targets`, `loss` and `decode`.

    None of these looks at weights, so that one detector of an architecture reads the outputs of all. `answers` is for
    DeepLIFT, which does without it for a detector that nobody explains.

    Attributes:
        channels: of an image.
        stride: what both sides of an image must be divisible by, in pixels.
        cell: side of a cell of its finest grid in pixels; two boxes whose centres lie in one are hard to tell apart.
        image_size: (height, width) that it was made for, which is a default and no limit.
        suppression: how overlapping boxes are told; None where they are told apart before they are boxes.
        head_layers: names of the layers that give the raw outputs; they are pruned only if a study says so.
        family: which of `LOSSES` it can be trained with; None for its own alone.
        loss_name: which of these it is trained with; None for its own.
    """

    channels: int = 3
    stride: int
    image_size: tuple[int, int]
    suppression: Suppression | None = GREEDY
    family: ClassVar[str | None] = None
    loss_name: str | None = None

    @property
    def cell(self) -> int:
        """Side of a cell of the finest grid, in pixels."""
        return self.stride

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the layers that give the raw outputs."""
        return frozenset()

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """Return raw outputs, each (N, …), of images (N, channels, H, W) in [0, 1], H and W divisible by `stride`."""
        raise NotImplementedError

    def targets(self, objects: Tensor, image_size: ImageSize, *, images: int) -> Any:
        """Return what outputs should have been, in the form in which `loss` takes it.

        Args:
            objects: (M, 6) image index, class, centre x, centre y, width, height; box units are the input's sides.
            image_size: of the input.
            images: how many there are.
        """
        raise NotImplementedError

    def loss(self, outputs: Sequence[Tensor], targets: Any, *, per_image: bool = False) -> Tensor:
        """Return the loss of a batch, a scalar, or that of each image as if it were the whole batch, (N,)."""
        raise NotImplementedError

    def decode(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Return boxes, (N, boxes, 5 + classes): cx, cy, w, h in pixels of the input, objectness, class probabilities.

        Their scores are objectness · class probability, both in [0, 1]. Batches of any size have as many boxes an
        image, and gradients pass.
        """
        raise NotImplementedError

    def near_ties(self, outputs: Sequence[Tensor]) -> Tensor | None:
        """Return which numbers of `decode` jump when outputs are off by rounding, boolean, in its shape; None: no one.

        Engines that round otherwise are told from wrong ones by all the others.
        """
        return None

    def candidates(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Sequence[Candidates]:
        """Return what the margin attack sees; by default all that is decoded, logits being those of probabilities."""
        found = self.decode(outputs, image_size)
        return [Candidates(found[..., :4], found[..., 4], found[..., 5:].clamp(min=1e-6).log())]

    # What DeepLIFT explains

    def answers(self, outputs: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the sum of the logits that answer for each image's objects, (N,)."""
        raise InputError(f"deeplift cannot explain a {type(self).__name__}: found no method answers(outputs, targets)")

    def explained(self) -> Explained:
        """Return `answers`, of a copy that DeepLIFT can follow.

        Raises:
            InputError: the detector computes what DeepLIFT cannot explain.
        """
        from robustprune.methods.explaining.rewriting import explainable  # torch.fx is slow to import

        return Explained(explainable(self).requires_grad_(False), self.answers)

    # Where it starts from

    def take_backbone(self, path: Path) -> None:
        """Let the backbone start from a file of weights.

        Raises:
            InputError: the file is wrong, or there are none for such a detector.
        """
        raise InputError(f"detector.backbone: found {path}, expected none for a {type(self).__name__}")

    # What is pruned, and what it is trained with

    def prunable_layers(self, *, heads: bool = False) -> dict[str, Layer]:
        """Convolutions and fully connected layers by name, in the network's order; `heads` adds those of the heads."""
        spared = frozenset() if heads else self.head_layers
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear) and name not in spared
        }

    def take_loss(self, name: str) -> None:
        """Be trained with one of `LOSSES`.

        Raises:
            InputError: it is of another family's detectors.
        """
        fitting = [each for each in LOSSES if self.family is not None and family_of(each) == self.family]
        if name not in fitting:
            own = f"null: a {type(self).__name__} has a loss of its own"
            raise InputError(
                f"detector.loss: found {name!r}, which is for detectors with {family_of(name)}, "
                f"expected {' or '.join(fitting) or own}"
            )
        self.loss_name = name


@dataclass(frozen=True, kw_only=True)
class DetectorBuilder:
    """How to make detectors of an architecture, where a class does not say it all.

    Attributes:
        build: `build(classes=…, image_size=…)` returns a `Detector`, its weights drawn from torch's own generator.
        loss_name: which of `LOSSES` its detectors are trained with by default; None for their own.
        image_size: of the images, unless a study says another; None where it has to.
        oblong: images need not be squares.
        summary: what it is, in a line.
    """

    build: Callable[..., Detector]
    loss_name: str | None = None
    image_size: ImageSize | None = None
    oblong: bool = False
    summary: str = ""

    def __call__(self, *, classes: int, image_size: ImageSize) -> Detector:
        """Return a detector."""
        return self.build(classes=classes, image_size=image_size)

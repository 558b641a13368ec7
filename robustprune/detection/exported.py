"""A kept model written for engines that know nothing of this package, and read back: it has to find the same boxes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.detection import darknet
from robustprune.detection.darknet import cfg, load_weights, save_weights
from robustprune.detection.darknet.compact.compaction import CompactDetector
from robustprune.detection.darknet.compact.export import as_darknet
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.detection.kept_models import KeptModel, model_of
from robustprune.detection.measure.pruned import smaller
from robustprune.inference.cost import size
from robustprune.inference.onnx import check_packages, run_onnx, save_onnx

TOLERANCE = 1e-4
"""By what part of the image's side, of a box that is larger, or of 1 an exported model's numbers may differ."""

FORMATS = {"onnx": (".onnx",), "darknet": (".cfg", ".weights")}
"""What there is, and the endings of its files."""


class OtherBoxesError(InputError):
    """A written file with which other boxes are found: our fault, or that of the engine."""


class Exporter:
    """Writes the smaller detector that pruning has left of a model.

    Attributes:
        params: of the model, and of the smaller detector.
    """

    def __init__(self, kept: KeptModel, *, image_size: ImageSize) -> None:
        """Take a model on the CPU, and the size of the images that it is written for."""
        self._kept, self._size = kept, sides(image_size)
        channels = kept.detector.channels
        blank = torch.zeros(1, channels, *self._size)
        self._network = smaller(kept.detector, blank)
        self._images = torch.rand(2, channels, *self._size, generator=torch.Generator().manual_seed(0))
        self._expected = _boxes(kept.detector, self._images)
        self._jumping = _near_ties(kept.detector, self._images)
        self.params = size(kept.detector, blank).params, size(self._network, blank).params

    def write(self, form: str, paths: Mapping[str, Path]) -> str:
        """Write the model in one of `FORMATS`, and return by how much its boxes differ at most, in words.

        Args:
            form: the format.
            paths: of its files, by their endings.

        Raises:
            InputError: a package is missing, or the format cannot express the detector.
            OtherBoxesError: what was written finds other boxes.
        """
        writers: dict[str, tuple[Callable[[Mapping[str, Path]], Tensor], str]] = {
            "onnx": (self._by_onnx, "onnxruntime"),
            "darknet": (self._by_darknet, "a Darknet detector"),
        }
        write, engine = writers[form]
        found = write(paths)
        if self._jumping is not None:
            found = torch.where(self._jumping, self._expected, found)
        return _difference(found, self._expected, engine, image_size=max(self._size))

    def _by_onnx(self, paths: Mapping[str, Path]) -> Tensor:
        """Write the model, and return the boxes that are found with what was written."""
        check_packages()
        detector, spec = self._kept
        save_onnx(
            self._network,
            paths[".onnx"],
            decode=detector.decode,
            channels=detector.channels,
            image_size=self._size,
            metadata={"spec": spec.model_dump_json()},
        )
        return run_onnx(paths[".onnx"], self._images)

    def _by_darknet(self, paths: Mapping[str, Path]) -> Tensor:
        """Likewise."""
        config, weights = paths[".cfg"], paths[".weights"]
        detector, spec = self._kept
        if not isinstance(detector, darknet.Detector):
            raise InputError(
                f"darknet: found a model of {spec.network}, expected one of a .cfg, whose layers Darknet has"
            )
        assert isinstance(self._network, CompactDetector)
        written = as_darknet(self._network, detector.sections, image_size=self._size, fit=spec.fit)
        config.write_text(cfg.dump(written.sections), encoding="utf-8")
        save_weights(written, weights)
        read = darknet.Detector.from_cfg(config).eval()
        load_weights(read, weights)
        return _boxes(read, self._images)


def exported(files: Mapping[str, bytes], form: str) -> dict[str, bytes]:
    """Return a kept model in one of `FORMATS`, by the endings of its files, for images of the model's own size.

    Args:
        files: see `kept_models.model_files`.
        form: the format.

    Raises:
        InputError: see `Exporter.write`, and `load_model`.
    """
    model = model_of(files)
    with tempfile.TemporaryDirectory() as folder:
        paths = {ending: Path(folder, f"exported{ending}") for ending in FORMATS[form]}
        Exporter(model, image_size=model.image_size).write(form, paths)
        return {ending: path.read_bytes() for ending, path in paths.items()}


@torch.inference_mode()
def _boxes(detector: Detector, images: Tensor) -> Tensor:
    return detector.decode(detector(images), (images.shape[-2], images.shape[-1]))


@torch.inference_mode()
def _near_ties(detector: Detector, images: Tensor) -> Tensor | None:
    return detector.near_ties(detector(images))


def _difference(found: Tensor, expected: Tensor, engine: str, *, image_size: int) -> str:
    """Return by how much boxes differ at most, in words.

    Raises:
        OtherBoxesError: they differ by more than rounding.
    """
    largest = []
    for kind, unit in ((slice(0, 4), image_size), (slice(4, None), 1)):
        difference = (found - expected)[..., kind].abs()
        largest.append(f"{difference.max():.1e}")
        # In this sense, because NaN is never less.
        if not (difference <= TOLERANCE * expected[..., kind].abs().clamp(min=unit)).all():
            raise OtherBoxesError(f"{engine} found boxes that differ by {largest[-1]}; nothing was written")
    return f"its boxes differ by at most {largest[0]} pixels and {largest[1]} in probabilities"

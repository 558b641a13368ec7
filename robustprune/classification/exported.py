"""A kept classifier written for engines that know nothing of this package, and read back: it has to answer alike."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from robustprune.classification.kept_models import model_of
from robustprune.classification.measure.cost import smaller
from robustprune.core.errors import InputError
from robustprune.inference.onnx import check_packages, run_onnx, save_onnx
from robustprune.inference.tracing import traced

TOLERANCE = 1e-4
"""By what part of the largest logit, or of 1 where that is less, an exported model's logits may differ."""

FORMATS = {"onnx": (".onnx",)}
"""What there is, and the endings of its files."""


def exported(files: Mapping[str, bytes], form: str) -> dict[str, bytes]:
    """Return a kept model in one of `FORMATS`, by the endings of its files, for images of the model's own size.

    Written is what pruning has left of it: without channels that are idle, its batch norms folded.

    Args:
        files: see `kept_models.model_files`.
        form: the format.

    Raises:
        InputError: a package is missing, the format cannot express the network, or what was written answers
            otherwise; and see `kept_models.load_model`.
    """
    assert form == "onnx"
    check_packages()
    model = model_of(files)
    side = model.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(images)
    left = traced(smaller(model.classifier, images[:1]), images[:1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "exported.onnx")
        try:
            save_onnx(
                left,
                path,
                channels=3,
                image_size=(side, side),
                metadata={"spec": model.spec.model_dump_json()},
            )
        except Exception as error:  # whatever PyTorch's exporter trips over in a network
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"ONNX cannot express {model.spec.model}: {first}") from error
        difference = (run_onnx(path, images) - expected).abs().max()
        # In this sense, because NaN is never less.
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise InputError(f"onnxruntime answered by {difference:.1e} otherwise than {model.spec.model}")
        return {".onnx": path.read_bytes()}

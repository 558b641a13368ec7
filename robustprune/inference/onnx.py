"""A network as ONNX, and that file run by another engine. Needs the packages of the extra `onnx`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Decode = Callable[[Sequence[Tensor], tuple[int, int]], Tensor]
"""From a network's outputs and the (height, width) of its images to boxes; see `Detector.decode`."""


def check_packages() -> None:
    """See that all that is needed is installed.

    Raises:
        InputError: it is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX needs {', '.join(missing)}, found no such package; pip install 'robust-pruning-sweeps[onnx]'"
        )


@torch.no_grad()
def save_onnx(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    channels: int,
    image_size: tuple[int, int],
    metadata: Mapping[str, str],
    decode: Decode | None = None,
) -> None:
    """Write a network as ONNX: a detector from images to boxes, a classifier from images to logits.

    Args:
        network: from images to raw outputs, in eval mode on the CPU.
        path: where to.
        decode: what makes boxes of its outputs; None where these are logits.
        channels: of an image.
        image_size: (height, width) of the images, in pixels; it cannot be chosen later.
        metadata: texts by name, which the file carries.

    Shape:
        - images: (N, channels, height, width) in [0, 1], the input of the file; N is chosen when it is run
        - boxes: (N, boxes, 5 + classes), its output; cx, cy, w, h in pixels, objectness and class probabilities
        - logits: (N, classes), the output of a classifier
    """
    model = network if decode is None else _Boxes(network, decode, image_size).eval()
    # Of two images, since one would be taken for the only number there can be.
    images = torch.zeros(2, channels, *image_size)
    program = torch.onnx.export(
        model,
        (images,),
        input_names=["images"],
        output_names=["logits" if decode is None else "boxes"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    # Stack traces of every node, with the paths of this machine: more than the weights of a small network.
    for node in program.model.graph:
        node.metadata_props.clear()
    program.model.metadata_props.update(metadata)
    program.save(path)


def run_onnx(path: str | os.PathLike[str], images: Tensor) -> Tensor:
    """Return the boxes or logits that onnxruntime finds with a file of `save_onnx`, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(found)


class _Boxes(nn.Module):
    """A network with its outputs decoded."""

    def __init__(self, network: nn.Module, decode: Decode, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.image_size = network, image_size
        self.decode = decode

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.network(images), self.image_size)

"""A pruned classifier as files to take away, as `inference.model_files` writes them, and rebuilt from these.

Channels may have left the network: it is built anew by its name, and its layers take the sizes of the weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from robustprune.classification import networks
from robustprune.classification.classifier import NORMALISATIONS, Classifier
from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.core.arrays import Arrays, to_arrays
from robustprune.core.errors import InputError
from robustprune.core.settings import Settings
from robustprune.inference import model_files as kept

FORMAT = 1
"""Of a model's file; raised when a reader of this one would not understand it."""


class ClassifierSpec(Settings):
    """All that a model is besides its weights, its normalisation among these.

    Attributes:
        model: the network, by name.
        image_size: side of the square images that it was trained and measured on, in pixels.
        classes: their names, in the order of the logits.
    """

    task: Literal["classification"]
    format: int
    model: str
    training: str
    structure: str
    initializer: str
    scope: str
    seed: int
    ratio: float
    image_size: int
    classes: list[str]


class KeptClassifier(NamedTuple):
    """A classifier in eval mode on the CPU, its pruned weights exactly zero or gone, and its spec.

    It can be called, and is what a file of `inference.onnx` is: from images to logits.

        model = load_model("runs/demo/models/….safetensors")
        logits = model(images)
        model.ratio, model.classes, model.preprocessing
    """

    classifier: Classifier
    spec: ClassifierSpec

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits, with gradients as they are set.

        Shape:
            - images: (N, 3, S, S) in [0, 1], on the classifier's device; see `preprocessing`
            - returns: (N, classes)
        """
        logits: Tensor = self.classifier(images)
        return logits

    @property
    def study(self) -> str:
        """The study that it is from."""
        return "classification"

    @property
    def cell(self) -> dict[str, str | int | float]:
        """The point of the grid that it is from: a value per axis."""
        axes = ("model", "training", "structure", "initializer", "scope", "seed", "ratio")
        return {axis: getattr(self.spec, axis) for axis in axes}

    @property
    def ratio(self) -> float:
        """The fraction that was pruned."""
        return self.spec.ratio

    @property
    def image_size(self) -> int:
        """Of the images that it was trained and measured on."""
        return self.spec.image_size

    @property
    def classes(self) -> list[str]:
        """Names of its classes, in the order of the logits."""
        return self.spec.classes

    @property
    def preprocessing(self) -> str:
        """What is to be done to a picture before the model sees it."""
        return (
            f"a square of {self.image_size} pixels; red, green and blue, divided by 255; the model normalises by itself"
        )


def model_files(
    classifier: Classifier, *, cell: Mapping[str, Any], image_size: int, classes: Sequence[str]
) -> dict[str, bytes]:
    """Return the contents of a model's files, by their endings.

    Args:
        classifier: pruned and retrained, on any device.
        cell: the point of the grid that it is from.
        image_size: see `ClassifierSpec`.
        classes: see `ClassifierSpec`.
    """
    spec = ClassifierSpec(task="classification", format=FORMAT, **cell, image_size=image_size, classes=list(classes))
    return kept.written(spec.model_dump(), to_arrays(_tensors(classifier)))


def load_model(path: str | os.PathLike[str]) -> KeptClassifier:
    """Rebuild a kept model from its .safetensors file, bit for bit.

    Raises:
        InputError: the file cannot be read, is not whole, or is no such model; or its network is of a plug-in that is
            not installed, or another by now.
    """
    found = kept.read(path)
    kept.check(found, path, task="classification", formats=(FORMAT,))
    spec = ClassifierSpec.model_validate(found.spec)
    with torch.random.fork_rng(devices=[]):
        network = networks.build(spec.model, classes=len(spec.classes), image_size=spec.image_size)
    classifier = Classifier(network, NORMALISATIONS["none"], classes=spec.classes).eval()
    if _tensors(classifier).keys() != found.arrays.keys():
        raise InputError(
            f"{path}: found weights of another network than the {spec.model} of this version, expected its"
        )
    _fill(classifier, found.arrays)
    _tell_shortcuts(classifier, torch.zeros(1, 3, spec.image_size, spec.image_size))
    return KeptClassifier(classifier, spec)


def model_of(files: Mapping[str, bytes]) -> KeptClassifier:
    """Rebuild a kept model from the contents of its files, by their endings; see `load_model`."""
    return kept.rebuilt(files, load_model)


def _tensors(classifier: nn.Module) -> dict[str, Tensor]:
    """Return all that a classifier computes with; some of it is in no state dict."""
    return {**dict(classifier.named_parameters()), **dict(classifier.named_buffers())}


@torch.no_grad()
def _fill(classifier: nn.Module, arrays: Arrays) -> None:
    """Give a network its weights, and its layers the sizes of these."""
    parameters = dict(classifier.named_parameters())
    for name, present in _tensors(classifier).items():
        tensor = torch.tensor(arrays[name])
        if tensor.shape == present.shape:
            present.copy_(tensor)
            continue
        owner, _, own = name.rpartition(".")
        setattr(classifier.get_submodule(owner), own, nn.Parameter(tensor) if name in parameters else tensor)
    for module in classifier.modules():
        _resize(module)


def _resize(module: nn.Module) -> None:
    """Let a layer say of itself the sizes that its weights have; these are what channels can leave."""
    if isinstance(module, _ConvNd):
        is_depthwise = module.groups == module.in_channels > 1
        outer, inner = module.weight.shape[:2]
        module.groups = outer if is_depthwise else module.groups
        module.out_channels, module.in_channels = outer, inner * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NormBase) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)


@torch.no_grad()
def _tell_shortcuts(classifier: nn.Module, blank: Tensor) -> None:
    """Let shortcuts without weights know how many channels come in: no tensor says that."""

    def told(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, ChannelShortcut)
        module.in_channels = inputs[0].shape[1]

    shortcuts = [module for module in classifier.modules() if isinstance(module, ChannelShortcut)]
    handles = [module.register_forward_pre_hook(told) for module in shortcuts]
    if shortcuts:
        classifier(blank)
    for handle in handles:
        handle.remove()

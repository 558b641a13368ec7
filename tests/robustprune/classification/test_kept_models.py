"""A kept classifier is the one that was measured, bit for bit, though channels have left it, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustprune import models
from robustprune.classification import networks
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.exported import exported
from robustprune.classification.kept_models import load_model, model_files
from robustprune.classification.networks.pruning import channel_groups
from robustprune.core.errors import InputError
from robustprune.detection import kept_models as detection
from robustprune.inference.onnx import run_onnx
from robustprune.structures.removal import remove

CLASSES = ["owl", "größer", "a: b"]
SIDE = 8
CELL: dict[str, Any] = {
    "model": "resnet8",
    "training": "adversarial",
    "structure": "channels",
    "initializer": "magnitude",
    "scope": "layer",
    "seed": 3,
    "ratio": 0.5,
}


def pruned(network: nn.Module) -> Classifier:
    """Return a classifier that every second channel has left, in eval mode."""
    classifier = Classifier(network, CIFAR10, classes=CLASSES).eval()
    for name, buffer in classifier.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    groups = channel_groups(classifier, torch.zeros(1, 3, SIDE, SIDE))
    remove(groups, [torch.arange(group.decisions) % 2 == 0 for group in groups])
    return classifier


def built(model: str = "resnet8") -> nn.Module:
    torch.manual_seed(0)
    return networks.build(model, classes=len(CLASSES), image_size=SIDE)


def kept(classifier: Classifier, folder: Path, **changes: Any) -> Path:
    """Return the file of a kept model, the spec to read beside it."""
    path = folder / "kept.safetensors"
    for ending, data in model_files(classifier, cell=CELL | changes, image_size=SIDE, classes=CLASSES).items():
        path.with_suffix(ending).write_bytes(data)
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", ["resnet8", "wrn-10-1", "wrn-10-1-silu", "mlp-mixer-tiny"])
def test_a_model_without_channels_comes_back_bit_for_bit(model: str, images: torch.Tensor, tmp_path: Path) -> None:
    classifier = pruned(built(model))
    rebuilt = load_model(kept(classifier, tmp_path, model=model))
    assert torch.equal(rebuilt(images), classifier(images))
    assert repr(rebuilt.classifier) == repr(classifier)
    assert not rebuilt.classifier.training
    # It can be pruned again: every layer knows its size.
    groups = channel_groups(rebuilt.classifier, torch.zeros(1, 3, SIDE, SIDE))
    again = channel_groups(classifier, torch.zeros(1, 3, SIDE, SIDE))
    keep = [torch.arange(group.decisions) != 0 if group.decisions > 1 else torch.ones(1).bool() for group in groups]
    remove(groups, keep)
    remove(again, keep)
    assert torch.equal(rebuilt(images), classifier(images))


def test_depthwise_convolutions_and_activations_with_weights_come_back(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: Any, **__: Any) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.PReLU(6),
            nn.Conv2d(6, 6, 3, padding=1, groups=6),
            nn.Flatten(),
            nn.Linear(6 * SIDE * SIDE, len(CLASSES)),
        )

    monkeypatch.setattr(networks, "build", other)
    classifier = pruned(other())
    rebuilt = load_model(kept(classifier, tmp_path))
    assert torch.equal(rebuilt(images), classifier(images))
    assert repr(rebuilt.classifier) == repr(classifier)


def test_a_model_says_what_it_is_whatever_it_is_opened_with(images: torch.Tensor, tmp_path: Path) -> None:
    classifier = pruned(built())
    model = models.load_model(kept(classifier, tmp_path))
    assert (model.study, model.cell, model.ratio) == ("classification", CELL, 0.5)
    assert (model.image_size, model.classes) == (SIDE, CLASSES)
    assert model.preprocessing == (
        "a square of 8 pixels; red, green and blue, divided by 255; the model normalises by itself"
    )
    assert model(images).requires_grad
    rebuilt, spec = model
    assert spec.seed == 3
    assert isinstance(rebuilt, Classifier)


def test_other_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(pruned(built()), tmp_path)
    with pytest.raises(
        InputError, match="kept.safetensors: found a model of classification, expected one of detection"
    ):
        detection.load_model(path)
    kept(pruned(built()), tmp_path, model="wrn-10-1")
    with pytest.raises(InputError, match="found weights of another network than the wrn-10-1 of this version"):
        load_model(path)
    kept(pruned(built()), tmp_path, model="resnat8")
    with pytest.raises(InputError, match="unknown model 'resnat8'"):
        load_model(path)
    monkeypatch.setattr("robustprune.classification.kept_models.FORMAT", 2)
    kept(pruned(built()), tmp_path)
    monkeypatch.undo()
    with pytest.raises(InputError, match="kept.safetensors: found a model of format 2, expected 1"):
        load_model(path)


def test_a_model_is_exported_with_its_logits(images: torch.Tensor, tmp_path: Path) -> None:
    classifier = pruned(built())
    path = tmp_path / "kept.onnx"
    path.write_bytes(exported(model_files(classifier, cell=CELL, image_size=SIDE, classes=CLASSES), "onnx")[".onnx"])
    torch.testing.assert_close(run_onnx(path, images), classifier(images).detach(), rtol=1e-4, atol=1e-5)


def test_a_network_that_onnx_cannot_express_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Branching(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self[1](self[0](x))
            return x if x.sum() > 0 else -x

    def other(*_: Any, **__: Any) -> nn.Module:
        return Branching(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, len(CLASSES)))

    monkeypatch.setattr(networks, "build", other)
    files = model_files(Classifier(other(), CIFAR10, classes=CLASSES), cell=CELL, image_size=SIDE, classes=CLASSES)
    with pytest.raises(InputError, match=r"^ONNX cannot express resnet8: [^\n]+$"):
        exported(files, "onnx")

"""Backbones start from files as torchvision and timm publish them, and then see images of [0, 1]."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustprune.core.errors import InputError
from robustprune.detection import networks
from robustprune.detection.centernet.backbones.given import MEAN, STD
from tests.support import batch_norms


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """Return a classifier as torchvision has it, of numbers that show."""
    from torchvision.models import resnet18

    torch.manual_seed(1)
    found: nn.Module = resnet18(weights=None)
    batch_norms.draw(found)
    return found.eval()


def file_of(path: Path, tensors: dict[str, Any]) -> Path:
    torch.save(tensors, path)
    return path


def test_a_resnet_of_torchvisions_answers_as_it_does_on_normalised_images(resnet: nn.Module, tmp_path: Path) -> None:
    centernet = networks.build("centernet-resnet18", classes=2, image_size=64).eval()
    centernet.take_backbone(file_of(tmp_path / "resnet18.pth", resnet.state_dict()))
    image = torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    normalised = (image - mean) / std
    with torch.no_grad():
        expected = resnet.bn1(resnet.conv1(normalised))  # type: ignore[operator]
        found = centernet.get_submodule("backbone.stem")[:2](image)  # type: ignore[index]
        torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=1e-4)
        # All that comes after is the same, to the last bit.
        features = resnet.maxpool(resnet.relu(expected))  # type: ignore[operator]
        for stage in range(4):
            theirs = getattr(resnet, f"layer{stage + 1}")(features)
            assert torch.equal(centernet.get_submodule(f"backbone.stages.{stage}")(features), theirs)
            features = theirs


def test_a_dla_of_timms_is_taken_too(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    whole = timm.create_model("dla34", pretrained=False)
    save_file(whole.state_dict(), tmp_path / "dla34.safetensors")
    centernet = networks.build("centernet-dla34", classes=2, image_size=64)
    centernet.take_backbone(tmp_path / "dla34.safetensors")
    own = centernet.state_dict()
    for name, tensor in whole.state_dict().items():
        if name.startswith("level5."):
            assert torch.equal(own[name.replace("level5", "backbone.levels.3")], tensor)


def test_a_file_may_have_more_around_and_a_prefix(resnet: nn.Module, tmp_path: Path) -> None:
    plain, wrapped = (networks.build("centernet-resnet18", classes=2, image_size=64) for _ in range(2))
    plain.take_backbone(file_of(tmp_path / "plain.pth", resnet.state_dict()))
    state = {f"module.{name}": tensor for name, tensor in resnet.state_dict().items() if "num_batches" not in name}
    wrapped.take_backbone(file_of(tmp_path / "wrapped.tar", {"epoch": 3, "state_dict": state}))
    for name, tensor in plain.state_dict().items():
        if name.startswith("backbone.") and "num_batches" not in name:
            assert torch.equal(wrapped.state_dict()[name], tensor)


def test_what_is_wrong_is_told_and_nothing_taken(resnet: nn.Module, tmp_path: Path) -> None:
    centernet = networks.build("centernet-resnet18", classes=2, image_size=64)
    before = copy.deepcopy(centernet.state_dict())
    state = resnet.state_dict()
    missing = {name: tensor for name, tensor in state.items() if name != "layer2.0.conv1.weight"}
    reshaped = {**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}
    infinite = {**state, "bn1.weight": torch.full((64,), torch.nan)}
    for tensors, message in (
        (missing, r"tensor 'layer2.0.conv1.weight': found no such tensor, expected shape \(128, 64, 3, 3\)$"),
        (reshaped, r"tensor 'conv1.weight': found shape \(64, 3, 3, 3\), expected shape \(64, 3, 7, 7\)$"),
        (infinite, "tensor 'bn1.weight': found infinities or NaN, expected finite numbers$"),
        ({"a": torch.zeros(1)}, "found tensors such as 'a', expected those of the backbone, such as 'bn1.bias'$"),
        ({"a": 1}, "found no tensors, expected those of the backbone, such as 'bn1.bias'$"),
    ):
        with pytest.raises(InputError, match=message):
            centernet.take_backbone(file_of(tmp_path / "wrong.pth", tensors))
    assert all(torch.equal(tensor, before[name]) for name, tensor in centernet.state_dict().items())
    with pytest.raises(InputError, match="none.pth: the weights cannot be read"):
        centernet.take_backbone(tmp_path / "none.pth")


def test_other_detectors_take_none() -> None:
    for name, message in (
        ("centernet-small", "detector.backbone: found a.pth, expected none for a backbone that nobody has published"),
        ("yolov3-nano", "detector.backbone: found a.pth, expected none for a Detector"),
    ):
        with pytest.raises(InputError, match=message):
            networks.build(name, classes=2, image_size=64).take_backbone(Path("a.pth"))

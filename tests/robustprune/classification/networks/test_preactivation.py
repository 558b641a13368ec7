"""Networks behind public robust checkpoints: names and shapes as published, logits as by the formulas in the papers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustprune.classification.classifier import NORMALISATIONS, Classifier
from robustprune.classification.networks import build
from robustprune.classification.weights.fitting import load_weights
from tests.support import batch_norms

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
CLASSES = 7

# What is in the published files, written down anew: names and shapes, and what is computed with them.


def norm_shapes(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": (channels,) for part in parts}, f"{name}.num_batches_tracked": ()}


def wide_places(blocks: int, widen: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield of each block its name, channels in and out, and stride."""
    before = 16
    for stage, channels in enumerate((16 * widen, 32 * widen, 64 * widen)):
        for index in range(blocks):
            yield f"layer.{stage}.block.{index}", before, channels, 2 if stage and not index else 1
            before = channels


def resnet_places(first: int) -> Iterator[tuple[str, int, int, int]]:
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512)):
        for index in range(2):
            joint = "_" if first == 0 else ""
            yield f"layer{joint}{stage + first}.{index}", before, channels, 2 if stage and not index else 1
            before = channels


def wide_shapes(blocks: int, widen: int) -> Shapes:
    shapes: Shapes = {"init_conv.weight": (16, 3, 3, 3)}
    for name, before, channels, _ in wide_places(blocks, widen):
        shapes |= norm_shapes(f"{name}.batchnorm_0", before) | {f"{name}.conv_0.weight": (channels, before, 3, 3)}
        shapes |= norm_shapes(f"{name}.batchnorm_1", channels) | {f"{name}.conv_1.weight": (channels, channels, 3, 3)}
        if before != channels:
            shapes[f"{name}.shortcut.weight"] = (channels, before, 1, 1)
    wide = 64 * widen
    return shapes | norm_shapes("batchnorm", wide) | {"logits.weight": (CLASSES, wide), "logits.bias": (CLASSES,)}


def silu_shapes() -> Shapes:
    shapes: Shapes = {"conv_2d.weight": (64, 3, 3, 3)}
    for name, before, channels, _ in resnet_places(0):
        shapes |= norm_shapes(f"{name}.batchnorm_0", before) | {f"{name}.conv_2d_1.weight": (channels, before, 3, 3)}
        shapes |= norm_shapes(f"{name}.batchnorm_1", channels)
        shapes[f"{name}.conv_2d_2.weight"] = (channels, channels, 3, 3)
        if before != channels:
            shapes[f"{name}.shortcut.weight"] = (channels, before, 3, 3)
    return shapes | norm_shapes("batchnorm", 512) | {"logits.weight": (CLASSES, 512), "logits.bias": (CLASSES,)}


def relu_shapes(*, batch_norm: bool) -> Shapes:
    shapes: Shapes = {"conv1.weight": (64, 3, 3, 3)}
    for name, before, channels, _ in resnet_places(1):
        shapes |= norm_shapes(f"{name}.bn1", before) | {f"{name}.conv1.weight": (channels, before, 3, 3)}
        shapes |= norm_shapes(f"{name}.bn2", channels) | {f"{name}.conv2.weight": (channels, channels, 3, 3)}
        if before != channels:
            shapes[f"{name}.shortcut.0.weight"] = (channels, before, 1, 1)
    shapes |= norm_shapes("bn", 512) if batch_norm else {}
    return shapes | {"linear.weight": (CLASSES, 512), "linear.bias": (CLASSES,)}


def normed(x: Tensor, state: State, name: str) -> Tensor:
    weight, bias, mean, var = (state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    scale = weight / (var + 1e-5).sqrt()
    return x * scale.view(1, -1, 1, 1) + (bias - mean * scale).view(1, -1, 1, 1)


def same(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Convolve as TensorFlow does with `SAME`: what is to be padded is shared, the odd one goes behind."""
    size, side = kernel.shape[-1], x.shape[-1]
    padded = max(0, (-(-side // stride) - 1) * stride + size - side)
    before, behind = padded // 2, padded - padded // 2
    return functional.conv2d(functional.pad(x, (before, behind, before, behind)), kernel, stride=stride)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def wide(state: State, x: Tensor) -> Tensor:
    x = same(x, state["init_conv.weight"], 1)
    for name, before, channels, stride in wide_places(1, 2):
        activated = swish(normed(x, state, f"{name}.batchnorm_0"))
        out = same(activated, state[f"{name}.conv_0.weight"], stride)
        out = same(swish(normed(out, state, f"{name}.batchnorm_1")), state[f"{name}.conv_1.weight"], 1)
        x = out + (x if before == channels else same(activated, state[f"{name}.shortcut.weight"], stride))
    pooled = swish(normed(x, state, "batchnorm")).mean(dim=(2, 3))
    return pooled @ state["logits.weight"].T + state["logits.bias"]


def silu(state: State, x: Tensor) -> Tensor:
    x = same(x, state["conv_2d.weight"], 1)
    for name, before, channels, stride in resnet_places(0):
        out = same(swish(normed(x, state, f"{name}.batchnorm_0")), state[f"{name}.conv_2d_1.weight"], stride)
        out = same(swish(normed(out, state, f"{name}.batchnorm_1")), state[f"{name}.conv_2d_2.weight"], 1)
        x = out + (x if before == channels else same(x, state[f"{name}.shortcut.weight"], stride))
    pooled = swish(normed(x, state, "batchnorm")).mean(dim=(2, 3))
    return pooled @ state["logits.weight"].T + state["logits.bias"]


def relu(state: State, x: Tensor, *, batch_norm: bool) -> Tensor:
    def convolved(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    x = convolved(x, "conv1")
    for name, before, channels, stride in resnet_places(1):
        activated = normed(x, state, f"{name}.bn1").clamp_min(0)
        out = convolved(activated, f"{name}.conv1", stride)
        out = convolved(normed(out, state, f"{name}.bn2").clamp_min(0), f"{name}.conv2")
        taken = activated if batch_norm else x
        x = out + (x if before == channels else convolved(taken, f"{name}.shortcut.0", stride))
    if batch_norm:
        x = normed(x, state, "bn").clamp_min(0)
    return x.mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


NETWORKS: dict[str, tuple[Shapes, Callable[[State, Tensor], Tensor]]] = {
    "wrn-10-2-silu": (wide_shapes(1, 2), wide),
    "preact_resnet18": (relu_shapes(batch_norm=False), lambda state, x: relu(state, x, batch_norm=False)),
    "preact_resnet18-bn": (relu_shapes(batch_norm=True), lambda state, x: relu(state, x, batch_norm=True)),
    "preact_resnet18-silu": (silu_shapes(), silu),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def drawn(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(name, classes=CLASSES, image_size=32).eval()
    batch_norms.draw(network)
    return network


@every_network
def test_names_and_shapes_are_those_of_the_published_files(name: str) -> None:
    found = {key: tuple(tensor.shape) for key, tensor in drawn(name).state_dict().items()}
    assert found == NETWORKS[name][0]


def test_a_wide_network_of_full_size_has_them_too() -> None:
    with torch.device("meta"):
        network = build("wrn-28-10-silu", classes=CLASSES, image_size=32)
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == wide_shapes(4, 10)


@every_network
@torch.no_grad()
def test_logits_are_those_of_the_formulas(name: str) -> None:
    network = drawn(name).double()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    expected = NETWORKS[name][1](network.state_dict(), images)
    assert expected.std() > 0
    torch.testing.assert_close(network(images), expected)


@every_network
@pytest.mark.parametrize("brings", [False, True])
def test_a_file_fits_with_and_without_statistics(name: str, brings: bool, tmp_path: Path) -> None:
    statistics = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)} if brings else {}
    expected = drawn(name)
    torch.save(
        {f"module.{key}": value for key, value in (expected.state_dict() | statistics).items()}, tmp_path / "a.pt"
    )
    found = Classifier(build(name, classes=CLASSES, image_size=32), NORMALISATIONS["none"], classes=["?"] * CLASSES)
    assert load_weights(found.eval(), tmp_path / "a.pt").normalised == brings
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(found(images), expected((images - 0.5) / 0.25 if brings else images))


@every_network
def test_no_activation_is_used_twice(name: str) -> None:
    calls: dict[str, int] = {}
    network = drawn(name)
    activations = {key: each for key, each in network.named_modules() if isinstance(each, nn.ReLU | nn.SiLU)}
    for key, module in activations.items():
        module.register_forward_hook(lambda *_, key=key: calls.__setitem__(key, calls.get(key, 0) + 1))
    network(torch.rand(1, 3, 32, 32))
    assert calls == dict.fromkeys(activations, 1)


# The ResNet-50 of the `robustness` package and of Augustin et al. 2020, whose files bring `mu` and `sigma`:
# torchvision's, under kuangliu's names.


def bottleneck_places() -> Iterator[tuple[str, int, int, int]]:
    before = 64
    for stage, (blocks, channels) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        for index in range(blocks):
            yield f"layer{stage}.{index}", before, channels, 2 if stage > 1 and not index else 1
            before = 4 * channels


def bottleneck_shapes() -> Shapes:
    shapes: Shapes = {
        "mu": (1, 3, 1, 1),
        "sigma": (1, 3, 1, 1),
        "conv1.weight": (64, 3, 3, 3),
        **norm_shapes("bn1", 64),
    }
    for name, before, channels, stride in bottleneck_places():
        sizes = ((channels, before, 1, 1), (channels, channels, 3, 3), (4 * channels, channels, 1, 1))
        for index, size in enumerate(sizes, start=1):
            shapes |= {f"{name}.conv{index}.weight": size} | norm_shapes(f"{name}.bn{index}", size[0])
        if stride != 1 or before != 4 * channels:
            shapes |= {f"{name}.shortcut.0.weight": (4 * channels, before, 1, 1)}
            shapes |= norm_shapes(f"{name}.shortcut.1", 4 * channels)
    return shapes | {"linear.weight": (CLASSES, 2048), "linear.bias": (CLASSES,)}


def bottlenecks(state: State, images: Tensor) -> Tensor:
    def convolved(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.weight"]
        return normed(functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), state, norm)

    x = convolved((images - state["mu"]) / state["sigma"], "conv1", "bn1").clamp_min(0)
    for name, _, _, stride in bottleneck_places():
        out = convolved(x, f"{name}.conv1", f"{name}.bn1").clamp_min(0)
        out = convolved(out, f"{name}.conv2", f"{name}.bn2", stride).clamp_min(0)
        out = convolved(out, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.shortcut.0.weight" in state:
            x = convolved(x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride)
        x = (out + x).clamp_min(0)
    return x.mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


@torch.no_grad()
def test_a_resnet50_with_mu_and_sigma_loads_and_computes_the_same(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Any] = {}
    for name, shape in bottleneck_shapes().items():
        fan_in = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 1
        random = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        positive = name.endswith(("running_var", "sigma")) or (".weight" in name and len(shape) == 1)
        state[name] = 0.5 + 0.1 * random.abs() if positive else (0.1 * random if len(shape) < 2 else random)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1)
    state["mu"] = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "a.pt")
    found = Classifier(build("resnet50", classes=CLASSES, image_size=32), NORMALISATIONS["none"], classes=["?"] * 7)
    assert load_weights(found.eval(), tmp_path / "a.pt").normalised
    images = torch.rand(2, 3, 32, 32, generator=generator)
    torch.testing.assert_close(found(images), bottlenecks(state, images), rtol=1e-3, atol=1e-3)

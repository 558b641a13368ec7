"""A traced graph computes and returns what its network does, whatever Python that is written in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustprune.inference import traced_engines
from robustprune.inference.graph import GraphNetwork
from robustprune.inference.tracing import traced

IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class InPlace(nn.Module):
    """Writes over tensors that are read afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Any:
        first = self.conv(x)
        second = self.relu(first)
        third = first + second
        third += functional.hardtanh(third, inplace=True)
        third.mul_(3)
        return {"sum": third, "both": (first, [second])}


class Branching(nn.Module):
    """Decides by what it reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def layers(network: nn.Module) -> list[str]:
    torch.manual_seed(0)
    found = traced(network.eval(), IMAGE)
    for images in (IMAGE, torch.cat([IMAGE, -IMAGE])):
        torch.testing.assert_close(found(images), network(images))
    assert isinstance(found, GraphNetwork)
    return [type(layer).__name__ for layer in found.layers]


def test_what_writes_over_its_input_does_so_no_more() -> None:
    before = IMAGE.clone()
    assert layers(InPlace()) == ["Sequential", "Sum", "Sum", "Call"]
    assert torch.equal(IMAGE, before)


def test_what_decides_by_its_input_stays_a_layer() -> None:
    parts = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), Branching(), nn.Dropout(), nn.Conv2d(4, 2, 1)
    assert layers(nn.Sequential(*parts)) == ["Sequential", "Branching", "Sequential"]


def test_a_network_that_decides_by_its_input_stays_as_it_is() -> None:
    assert layers(Branching()) == ["Branching"]


def test_functions_with_weights_are_layers_too() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.norm = nn.Parameter(torch.rand(4, 3, 3, 3)), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            # Weights that a network standardises are numbers by then.
            x = functional.conv2d(x, self.weight - self.weight.mean(), padding=1)
            norm = self.norm
            x = functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, 1e-5)
            return functional.relu(x).view(x.size(0), -1)

    assert layers(Functions())[0] == "Sequential"
    assert "BatchNorm2d" not in layers(Functions())


def test_tensors_of_five_sides_are_in_no_way_of_a_memory_format() -> None:
    class Anchors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.grid = nn.Conv2d(3, 4, 3), nn.Buffer(torch.rand(1, 2, 2, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.conv(x).unflatten(1, (2, 2)) + self.grid
            return found

    network = Anchors().eval()
    found = traced_engines.dense_engine(network, IMAGE)
    with torch.no_grad():
        torch.testing.assert_close(found.network(IMAGE), network(IMAGE))

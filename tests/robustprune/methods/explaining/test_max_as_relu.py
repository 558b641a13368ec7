"""Max-pooling as ReLUs is max-pooling."""

import pytest
import torch
from torch import nn

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.layers import MaxPool
from robustprune.methods.explaining.max_as_relu import MaxAsReLU, replace

# (size, stride, padding): yolov3-tiny's two kinds, SPP's three, no padding, and windows that leave gaps.
POOLS = [(2, 2, 1), (2, 1, 1), (5, 1, 4), (9, 1, 8), (13, 1, 12), (2, 2, 0), (3, 2, 2), (3, 1, 4), (1, 2, 0), (2, 3, 1)]


def as_relu(pool: MaxPool) -> MaxAsReLU:
    return MaxAsReLU(size=pool.size, stride=pool.stride, padding=pool.padding)


@pytest.mark.parametrize(("size", "stride", "padding"), POOLS)
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (-5, 1), (5, 1), (0, 1000)])
def test_values_are_those_of_the_pool(size: int, stride: int, padding: int, offset: float, scale: float) -> None:
    x = scale * (offset + torch.randn(2, 3, 13, 16, generator=torch.Generator().manual_seed(0)))
    pool = MaxPool(size=size, stride=stride, padding=padding)
    torch.testing.assert_close(as_relu(pool)(x), pool(x), rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize(("size", "stride", "padding"), POOLS)
def test_whole_numbers_are_exact(size: int, stride: int, padding: int) -> None:
    x = torch.randint(-9, 10, (2, 3, 13, 16), generator=torch.Generator().manual_seed(0)).float()
    pool = MaxPool(size=size, stride=stride, padding=padding)
    assert torch.equal(as_relu(pool)(x), pool(x))


def test_the_gradient_goes_to_the_maximum() -> None:
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pool = MaxPool(size=5, stride=1, padding=4)
    gradients = [torch.autograd.grad(layer(x).square().sum(), x)[0] for layer in (pool, as_relu(pool))]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_every_step_has_a_relu_of_its_own() -> None:
    relus = [m for m in as_relu(MaxPool(size=5, stride=1, padding=4)).modules() if isinstance(m, nn.ReLU)]
    assert len(set(map(id, relus))) == 2 * 4


def test_all_pools_of_a_detector_are_replaced() -> None:
    torch.manual_seed(0)
    detector = Detector.from_cfg("yolov3-tiny").eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = detector(images)
        replace(detector, MaxPool, as_relu)
        found = detector(images)
    assert not any(isinstance(module, (MaxPool, nn.MaxPool2d)) for module in detector.modules())
    assert sum(isinstance(module, MaxAsReLU) for module in detector.modules()) == 6
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

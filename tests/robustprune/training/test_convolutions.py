"""Convolutions of training: every way equals the plain one, forward and back, whatever the shape."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.training.convolutions import FastConvolutions, choice
from robustprune.training.convolutions.choice import Shape
from robustprune.training.convolutions.function import Convolution, Filters, Ways

WINOGRAD, UNROLLED = Ways("winograd", "winograd", "winograd"), Ways("unrolled", "unrolled", "unrolled")


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(*shape, generator=generator, dtype=dtype)
    return found.contiguous(memory_format=torch.channels_last).requires_grad_()


def agree(images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, ways: Ways) -> None:
    """See that a convolution and its gradients are those of PyTorch."""
    inputs = [each for each in (images, weight, bias) if each is not None]
    found = Convolution.apply(images, weight, bias, stride, padding, ways, Filters())
    expected = torch.conv2d(images, weight, bias, stride, padding)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    outgoing = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, outgoing), torch.autograd.grad(expected, inputs, outgoing)
    )


sizes = st.integers(1, 11)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 3), channels=st.integers(1, 4), outputs=st.integers(1, 4), height=sizes, width=sizes)
def test_winograds_way_is_the_plain_one(count: int, channels: int, outputs: int, height: int, width: int) -> None:
    images, weight = drawn(count, channels, height, width), drawn(outputs, channels, 3, 3)
    agree(images, weight, drawn(1, outputs, 1, 1).detach().flatten().requires_grad_(), (1, 1), (1, 1), WINOGRAD)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 3),
    outputs=st.integers(1, 3),
    image=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    biased=st.booleans(),
)
def test_the_unrolled_way_is_the_plain_one(
    count: int, channels: int, outputs: int, image: Any, size: Any, stride: Any, padding: Any, biased: bool
) -> None:
    bias = drawn(1, outputs, 1, 1).detach().flatten().requires_grad_() if biased else None
    agree(drawn(count, channels, *image), drawn(outputs, channels, *size), bias, stride, padding, UNROLLED)


@pytest.mark.parametrize("ways", [WINOGRAD, UNROLLED])
def test_gradients_of_gradients_are_those_of_the_plain_way(ways: Ways) -> None:
    images, weight = drawn(2, 2, 5, 5), drawn(3, 2, 3, 3)

    def convolved(images: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = Convolution.apply(images, weight, None, (1, 1), (1, 1), ways, Filters())
        return found

    assert torch.autograd.gradcheck(convolved, (images, weight))
    assert torch.autograd.gradgradcheck(convolved, (images, weight))


@pytest.mark.parametrize("ways", [WINOGRAD, UNROLLED])
def test_what_is_no_number_stays_none(ways: Ways) -> None:
    images, weight = drawn(1, 2, 4, 4).detach(), drawn(3, 2, 3, 3).detach()
    images[0, 1, 2, 2] = torch.nan
    found = Convolution.apply(images, weight, None, (1, 1), (1, 1), ways, Filters())
    plain = torch.conv2d(images, weight, None, 1, 1)
    assert found[plain.isnan()].isnan().all()


def test_winograds_way_loses_little_of_a_float() -> None:
    images, weight = drawn(2, 128, 13, 13, dtype=torch.float32), drawn(64, 128, 3, 3, dtype=torch.float32)
    found = Convolution.apply(images, weight, None, (1, 1), (1, 1), WINOGRAD, Filters())
    exact = torch.conv2d(images.double(), weight.double(), padding=1)
    assert (found - exact).abs().max() < 2e-5 * exact.abs().max()


def wide() -> nn.Module:
    """Return a network whose layers take all three ways, on images of 8 pixels."""
    torch.manual_seed(0)
    parts = (
        nn.Conv2d(3, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.AvgPool2d(4),
        nn.Conv2d(256, 512, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(512, 8, 1, padding="same"),
    )
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    tensors = [images, *network.parameters()]
    return list(torch.autograd.grad(network(images).square().sum(), tensors))


def test_a_network_within_the_context_computes_what_it_does_outside() -> None:
    network, images = wide(), torch.rand(8, 3, 8, 8, requires_grad=True)
    expected, expected_gradients = network(images), gradients(network, images)
    with FastConvolutions():
        found, found_gradients = network(images), gradients(network, images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found, expected)  # another way was taken
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_the_same_network_gives_the_same_bits_again() -> None:
    network, images = wide(), torch.rand(8, 3, 8, 8, requires_grad=True)
    with FastConvolutions():
        first = gradients(network, images)
    with FastConvolutions():
        second = gradients(copy.deepcopy(network), images)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_alone(dtype: torch.dtype) -> None:
    network, images = wide().to(dtype), torch.rand(8, 3, 8, 8, dtype=dtype)
    with torch.no_grad(), FastConvolutions():
        found = network(images)
    with torch.no_grad():
        assert torch.equal(found, network(images))


def test_no_images_at_all_have_gradients_too() -> None:
    layer = nn.Conv2d(512, 512, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.rand(0, 512, 4, 4, requires_grad=True)
    with FastConvolutions():
        layer(images).sum().backward()
    assert images.grad is not None
    assert images.grad.shape == images.shape
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_images_keep_the_format_that_a_filter_of_one_pixel_leaves_them() -> None:
    layer, images = nn.Conv2d(512, 1024, 1), torch.rand(8, 512, 2, 2)
    with FastConvolutions():
        assert layer(images).is_contiguous()
        assert layer(images.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_filters_that_stay_are_transformed_once_and_anew_when_they_have_changed() -> None:
    weight = drawn(4, 3, 3, 3).detach()
    filters = Filters()
    kept = filters.of(weight, turned=False)
    assert filters.of(weight, turned=False) is kept
    weight.mul_(2)
    torch.testing.assert_close(filters.of(weight, turned=False), 2 * kept)
    weight.requires_grad_()
    trained = Filters()
    assert trained.of(weight, turned=True) is not trained.of(weight, turned=True)


def test_large_filters_of_small_images_are_read_as_they_lie_and_middling_layers_are_filtered() -> None:
    tiny = Shape(images=4, channels=512, outputs=1024, size=(3, 3), height=2, width=2, plain=True)
    middle = tiny._replace(height=13, width=13)
    early = Shape(images=4, channels=16, outputs=32, size=(3, 3), height=208, width=208, plain=True)
    ways = [choice.forward(shape, uses=choice.KEPT_USES) for shape in (tiny, middle, early)]
    assert ways == ["unrolled", "winograd", "direct"]
    strided = middle._replace(plain=False)
    assert choice.forward(strided) == choice.image_gradient(strided) == "direct"

"""Convolutions without their zeros give what PyTorch's give with them."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.inference.compact_layers import BorderedConvolution
from robustprune.inference.sparse.convolution import CpuSparseConvolution, CsrConvolution, SparseConvolution

KINDS = [CpuSparseConvolution, partial(CpuSparseConvolution, shifted=True), CsrConvolution]
ACTIVATIONS = [nn.LeakyReLU(0.1), nn.LeakyReLU(2.0), nn.LeakyReLU(-0.5), nn.ReLU(), nn.Identity(), nn.Mish()]


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    groups = draw(st.integers(1, 3))
    inputs, filters = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 5))
    size, stride, dilation = ((draw(st.integers(1, most)), draw(st.integers(1, most))) for most in (3, 3, 2))
    padding = draw(st.integers(0, size[0])), draw(st.integers(0, size[1]))
    activation = copy.deepcopy(draw(st.sampled_from(ACTIVATIONS)))
    bordered = draw(st.booleans()) and dilation == (1, 1)
    torch.manual_seed(draw(st.integers(0, 2**16)))
    bias = not bordered and draw(st.booleans())
    conv = nn.Conv2d(inputs, filters, size, stride, padding, dilation, groups=groups, bias=bias)
    with torch.no_grad():
        conv.weight *= torch.rand_like(conv.weight) < draw(st.sampled_from([0.0, 0.03, 0.3, 1.0]))
    if not bordered:
        return nn.Sequential(conv, activation)
    return BorderedConvolution(conv, activation, taps=torch.randn(filters, 1, *size), bias=torch.randn(filters))


@torch.no_grad()
def assert_same(layer: nn.Module, expected: nn.Module, x: Tensor) -> None:
    torch.testing.assert_close(layer(x), expected(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(layer=layers(), count=st.integers(1, 2), height=st.integers(5, 40), width=st.integers(5, 40), last=st.booleans())
def test_any_convolution(
    kind: Callable[[nn.Module], SparseConvolution], layer: nn.Module, count: int, height: int, width: int, last: bool
) -> None:
    made = kind(layer)
    inputs = made._inputs
    images = torch.randn(count, inputs, height, width)
    assert_same(made, layer, images.contiguous(memory_format=torch.channels_last) if last else images)
    # Another size, and the first one again.
    assert_same(made, layer, torch.randn(1, inputs, 7, 9))
    assert_same(made, layer, images)


@pytest.mark.parametrize("shape", [(2, 2), (12, 20), (52, 52), (34, 600)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_largest_of_four_pixels(activation: nn.Module, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1)
    with torch.no_grad():
        conv.weight *= torch.rand_like(conv.weight) < 0.5
    layer = nn.Sequential(conv, activation)
    assert_same(
        CpuSparseConvolution(layer, pool=True), nn.Sequential(layer, nn.MaxPool2d(2)), torch.randn(2, 3, *shape)
    )


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("kept", [1.0, 0.3, 0.01])
@pytest.mark.parametrize(("inputs", "filters", "size", "side"), [(300, 70, 3, 13), (500, 40, 1, 26), (9, 300, 3, 52)])
def test_more_than_fits_a_cache(inputs: int, filters: int, size: int, side: int, kept: float, shifted: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, filters, size, padding=size // 2)
    with torch.no_grad():
        conv.weight *= torch.rand_like(conv.weight) < kept
    layer = nn.Sequential(conv, nn.LeakyReLU(0.1))
    assert_same(CpuSparseConvolution(layer, shifted=shifted), layer, torch.randn(2, inputs, side, side))


def test_outputs_of_calls_are_apart() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    sparse, images = CpuSparseConvolution(layer), torch.randn(2, 1, 3, 20, 20)
    first, second = sparse(images[0]), sparse(images[1])
    with torch.no_grad():
        torch.testing.assert_close(first, layer(images[0]))
        torch.testing.assert_close(second, layer(images[1]))


@pytest.mark.parametrize("filters", [1, 5, 40])
def test_threads_share_the_filters(filters: int) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(3, filters, 3, padding=1), nn.LeakyReLU(0.1))
    with torch.no_grad():
        layer.get_parameter("0.weight")[filters // 2 :] = 0
    sparse, x = CpuSparseConvolution(layer), torch.randn(2, 3, 20, 30)
    alone, threads = sparse(x), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(sparse(x), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_counted_and_copied(kind: Callable[[nn.Module], SparseConvolution]) -> None:
    conv = nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]).view(2, 2, 1, 1))
        conv.bias.copy_(torch.tensor([0.5, -2.0]))  # type: ignore[union-attr]
    made = kind(nn.Sequential(conv, nn.LeakyReLU(0.1)))
    assert made.zeros == 3
    with torch.no_grad():
        conv.weight.fill_(7)
        conv.bias.fill_(7)  # type: ignore[union-attr]
    output = made(torch.tensor([1.0, 5.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(output.flatten(), torch.tensor([1.5, -0.2]))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", range(4))
def test_what_is_no_number_stays_none(place: int, value: float, activation: nn.Module) -> None:
    layer = nn.Sequential(nn.Conv2d(1, 1, 1), activation)
    x = torch.ones(1, 1, 4, 40)
    x[0, 0, place // 2, 6 + place % 2] = value
    for made, expected in [
        (CpuSparseConvolution(layer), layer),
        (CpuSparseConvolution(layer, pool=True), nn.Sequential(layer, nn.MaxPool2d(2))),
        (CsrConvolution(layer), layer),
    ]:
        with torch.no_grad():
            torch.testing.assert_close(made(x), expected(x), equal_nan=True)

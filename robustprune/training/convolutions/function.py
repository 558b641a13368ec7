"""A convolution that autograd knows, carried out in the way that suits its shape, forward and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.training.convolutions import choice, unrolled, winograd
from robustprune.training.convolutions.choice import Shape, Way

KEPT_BYTES = 2**29
"""Of transformed filters, at most, that wait for their next use."""


class Ways(NamedTuple):
    """How to convolve, and to find the gradients of images and of weights."""

    forward: Way
    images: Way
    weights: Way


class Filters:
    """Transformed filters of weights that stay as they are, such as those of a network under attack."""

    def __init__(self) -> None:
        """Know none."""
        self._kept: dict[tuple[int, bool], tuple[Tensor, int, Tensor]] = {}
        self._bytes = 0

    def uses(self, weight: Tensor) -> int:
        """Return how often a weight's transformed filters are expected to be of use."""
        if weight.requires_grad:
            return 1
        is_kept = any((id(weight), turned) in self._kept for turned in (False, True))
        return choice.KEPT_USES if is_kept or self._bytes + 2 * _transformed_bytes(weight) <= KEPT_BYTES else 1

    def of(self, weight: Tensor, *, turned: bool) -> Tensor:
        """Return the filters of weights (O, C, 3, 3), (36, O, C)."""
        key, version = (id(weight), turned), weight._version
        found = self._kept.get(key)
        if found is not None and found[1] == version:
            return found[2]
        with torch.no_grad():
            transformed = winograd.filters(last(weight), turned=turned)
        if found is not None or self.uses(weight) > 1:
            self._bytes += 0 if found is not None else _transformed_bytes(weight)
            self._kept[key] = weight, version, transformed  # with the weight, or its id would become another's
        return transformed


def _transformed_bytes(weight: Tensor) -> int:
    return winograd.PATCH**2 * weight.shape[0] * weight.shape[1] * weight.element_size()


def last(tensor: Tensor) -> Tensor:
    """Return (A, B, C, D) as (A, C, D, B), contiguous: no copy where memory is channels-last."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def first(tensor: Tensor) -> Tensor:
    """Return (A, C, D, B) as (A, B, C, D), in the same memory."""
    return tensor.permute(0, 3, 1, 2)


class Convolution(torch.autograd.Function):
    """`torch.conv2d` of one group, undilated; the result is in channels-last memory."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        ways: Ways,
        filters: Filters,
    ) -> Tensor:
        """Return the convolution of images (N, C, H, W)."""
        ctx.save_for_backward(images, weight)
        ctx.has_bias, ctx.stride, ctx.padding, ctx.ways, ctx.filters = bias is not None, stride, padding, ways, filters
        if ways.forward == "direct":
            return torch.conv2d(images, weight, bias, stride, padding)
        pixels = last(images)
        if ways.forward == "winograd":
            transformed = filters.of(weight, turned=False)
            found = winograd.convolved(winograd.patches(pixels), transformed.mT, like=pixels)
            return first(found if bias is None else found.add_(bias))
        size = (weight.shape[2], weight.shape[3])
        under = unrolled.columns(pixels, size=size, stride=stride, padding=padding)
        product = torch.nn.functional.linear(under, last(weight).flatten(1), bias)
        height, width = unrolled.positions(images.shape[2:], size=size, stride=stride, padding=padding)
        return first(product.view(len(images), height, width, len(weight)))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of images, weight and bias."""
        (gradient,) = gradients
        images, weight = ctx.saved_tensors
        needed = list(ctx.needs_input_grad[:3])
        ways: Ways = ctx.ways
        if torch.is_grad_enabled():  # gradients of gradients
            ways = Ways("direct", "direct", "direct")
        of_images = of_weight = of_bias = None
        if needed[0] and ways.images != "direct":
            of_images = _image_gradient(ctx, images, weight, gradient, ways.images)
            needed[0] = False
        if needed[1] and ways.weights != "direct":
            of_weight = _weight_gradient(ctx, images, weight, gradient, ways.weights)
            needed[1] = False
        if needed[2] and not any(needed[:2]):
            of_bias = gradient.sum((0, 2, 3))
            needed[2] = False
        if any(needed):
            rest = torch.ops.aten.convolution_backward(
                gradient,
                images,
                weight,
                [len(weight)] if ctx.has_bias else None,
                ctx.stride,
                ctx.padding,
                (1, 1),
                False,
                (0, 0),
                1,
                needed,
            )
            mine = of_images, of_weight, of_bias
            of_images, of_weight, of_bias = (
                its if wanted else one for its, wanted, one in zip(rest, needed, mine, strict=True)
            )
        return of_images, of_weight, of_bias, None, None, None, None


def _image_gradient(ctx: Any, images: Tensor, weight: Tensor, gradient: Tensor, way: Way) -> Tensor:
    outgoing = last(gradient)
    if way == "winograd":
        turned = ctx.filters.of(weight, turned=True)
        return first(winograd.convolved(winograd.patches(outgoing), turned, like=outgoing))
    found = outgoing.view(-1, len(weight)) @ last(weight).flatten(1)
    size = (weight.shape[2], weight.shape[3])
    shape = (len(images), images.shape[2], images.shape[3], images.shape[1])
    return first(unrolled.summed(found, shape, size=size, stride=ctx.stride, padding=ctx.padding))


def _weight_gradient(ctx: Any, images: Tensor, weight: Tensor, gradient: Tensor, way: Way) -> Tensor:
    pixels, outgoing = last(images), last(gradient)
    if way == "winograd":
        return first(winograd.filter_gradient(winograd.patches(pixels), outgoing))
    size = (weight.shape[2], weight.shape[3])
    under = unrolled.columns(pixels, size=size, stride=ctx.stride, padding=ctx.padding)
    found = outgoing.view(-1, len(weight)).T @ under
    return first(found.view(len(weight), *size, weight.shape[1]))


def ways_of(shape: Shape, *, uses: int) -> Ways:
    """Return how to carry out a convolution, of which filters are used so often as they are."""
    back: Way = choice.image_gradient(shape, uses=uses)
    return Ways(choice.forward(shape, uses=uses), back, choice.weight_gradient(shape))

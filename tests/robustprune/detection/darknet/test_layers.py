"""The layers against what Darknet's C loops compute."""

import math

import pytest
import torch
from torch import Tensor

from robustprune.detection.darknet import Head, decode_head
from robustprune.detection.darknet.channels import origins
from robustprune.detection.darknet.layers import (
    ACTIVATIONS,
    AveragePool,
    Convolutional,
    MaxPool,
    Product,
    Reorg,
    Route,
    Shortcut,
    Yolo,
)


def darknet_max_pool(image: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """`forward_maxpool_layer` of Darknet, cell by cell."""
    height, width = image.shape
    out = torch.empty((height + padding - size) // stride + 1, (width + padding - size) // stride + 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            top, left = i * stride - padding // 2, j * stride - padding // 2
            out[i, j] = max(
                image[y, x]
                for y in range(max(top, 0), min(top + size, height))
                for x in range(max(left, 0), min(left + size, width))
            )
    return out


@pytest.mark.parametrize("side", [6, 9, 13])
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [
        *[(2, 1, 1), (2, 2, 1), (2, 2, 0), (3, 1, 2), (3, 2, 2), (3, 3, 0), (4, 2, 3), (4, 1, 6)],
        *[(5, 1, 4), (6, 3, 5), (9, 1, 8), (13, 1, 12)],
    ],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_max_pool_is_darknets(
    side: int, size: int, stride: int, padding: int, memory_format: torch.memory_format
) -> None:
    # All negative, so that padding with zeros would show.
    images = (-torch.rand(2, 3, side, side + 1) - 1).contiguous(memory_format=memory_format)
    pooled = MaxPool(size=size, stride=stride, padding=padding)(images)
    for image, expected in zip(pooled.flatten(0, 1), images.flatten(0, 1), strict=True):
        assert torch.equal(image, darknet_max_pool(expected, size, stride, padding))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leaky", [-0.2, 0.0, 8.0]),
        ("linear", [-2.0, 0.0, 8.0]),
        ("relu", [0.0, 0.0, 8.0]),
        ("relu6", [0.0, 0.0, 6.0]),
        ("logistic", [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-8))]),
        ("swish", [-2 / (1 + math.exp(2)), 0.0, 8 / (1 + math.exp(-8))]),
        ("mish", [-2 * math.tanh(math.log1p(math.exp(-2))), 0.0, 8 * math.tanh(math.log1p(math.exp(8)))]),
    ],
)
def test_activations(name: str, expected: list[float]) -> None:
    x = torch.tensor([-2.0, 0.0, 8.0])
    torch.testing.assert_close(ACTIVATIONS[name].make()(x), torch.tensor(expected))
    assert x.tolist() == [-2.0, 0.0, 8.0]


@pytest.mark.parametrize("variance", [0.0, 1e-38, 1e-12, 1e-5, 4.0])
def test_batch_norm_of_tiny_variance_is_finite(variance: float) -> None:
    layer = Convolutional(1, 1, size=1, stride=1, padding=0, groups=1, batch_normalize=True, activation="linear").eval()
    assert layer.batch_norm is not None
    layer.batch_norm.load_state_dict(
        {
            "weight": torch.tensor([2.0]),
            "bias": torch.tensor([3.0]),
            "running_mean": torch.tensor([0.5]),
            "running_var": torch.tensor([variance]),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    torch.nn.init.ones_(layer.conv.weight)
    x = torch.tensor([0.5, 0.6]).view(1, 1, 1, 2)
    expected = 2 * (x - 0.5) / math.sqrt(variance + 1e-5) + 3
    torch.testing.assert_close(layer(x), expected)


def test_route_takes_the_same_group_of_every_input() -> None:
    first, second = torch.arange(4.0).view(1, 4, 1, 1), torch.arange(10.0, 16.0).view(1, 6, 1, 1)
    assert Route(groups=2, group_id=1)(first, second).flatten().tolist() == [2, 3, 13, 14, 15]
    assert Route(groups=2, group_id=0)(first).flatten().tolist() == [0, 1]
    assert Route(groups=1, group_id=0)(second, first).flatten().tolist() == [
        10,
        11,
        12,
        13,
        14,
        15,
        0,
        1,
        2,
        3,
    ]


def test_shortcut_adds_then_activates() -> None:
    x = torch.tensor([1.0, -3.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(Shortcut("leaky")(x, x, x).flatten(), torch.tensor([3.0, -0.9]))
    assert x.flatten().tolist() == [1.0, -3.0]


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_shortcut_adds_the_channels_that_both_have(channels: int) -> None:
    """As Darknet adds: number by number, from the front of two flat arrays, as far as the shorter one goes."""
    first, other = torch.rand(2, 3, 4, 5), torch.rand(2, channels, 4, 5)
    expected = first.flatten(1).clone()
    for total, addend in zip(expected, other.flatten(1), strict=True):
        for index in range(min(len(total), len(addend))):
            total[index] += addend[index]
    assert torch.equal(Shortcut("linear")(first, other), expected.view_as(first))


@pytest.mark.parametrize(
    ("sides", "other_sides"),
    [((4, 6), (8, 12)), ((3, 3), (7, 7)), ((8, 12), (4, 6)), ((7, 7), (3, 3)), ((5, 4), (4, 5))],
)
def test_shortcut_between_layers_of_other_pixels_adds_as_darknet_does(
    sides: tuple[int, int], other_sides: tuple[int, int]
) -> None:
    """Written out after `shortcut_cpu` of Darknet's `blas.c`."""
    first, other = torch.rand(2, 3, *sides), torch.rand(2, 4, *other_sides)
    (height, width), (other_height, other_width) = sides, other_sides
    stride, sample = max(1, other_width // width), max(1, width // other_width)
    expected = first.clone()
    for row in range(min(height, other_height)):
        for column in range(min(width, other_width)):
            expected[:, :, row * sample, column * sample] += other[:, :3, row * stride, column * stride]
    assert torch.equal(Shortcut("linear", strided=True)(first, other), expected)


@pytest.mark.parametrize(
    ("channels", "height", "width", "stride"), [(4, 4, 6, 2), (8, 6, 2, 2), (18, 9, 3, 3), (5, 2, 2, 1)]
)
def test_reorg_has_the_order_of_darknets_memory(channels: int, height: int, width: int, stride: int) -> None:
    """Written out after `reorg_cpu` of Darknet's `blas.c`."""
    x = torch.rand(2, channels, height, width)
    flat, expected = x.flatten(1), torch.zeros(2, x[0].numel())
    parts = channels // stride**2
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                offset, part = divmod(k, parts)
                right, down = i * stride + offset % stride, j * stride + offset // stride
                read = right + width * stride * (down + height * stride * part)
                expected[:, i + width * (j + height * k)] = flat[:, read]
    output = Reorg(stride=stride)(x)
    assert output.shape == (2, channels * stride**2, height // stride, width // stride)
    assert torch.equal(output.flatten(1), expected)
    assert torch.equal(Reorg(stride=stride)(x.contiguous(memory_format=torch.channels_last)), output)


def test_most_of_a_reorgs_channel_comes_from_its_origin() -> None:
    reorg, height, width = Reorg(stride=2), 8, 6
    (origin,) = origins(reorg, [8])
    numbers = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, height, width)
    share = (reorg(numbers)[0] == origin.view(-1, 1, 1)).float().mean(dim=(1, 2))
    assert share.shape == (32,)
    assert share.min() > 0.5


def test_channels_are_averaged_and_scaled() -> None:
    x = torch.rand(2, 3, 4, 5)
    factor = AveragePool()(x)
    torch.testing.assert_close(factor[1, 2, 0, 0], x[1, 2].sum() / 20)
    scaled = Product("relu")(-factor, x - 0.5)
    torch.testing.assert_close(scaled[1, 2, 3, 4], torch.relu(-factor[1, 2, 0, 0] * (x[1, 2, 3, 4] - 0.5)))


@pytest.mark.parametrize("logit", [-30.0, -1.0, 0.0, 2.0, 30.0])
def test_new_coords_are_the_square_of_twice_the_sigmoid(logit: float) -> None:
    yolo = Yolo([(10, 20)], stride=8, classes=1, scale_x_y=2, ignore_thresh=0.5, new_coords=True)
    output = yolo(torch.full((1, 6, 1, 1), logit))
    head = Head(yolo.anchors, stride=8, classes=1, scale_x_y=2, ignore_thresh=0.5)
    x, _, width, height, objectness, _ = decode_head(output, head, 8).flatten().tolist()
    sigmoid = 1 / (1 + math.exp(-logit))
    assert (width, height) == pytest.approx((10 * (2 * sigmoid) ** 2, 20 * (2 * sigmoid) ** 2))
    assert (x, objectness) == pytest.approx((8 * (2 * sigmoid - 0.5), sigmoid), abs=1e-6)


def test_yolo_orders_channels_by_anchor_then_attribute() -> None:
    yolo = Yolo([(1, 2), (3, 4)], stride=8, classes=1, scale_x_y=1, ignore_thresh=0.5)
    x = torch.arange(2 * 6 * 3 * 5.0).view(1, 12, 3, 5)
    output = yolo(x)
    assert output.shape == (1, 2, 3, 5, 6)
    assert output[0, 1, 2, 3, 4] == x[0, 6 + 4, 2, 3]
    assert torch.equal(yolo(x.contiguous(memory_format=torch.channels_last)), output)
    assert not yolo.state_dict()

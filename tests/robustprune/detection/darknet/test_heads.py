"""Decoding against its formula."""

import dataclasses
import math

import pytest
import torch

from robustprune.detection.darknet import MAX_SIZE_LOGIT, Head, decode_head


def head(scale_x_y: float = 1.0) -> Head:
    anchors = torch.tensor([[10.0, 20.0], [30.0, 5.0]])
    return Head(anchors, stride=16, classes=3, scale_x_y=scale_x_y, ignore_thresh=0.5)


def test_zero_logits_are_anchors_at_cell_centres() -> None:
    boxes = decode_head(torch.zeros(1, 2, 4, 6, 8), head(), (64, 96))
    assert boxes[0, 1, 3, 5].tolist() == [5.5 * 16, 3.5 * 16, 30, 5, 0.5, 0.5, 0.5, 0.5]
    assert boxes[0, 0, 1, 2, :4].tolist() == [2.5 * 16, 1.5 * 16, 10, 20]


def test_one_number_means_a_square() -> None:
    output = torch.randn(2, 2, 4, 4, 8)
    assert torch.equal(decode_head(output, head(), 64), decode_head(output, head(), (64, 64)))


@pytest.mark.parametrize("scale", [1.0, 1.05, 2.0])
@pytest.mark.parametrize("logit", [-2.0, 0.3, 50.0])
def test_scale_x_y_stretches_the_centre_about_the_cells_middle(scale: float, logit: float) -> None:
    output = torch.full((1, 2, 1, 1, 8), logit)
    sigmoid = 1 / (1 + math.exp(-logit))
    x = (sigmoid * scale - (scale - 1) / 2) * 16
    torch.testing.assert_close(decode_head(output, head(scale), 16)[0, 0, 0, 0, 0].item(), x)


def test_sizes_are_exact_below_the_limit_and_finite_above() -> None:
    output = torch.zeros(1, 2, 1, 1, 8)
    output[..., 2] = MAX_SIZE_LOGIT - 0.01
    output[..., 3] = 1e4
    box = decode_head(output, head(), 16)[0, 0, 0, 0]
    torch.testing.assert_close(box[2].item(), 10 * math.exp(MAX_SIZE_LOGIT - 0.01), rtol=1e-5, atol=0)
    torch.testing.assert_close(box[3].item(), 20 * math.exp(MAX_SIZE_LOGIT), rtol=1e-5, atol=0)


def test_a_softmax_makes_classes_exclude_each_other() -> None:
    apart = head()
    together = dataclasses.replace(apart, softmax=True)
    output = torch.randn(1, 2, 2, 2, 8, generator=torch.Generator().manual_seed(0))
    found, plain = decode_head(output, together, 32), decode_head(output, apart, 32)
    assert torch.equal(found[..., :5], plain[..., :5])
    torch.testing.assert_close(found[..., 5:], output[..., 5:].softmax(dim=-1))

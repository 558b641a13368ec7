"""Idle channels leave any network whose answer stays the same without them, and no other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.inference.without_channels import agree, without_idle_channels

IMAGE = torch.zeros(1, 3, 8, 8)


def network(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), activation, nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4, 2, 1)).eval()


@torch.no_grad()
def silenced(whole: nn.Sequential, filters: list[int]) -> nn.Sequential:
    """Return a copy some filters of whose first layer are zero as a whole."""
    pruned = copy.deepcopy(whole)
    for parameter in pruned[:2].parameters():
        parameter[filters] = 0
    return pruned


def widths(found: nn.Module) -> list[int]:
    return [module.out_channels for module in found.modules() if isinstance(module, nn.Conv2d)]


def answer(found: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = found(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    return result


def test_filters_that_are_zero_leave_with_all_that_reads_them() -> None:
    pruned = silenced(network(nn.ReLU()), [1, 4])
    found = without_idle_channels(pruned, IMAGE)
    assert widths(found) == [4, 4, 2]
    torch.testing.assert_close(answer(found), answer(pruned), rtol=0, atol=1e-6)
    assert widths(pruned) == [6, 4, 2]


def test_one_filter_stays_of_a_layer_that_is_zero() -> None:
    pruned = silenced(network(nn.ReLU()), [*range(6)])
    found = without_idle_channels(pruned, IMAGE)
    assert widths(found) == [1, 4, 2]
    torch.testing.assert_close(answer(found), answer(pruned), rtol=0, atol=1e-6)


def test_a_filter_whose_shift_is_read_stays() -> None:
    pruned = silenced(network(nn.ReLU()), [1])
    with torch.no_grad():
        pruned.get_parameter("1.bias")[1] = 0.5
    assert widths(without_idle_channels(pruned, IMAGE)) == [6, 4, 2]


def test_where_the_answer_would_change_nothing_leaves() -> None:
    pruned = silenced(network(nn.Sigmoid()), [1, 4])  # of zero it makes a half
    found = without_idle_channels(pruned, IMAGE)
    assert widths(found) == [6, 4, 2]
    assert torch.equal(answer(found), answer(pruned))


class Answering(nn.Module):
    """Gives its answer in a form of its own."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.form = network(nn.ReLU()), form

    def forward(self, images: Tensor) -> Any:
        return self.form(self.network(images))


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor | None = None


@pytest.mark.parametrize(
    "form",
    [
        lambda y: {"answer": y, "found": y > 0, "best": y.argmax(1)},
        lambda y: [y, y[:, :0]],
        lambda y: {"answer": y, "unknown": None},
        lambda y: y.masked_fill(y < y.mean(), -torch.inf),
        Answer,
    ],
    ids=["no floats", "nothing", "None", "infinite", "dataclass"],
)
def test_answers_may_have_any_form(form: Callable[[Tensor], Any]) -> None:
    whole = Answering(form).eval()
    whole.network = silenced(whole.network, [1, 4])
    assert widths(without_idle_channels(whole, IMAGE)) == [4, 4, 2]


def test_other_answers_are_seen_in_every_form() -> None:
    def answering(form: Callable[[Tensor], Any]) -> nn.Module:
        return Answering(form).eval()

    assert not agree(answering(lambda y: y > 0), answering(lambda y: y <= 0), IMAGE)
    assert not agree(answering(lambda y: Answer(y)), answering(lambda y: Answer(-y)), IMAGE)
    assert not agree(answering(lambda _: "a word"), answering(lambda _: "a word"), IMAGE)  # of which nothing is known


def test_a_network_that_cannot_be_followed_stays_whole() -> None:
    pruned = silenced(network(nn.ReLU()), [1, 4])
    pruned[3] = nn.utils.parametrizations.weight_norm(pruned[3])
    found = without_idle_channels(pruned, IMAGE)
    assert torch.equal(answer(found), answer(pruned))

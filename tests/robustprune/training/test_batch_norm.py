"""Batch norm's statistics: taken from a batch, averaged over several, and forgotten by training."""

import copy

import pytest
import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.training.batch_norm import average_statistics, remembered, statistics_of, tracked
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier, images
from tests.support import batch_norms

TASK = task_on(bright_or_dark(6, size=SIZE))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("training", [False, True])
def test_meanwhile_statistics_are_those_of_the_batch_and_then_what_they_were(training: bool) -> None:
    network = classifier([("plain", 2), ("projected", 2)]).train(training)
    before, pixels = state(network), images(count=4)
    expected = copy.deepcopy(network).train()(pixels)
    with statistics_of(pixels, network, TASK):
        frozen = copy.deepcopy(network).eval()
        # What is normalised by the biased variance in training is normalised by the unbiased one in eval mode.
        torch.testing.assert_close(frozen(pixels), expected, rtol=0.05, atol=0.05)
        assert not torch.equal(network.get_buffer("network.0.1.running_mean"), before["network.0.1.running_mean"])
    after = state(network)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert network.training is training
    assert [norm.momentum for norm in tracked(network)] == [0.1] * 5


def test_statistics_of_a_masked_batch_are_of_the_weights_in_their_place() -> None:
    network, pixels = classifier([("plain", 2)]), images(count=4)
    zeros = torch.zeros_like(network.get_parameter("network.0.0.weight"))
    with statistics_of(pixels, network, TASK, {"network.0.0.weight": zeros}):
        assert (network.get_buffer("network.0.1.running_mean") == 0).all()
        assert (network.get_buffer("network.0.1.running_var") == 0).all()


def test_averages_are_over_batches_by_their_size_and_forget_what_was_before() -> None:
    network = classifier([])
    pixels = torch.rand(7, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    weights = {name: parameter.clone() for name, parameter in network.named_parameters()}
    network.get_buffer("network.0.1.running_mean").fill_(1e6)
    average_statistics(network, TASK, (pixels[:4], pixels[4:]))
    answers: list[Tensor] = []
    network.get_submodule("network.0.0").register_forward_hook(lambda _, __, answer: answers.append(answer.detach()))
    for part in (pixels[:4], pixels[4:]):
        network(part)
    for name, statistic in (("running_mean", Tensor.mean), ("running_var", Tensor.var)):
        first, second = (statistic(answer.transpose(0, 1).flatten(1), dim=1) for answer in answers)
        torch.testing.assert_close(network.get_buffer(f"network.0.1.{name}"), (4 * first + 3 * second) / 7)
    assert all(torch.equal(weights[name], parameter) for name, parameter in network.named_parameters())
    assert not network.training


def test_dropout_stays_as_it_is_when_networks_are_measured() -> None:
    network = nn.Sequential(
        nn.Dropout(0.5), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    twin = copy.deepcopy(network)
    batch_norms.draw(twin)
    for each in (network, twin):
        average_statistics(each, TASK, [images(count=4)])
    assert torch.equal(network.get_buffer("2.running_mean"), twin.get_buffer("2.running_mean"))


def test_a_network_without_batch_norm_asks_for_no_batch() -> None:
    def none() -> Tensor:
        raise AssertionError

    average_statistics(nn.Linear(2, 2), TASK, (none() for _ in range(1)))
    assert remembered(nn.Linear(2, 2), steps=0) == 0


def test_training_forgets_at_the_rate_of_momentum() -> None:
    quick, slow, never = nn.BatchNorm2d(3, momentum=0.5), nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None)
    assert remembered(quick, steps=3) == pytest.approx(0.125)
    assert remembered(nn.Sequential(quick, slow), steps=16) == pytest.approx(0.185, abs=1e-3)
    assert remembered(nn.Sequential(slow, never), steps=10_000) == 1
    # As a training would find: what is left of a mean after steps on zeros.
    with torch.no_grad():
        slow.running_mean.fill_(1)  # type: ignore[union-attr]
        for _ in range(16):
            slow.train()(torch.zeros(2, 3, 1, 1))
    assert slow.running_mean is not None
    torch.testing.assert_close(slow.running_mean, torch.full((3,), remembered(slow, steps=16)))


def test_no_batch_to_average_over_is_said_and_changes_nothing() -> None:
    network = classifier([("plain", 2)])
    before = state(network)
    with pytest.raises(InputError, match="found no batch of images to average batch norm's statistics over"):
        average_statistics(network, TASK, [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(network).items())

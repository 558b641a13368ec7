"""Gates on channels: what a network is with them, and that a loss can be differentiated by them."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from robustprune.classification.classifier import Classifier
from robustprune.methods.gates import gated
from robustprune.structures.groups import CoupledGroup, Members
from robustprune.structures.removal import remove
from tests.robustprune.structures.networks import KINDS, classifier, groups_of, images


def network_of(*kinds: str) -> Classifier:
    return classifier([(kind, 2) for kind in kinds], hidden=6)


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [("projected", "depthwise", "option A", "plain")])
@pytest.mark.parametrize("training", [False, True])
def test_gates_of_zeros_and_ones_are_a_network_without_those_channels(kinds: tuple[str, ...], training: bool) -> None:
    network = network_of(*kinds)
    groups = groups_of(network)
    generator = torch.Generator().manual_seed(0)
    kept = [
        (torch.rand(group.decisions, generator=generator) < 0.6).index_fill(0, torch.tensor(0), True)
        for group in groups
    ]
    smaller = copy.deepcopy(network)
    remove(groups_of(smaller), kept)
    gates = gated(network, groups, [stays.float() for stays in kept])
    found = functional_call(network.train(training), gates, (images(count=4),))
    torch.testing.assert_close(found, smaller.train(training)(images(count=4)), rtol=1e-4, atol=1e-5)


def test_open_gates_change_no_bit() -> None:
    network = network_of(*KINDS)
    groups = groups_of(network)
    parameters = dict(network.named_parameters())
    for name, parameter in gated(network, groups, [torch.ones(group.decisions) for group in groups]).items():
        assert torch.equal(parameter, parameters[name])


def test_the_layers_of_a_grouped_convolution_read_channels_of_their_own() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3, groups=2))
    every = Members(torch.arange(6), torch.arange(6))
    group = CoupledGroup(decisions=6, filters={"0": every}, readers={"1": every})
    gates, inputs = torch.rand(6), torch.rand(2, 3, 5, 5)
    found = functional_call(network, gated(network, [group], [gates]), (inputs,))
    torch.testing.assert_close(found, network[1](network[0](inputs) * gates.view(1, -1, 1, 1)))


def test_a_kept_channel_has_a_gradient_where_the_scale_of_its_filter_has_none() -> None:
    # Before batch norm in training, the scale of a filter cancels: scores of weights cannot learn whole filters.
    network = network_of("plain").train()
    groups = groups_of(network)
    gates = [torch.ones(group.decisions, requires_grad=True) for group in groups]
    pixels = images(count=4)
    outputs = functional_call(network, gated(network, groups, gates), (pixels,))
    gradients = torch.autograd.grad(outputs.square().sum(), gates)
    plain = network.get_submodule("network.0.0").weight
    assert isinstance(plain, torch.Tensor)
    (of_weights,) = torch.autograd.grad(network(pixels).square().sum(), plain)
    products = plain.detach() * of_weights
    scale = products.flatten(1).sum(dim=1).abs() / products.flatten(1).abs().sum(dim=1).clamp(min=1e-12)
    assert scale.max() < 1e-3
    assert gradients[0].abs().max() > 1e-2 * products.abs().max()


def test_a_pruned_channel_has_a_gradient_that_can_take_it_back() -> None:
    network = network_of("plain").train()
    groups = groups_of(network)
    gates = [torch.zeros(group.decisions).index_fill(0, torch.tensor([0, 1]), 1.0).requires_grad_() for group in groups]
    outputs = functional_call(network, gated(network, groups, gates), (images(count=4),))
    gradients = torch.autograd.grad(outputs.square().sum(), gates)
    assert (
        sum(int((gradient[2:] != 0).sum()) for gradient in gradients)
        >= sum(len(gradient) - 2 for gradient in gradients) / 2
    )

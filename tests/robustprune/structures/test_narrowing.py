"""Networks without idle channels, by DepGraph: they answer and are trained as the masked ones."""

import copy

import pytest
import torch
from torch import Tensor, nn

from robustprune.classification.classifier import Classifier
from robustprune.structures import masks as masking
from robustprune.structures.narrowing import Narrowed, narrowed
from robustprune.structures.removal import departing, kept_decisions
from tests.robustprune.structures.networks import KINDS, classifier, drawn, groups_of, images, masks


def pruned(network: nn.Module, ratio: float = 0.5) -> dict[str, Tensor]:
    """Set filters to zero, with what departs with them; return the masks."""
    groups = groups_of(network)
    own = masks(network, groups, ratio=ratio, scope="layer", scores=drawn(), structure="structured")
    held = own | departing(network, groups, kept_decisions(groups, own))
    masking.apply(held, network)
    return held


def narrow_of(network: nn.Module, held: dict[str, Tensor]) -> Narrowed:
    found = narrowed(network, held, find=groups_of)
    assert found is not None
    return found


def course(network: nn.Module, held: dict[str, Tensor]) -> list[float]:
    """Return the losses of 20 steps, masks held."""
    torch.manual_seed(0)  # of dropout
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images(count=6).double()), torch.arange(6) % 3)
        loss.backward()
        masking.apply_to_gradients(held, network)
        optimizer.step()
        masking.apply(held, network)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [None, 6])
def test_twenty_steps_take_the_masked_course(kind: str, hidden: int | None) -> None:
    wide = classifier([(kind, 2), ("plain", 1)], hidden=hidden).double()
    held = pruned(wide)
    narrow = narrow_of(wide, held)
    assert isinstance(narrow.network, Classifier)
    assert sum(each.numel() for each in narrow.network.parameters()) < sum(each.numel() for each in wide.parameters())
    images_ = images().double()
    assert torch.allclose(narrow.network(images_), wide(images_), atol=1e-12)
    masked, small = course(wide, held), course(narrow.network, narrow.masks(held))
    assert small == pytest.approx(masked, rel=1e-5)
    assert masked[-1] < masked[0]
    back = copy.deepcopy(wide)
    for parameter in back.parameters():
        parameter.data.mul_(1.5)
    masking.apply(held, back)
    narrow.write_back(back)
    assert torch.allclose(back.eval()(images_), wide.eval()(images_), atol=1e-6)


@pytest.mark.parametrize("hidden", [None, 6])
def test_dropout_before_a_fully_connected_layer_draws_as_for_the_whole_width(hidden: int | None) -> None:
    wide = classifier([("plain", 2)], hidden=hidden).double()
    assert isinstance(wide.network, nn.Sequential)
    wide.network.insert(len(wide.network) - 1, nn.Dropout(0.5))
    held = pruned(wide)
    narrow = narrow_of(wide, held)
    assert narrow.network.get_parameter(f"network.{len(wide.network) - 1}.weight").shape[1] in (3, 12)
    masked, small = course(wide, held), course(narrow.network, narrow.masks(held))
    assert small == pytest.approx(masked, rel=1e-5)
    assert torch.allclose(narrow.network.eval()(images().double()), wide.eval()(images().double()), atol=1e-6)
    back = copy.deepcopy(wide)
    narrow.write_back(back)
    assert back.state_dict().keys() == wide.state_dict().keys()


def test_a_network_keeps_its_mode_its_buffers_and_which_parameters_learn() -> None:
    wide = classifier([("projected", 2)])
    held = pruned(wide)
    wide.requires_grad_(False)
    next(wide.parameters()).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    narrow = narrow_of(wide.train(), held)
    assert narrow.network.training
    asked = [parameter.requires_grad for parameter in narrow.network.parameters()]
    assert asked == [True] + [False] * (len(asked) - 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in wide.state_dict().items())
    assert all(tensor.dtype == before[name].dtype for name, tensor in narrow.network.state_dict().items())


def test_layers_that_see_all_channels_at_once_are_not_narrowed() -> None:
    for layer in (nn.GroupNorm(2, 4), nn.Dropout(0.5), nn.LayerNorm(8)):
        assert narrowed(nn.Sequential(nn.Conv2d(3, 4, 1), layer), {}, find=groups_of) is None

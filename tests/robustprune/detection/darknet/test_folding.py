"""A folded detector computes what the detector computes in eval mode, and nothing more."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.detection.darknet import Detector, folding
from robustprune.detection.darknet.folding import fold
from robustprune.detection.darknet.layers import Convolutional, MaxPool


@pytest.fixture(params=["yolov3-nano", "yolov3-tiny"])
def detector(request: pytest.FixtureRequest) -> Detector:
    """Return a detector in training mode whose batch norms all do something."""
    torch.manual_seed(0)
    detector = Detector.from_cfg(request.param, classes=3).train()
    for norm in detector.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            for tensor in (norm.weight, norm.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
    return detector


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def assert_same(folded: list[Tensor], own: list[Tensor]) -> None:
    for output, expected in zip(folded, own, strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_outputs_are_those_of_eval_mode(detector: Detector, images: Tensor) -> None:
    network, tensors = fold(detector)
    assert_same(functional_call(network, tensors, (images,)), detector.eval()(images))


def test_gradients_of_the_images_are_those_of_eval_mode(detector: Detector, images: Tensor) -> None:
    network, tensors = fold(detector)
    detector.eval()

    def folded(x: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = functional_call(network, tensors, (x,))
        return outputs

    runs: list[Callable[[Tensor], list[Tensor]]] = [folded, detector]
    gradients = []
    for run in runs:
        x = images.clone().requires_grad_()
        loss = torch.stack([output.square().sum() for output in run(x)]).sum()
        gradients.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * gradients[1].abs().max().item())


def test_the_detector_is_left_alone(detector: Detector) -> None:
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    fold(detector)
    assert detector.training
    assert all(parameter.requires_grad for parameter in detector.parameters())
    after = detector.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_folded_again_it_follows_the_weights(detector: Detector, images: Tensor) -> None:
    fold(detector)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.mul_(0.9)
    network, tensors = fold(detector)
    assert_same(functional_call(network, tensors, (images,)), detector.eval()(images))
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_given_weights_stand_in_for_the_detectors_own(detector: Detector, images: Tensor) -> None:
    names = ["layers.0.conv.weight", "layers.0.batch_norm.bias", f"layers.{len(detector.layers) - 2}.conv.bias"]
    others = {name: detector.get_parameter(name) * 0.5 + 0.01 for name in names}
    network, tensors = fold(detector, others)
    detector.eval()
    assert_same(functional_call(network, tensors, (images,)), functional_call(detector, others, (images,)))


def test_it_takes_no_memory_for_weights_it_never_uses(detector: Detector) -> None:
    assert all(parameter.is_meta for parameter in fold(detector).network.parameters())


def test_pooling_before_the_activation_changes_no_bit(
    detector: Detector, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled_first = fold(detector)
    after_convolutions = any(
        isinstance(layer, MaxPool) and isinstance(detector.layers[sources[0]], Convolutional)
        for layer, sources in zip(detector.layers, detector.inputs, strict=True)
    )
    assert any(isinstance(layer, nn.Sequential) for layer in pooled_first.network.layers) == after_convolutions
    monkeypatch.setattr(folding, "_pool_first", lambda network: None)
    plain = fold(copy.deepcopy(detector))
    found = [
        (outputs, *torch.autograd.grad(sum(output.sum() for output in outputs), given))
        for folded in (pooled_first, plain)
        for given in [images.clone().requires_grad_()]
        for outputs in [functional_call(folded.network, folded.tensors, (given,))]
    ]
    (outputs, gradient), (plain_outputs, plain_gradient) = found
    assert all(torch.equal(one, other) for one, other in zip(outputs, plain_outputs, strict=True))
    torch.testing.assert_close(gradient, plain_gradient)

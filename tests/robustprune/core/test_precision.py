"""Ways to compute: what they may change of a result, and what not."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings, configured
from robustprune.core.precision import Compute
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.training import Objective
from tests.robustprune.detection.tasks import Assigned, batch_of, under


@pytest.fixture
def batch(nano: Detector, samples: Samples) -> Assigned:
    return batch_of(nano, samples, range(4))


def robust(detector: Detector, compute: Compute) -> Objective:
    return under(configured(PgdSettings(), torch.Generator()), detector, compute=compute)


def loss(detector: Detector, batch: Assigned, compute: Compute) -> Tensor:
    images = batch.images.contiguous(memory_format=compute.memory_format)
    return robust(detector, compute)(detector, images, batch.targets)


def test_bfloat16_changes_the_robust_loss_by_its_rounding(trained: Detector, batch: Assigned) -> None:
    exact = loss(trained, batch, Compute())
    rounded = loss(trained, batch, Compute(precision="bfloat16"))
    assert rounded.dtype == torch.float32
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0)


def test_bfloat16_trains_weights_in_float32(trained: Detector, batch: Assigned) -> None:
    loss(trained, batch, Compute(precision="bfloat16")).backward()
    for parameter in trained.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_an_attack_in_bfloat16_stays_in_the_ball(trained: Detector, batch: Assigned) -> None:
    attacked = robust(trained, Compute(precision="bfloat16")).attacked(trained, *batch)
    assert attacked.dtype == torch.float32
    assert 0 <= attacked.min() <= attacked.max() <= 1
    assert 0.04 < (attacked - batch.images).abs().max() <= 0.05 + 1e-6


def test_the_memory_format_changes_last_digits_at_most(trained: Detector, batch: Assigned) -> None:
    found = [loss(trained, batch, Compute(channels_last=flag)) for flag in (True, False)]
    torch.testing.assert_close(*found, rtol=1e-3, atol=0)


def test_models_are_measured_exactly_however_they_were_trained() -> None:
    trained = Compute(precision="bfloat16", channels_last=False, compile=True)
    assert trained.exactly() == Compute(channels_last=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="to compile for a CPU takes a C++ compiler")
def test_compiled_passes_compute_the_same() -> None:
    torch.manual_seed(0)
    network, images = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8)
    weight = torch.rand_like(network.weight).requires_grad_()
    found, expected = (
        torch.cat(Compute(compile=flag).outputs(network, {"weight": weight}, images)).square().sum()
        for flag in (True, False)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, weight)[0] for loss in (found, expected)))

"""Ways to compute: what they may change of a result, and what not."""

import shutil

import pytest
import torch
from torch import nn

from robustprune.attacks import PgdSettings, configured
from robustprune.core.precision import Compute
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Batch, Samples
from robustprune.detection.losses import ciou
from robustprune.detection.losses.assignment import assign
from robustprune.detection.objective import Objective


@pytest.fixture
def batch(samples: Samples) -> Batch:
    return samples.batch(range(4))


def robust(compute: Compute) -> Objective:
    return Objective(loss=ciou, attack=configured(PgdSettings(), torch.Generator()), compute=compute)


def test_bfloat16_changes_the_robust_loss_by_its_rounding(trained: Detector, batch: Batch) -> None:
    exact = robust(Compute())(trained, batch.images, batch.targets)
    rounded = robust(Compute(precision="bfloat16"))(trained, batch.images, batch.targets)
    assert rounded.dtype == torch.float32
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0)


def test_bfloat16_trains_weights_in_float32(trained: Detector, batch: Batch) -> None:
    robust(Compute(precision="bfloat16"))(trained, batch.images, batch.targets).backward()
    gradients = [parameter.grad for parameter in trained.parameters()]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_an_attack_in_bfloat16_stays_in_the_ball(trained: Detector, batch: Batch) -> None:
    assignments = assign(batch.targets, trained.heads, 64)
    attacked = robust(Compute(precision="bfloat16")).attacked(trained, batch.images, assignments)
    assert attacked.dtype == torch.float32
    assert 0 <= attacked.min() <= attacked.max() <= 1
    assert 0.04 < (attacked - batch.images).abs().max() <= 0.05 + 1e-6


def test_the_memory_format_changes_last_digits_at_most(trained: Detector, batch: Batch) -> None:
    found = [robust(Compute(channels_last=flag))(trained, batch.images, batch.targets) for flag in (True, False)]
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

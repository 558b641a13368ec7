"""What a GPU is given to do can be done there, as far as a pretended one tells: nothing is on the wrong device.

Results are the CPU's, to the bit: the pretended GPU computes as it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.adversarial_training import Ours, random_batch
from benchmarks.gpu import parity
from benchmarks.gpu.figures import ON_CPU, Bench
from benchmarks.gpu.graph import GraphedStep
from benchmarks.gpu.problems import Problem, Trainer, classification, detection
from robustprune.attacks.pgd import PgdSettings
from robustprune.core.precision import Compute
from robustprune.core.randomness import generator_for
from robustprune.detection.darknet import Detector
from robustprune.detection.task import DetectionTask
from robustprune.training import convolutions, train
from robustprune.training.convolutions.function import Ways
from tests.support.pretended_gpu import GPU, GpuTensor, PretendedGpu

SIZES = ON_CPU._replace(attack_steps=1, images=4)


def problem(task: str, device: str) -> Problem:
    return (
        detection("yolov3-nano", 64, SIZES, device) if task == "detection" else classification("resnet8", SIZES, device)
    )


def measured(own: Problem) -> Any:
    """Return the task as its study measures it, but for random starts: the pretended GPU has no generators."""
    settings: Any = own.study.settings
    if isinstance(own.task, DetectionTask):
        return replace(own.task, evaluation=settings.evaluation, attack_settings=settings.attack)
    attack = PgdSettings(steps=1)
    return replace(own.task, evaluation=settings.evaluation.model_copy(update={"attack": attack, "blind_queries": 0}))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    # A GPU convolves in PyTorch's way; so that bits can be compared, the CPU does too.
    monkeypatch.setattr(convolutions, "_ways", lambda shape, *, uses: Ways("direct", "direct", "direct"))
    with PretendedGpu() as there:
        yield there


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_a_step_waits_for_the_gpu_only_to_check_the_range_of_images(gpu: PretendedGpu, task: str) -> None:
    there, here = (problem(task, device) for device in ("cuda", "cpu"))
    trainer, batch = Trainer(there), there.batch(2)
    gpu.waits.clear()
    loss = trainer.step(batch)
    assert gpu.waits == {"_local_scalar_dense": 2}
    assert isinstance(loss, GpuTensor)
    assert float(loss) == float(Trainer(here).step(here.batch(2)))


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_training_and_measuring_compute_on_a_gpu_what_they_do_on_a_cpu(gpu: PretendedGpu, task: str) -> None:
    found = []
    for device in ("cuda", "cpu"):
        own = problem(task, device)
        network, generator = own.task.fresh(0), generator_for(0, "train")
        objective = own.study.objective(own.task, generator, attacked=True)
        train(network, objective=objective, settings=own.study.settings.pretrain, generator=generator)
        assert {each.device.type for each in network.state_dict().values()} == {device}
        weights = {name: each.cpu() for name, each in network.state_dict().items()}
        found.append((weights, measured(own).measure(network, seed=0)))
    (there, told), (here, expected) = found
    assert {name: each for name, each in told.items() if not name.endswith("_s")} == {
        name: each for name, each in expected.items() if not name.endswith("_s")
    }
    assert all(torch.equal(there[name], here[name]) for name in here)


def test_outputs_gradients_attacks_and_scores_are_those_of_a_cpu(
    gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "problems", lambda sizes, device: [problem("detection", device)])
    figures = list(parity.run(Bench("cuda", SIZES)))
    assert len(figures) > 10
    assert {figure.value for figure in figures if figure.unit} == {0.0}


def test_a_step_can_be_recorded_and_replayed(gpu: PretendedGpu) -> None:
    torch.manual_seed(0)
    compute = Compute()
    detector = Detector.from_cfg("yolov3-nano").to(GPU)
    images, targets = random_batch(2, 64, detector.heads[0].classes, GPU)
    recorded = GraphedStep(detector, images, targets, compute, attack_steps=1)
    plain = Ours(detector, compute, 1)
    assert recorded.is_graph
    for _ in range(2):
        recorded.step(images, targets)
        plain.step(images, targets)
    wanted: dict[str, Tensor] = plain.detector.state_dict()
    for name, tensor in recorded.detector.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), wanted[name].cpu(), rtol=1e-3, atol=1e-4)

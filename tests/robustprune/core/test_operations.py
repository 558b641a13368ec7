"""The arithmetic against PyTorch's own count of operations, in work that is really done."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from robustprune.attacks import FgsmSettings, PgdSettings, configured
from robustprune.core.operations import measuring, training
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.detection.losses import ciou
from robustprune.detection.measure.evaluation import Evaluation, evaluate
from robustprune.detection.objective import Objective
from robustprune.detection.training import Training, train
from robustprune.inference.cost import size
from robustprune.initializers import Problem
from robustprune.initializers.deeplift import deeplift
from robustprune.initializers.hydra import hydra
from robustprune.methods.contributions import DeepLiftSettings, deeplift_work
from robustprune.methods.optimised_scores import HydraSettings, hydra_work

ATTACKS = [PgdSettings(steps=3), PgdSettings(steps=2, random_start=True, restarts=3), FgsmSettings(name="fgsm")]
IMAGES, SIZE = 6, 64


@pytest.fixture
def forward(nano: Detector) -> float:
    """Operations of a forward pass of one image."""
    return 2.0 * size(nano, image_size=SIZE).macs


class Counter(TorchDispatchMode):
    """Counts operations by PyTorch's formulas, as its `FlopCounterMode` does, which chokes on `autograd.grad`."""

    operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in flop_registry:
            self.operations += flop_registry[function.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def counted(work: Callable[[], Any]) -> int:
    with Counter() as counter:
        work()
    return counter.operations


def heads(detector: Detector) -> list[int]:
    """Return the convolutions that feed a head."""
    return [index - 1 for index, section in enumerate(detector.sections[1:]) if section.name == "yolo"]


def operations(detector: Detector, *layers: int) -> float:
    """Return what these convolutions take in a forward pass of one image."""
    macs = size(detector, image_size=SIZE).layer_macs
    return 2.0 * sum(macs[f"layers.{index}.conv"] for index in layers)


def objective(attack: Any) -> Objective:
    generator = torch.Generator().manual_seed(0)
    return Objective(loss=ciou, attack=None if attack is None else configured(attack, generator))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("attack", [None, *ATTACKS])
def test_training(nano: Detector, samples: Samples, forward: float, attack: Any) -> None:
    settings = Training(epochs=2, batch_size=4, learning_rate=0.001)
    found = counted(lambda: train(nano, samples, objective=objective(attack), settings=settings, generator=generator()))
    predicted = training("training", forward=forward, images=IMAGES, epochs=2, attack=attack).operations
    # The gradient of the images themselves, which only an attack asks for.
    too_many = 2 * IMAGES * operations(nano, 0) * (1 if attack is None else 2)
    assert found == predicted - too_many
    assert too_many < 0.04 * predicted


@pytest.mark.parametrize("attack", ATTACKS)
def test_measuring(nano: Detector, samples: Samples, forward: float, attack: Any) -> None:
    # An untrained detector finds more boxes than can be suppressed in a hurry.
    settings = Evaluation(batch_size=4, confidence=0.9)
    found = counted(lambda: evaluate(nano, samples, objective=objective(attack), settings=settings))
    timed = counted(lambda: [nano(torch.rand(1, 3, SIZE, SIZE)) for _ in range(5)])
    assert found + timed == measuring(forward=forward, images=IMAGES, timed=5, attack=attack).operations


@pytest.mark.parametrize("prune_heads", [True, False])
@pytest.mark.parametrize("images", [None, 4, 100])
def test_hydra(nano: Detector, samples: Samples, forward: float, prune_heads: bool, images: int | None) -> None:
    settings = HydraSettings(epochs=2, batch_size=4, images=images)
    problem = Problem(
        samples=samples,
        objective=objective(ATTACKS[0]),
        generator=generator(),
        structure="unstructured",
        ratio=0.5,
        prune_heads=prune_heads,
    )
    found = counted(lambda: hydra(nano, problem, settings))
    predicted = hydra_work(settings, forward=forward, images=IMAGES, attack=ATTACKS[0]).operations
    # Neither the images' gradient is needed nor that of weights without scores.
    too_many = operations(nano, 0) + (0 if prune_heads else operations(nano, *heads(nano)))
    assert found == predicted - 2 * 2 * min(images or IMAGES, IMAGES) * too_many


@pytest.mark.parametrize("prune_heads", [True, False])
@pytest.mark.parametrize("images", [None, 4, 100])
def test_deeplift(nano: Detector, samples: Samples, forward: float, prune_heads: bool, images: int | None) -> None:
    settings = DeepLiftSettings(images=images, batch_size=2)
    problem = Problem(samples=samples, objective=objective(None), generator=generator(), prune_heads=prune_heads)
    found = counted(lambda: deeplift(nano, problem, settings))
    predicted = deeplift_work(settings, forward=forward, images=IMAGES, attack=ATTACKS[0]).operations
    assert found == predicted - (0 if prune_heads else min(images or IMAGES, IMAGES) * operations(nano, *heads(nano)))


@pytest.mark.parametrize(
    ("attack", "epochs", "said"),
    [
        (PgdSettings(), 10, "pretraining: 10 epochs of 50,000 images, 5 attack steps"),
        (ATTACKS[1], 1, "pretraining: 1 epoch of 50,000 images, 3 × 2 attack steps"),
        (ATTACKS[2], 0, "pretraining: 0 epochs of 50,000 images, 1 attack step"),
        (None, 2, "pretraining: 2 epochs of 50,000 images"),
    ],
)
def test_work_is_said_in_words(attack: Any, epochs: int, said: str) -> None:
    work = training("pretraining", forward=1e9, images=50_000, epochs=epochs, attack=attack)
    assert work.description == said

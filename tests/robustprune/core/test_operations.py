"""The arithmetic against PyTorch's own count of operations, in work that is really done."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from robustprune.attacks import FgsmSettings, PgdSettings, attack_work, configured
from robustprune.core.operations import AttackWork, Work, measuring, training
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.detection.measure.evaluation import Evaluation, evaluate
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS, NoSettings, Problem
from robustprune.methods.deeplift import DeepLiftSettings, deeplift
from robustprune.methods.first_order.taylor import TaylorSettings, taylor
from robustprune.methods.hydra import HydraSettings, hydra
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import Objective, train
from robustprune.training.objectives.gradient_alignment import PASSES, Alignment
from tests.robustprune.detection.tasks import task_of

ATTACKS = [PgdSettings(steps=3), PgdSettings(steps=2, random_start=True, restarts=3), FgsmSettings(name="fgsm")]
IMAGES, SIZE = 6, 64


@pytest.fixture
def forward(nano: Detector) -> float:
    """Operations of a forward pass of one image."""
    return 2.0 * size(nano, torch.zeros(1, 3, SIZE, SIZE)).macs


class Counter(TorchDispatchMode):
    """Counts operations by PyTorch's formulas, as its `FlopCounterMode` does, which chokes on `autograd.grad`."""

    operations: int = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in flop_registry:
            self.operations += flop_registry[function.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def counted(work: Callable[[], Any]) -> int:
    with Counter() as counter:  # type: ignore[no-untyped-call]
        work()
    return int(counter.operations)


def heads(detector: Detector) -> list[int]:
    """Return the convolutions that feed a head."""
    return [index - 1 for index, section in enumerate(detector.sections[1:]) if section.name == "yolo"]


def operations(detector: Detector, *layers: int) -> float:
    """Return what these convolutions take in a forward pass of one image."""
    macs = size(detector, torch.zeros(1, 3, SIZE, SIZE)).layer_macs
    return 2.0 * sum(macs[f"layers.{index}.conv"] for index in layers)


def objective(detector: Detector, samples: Samples, attack: Any, **more: Any) -> Objective:
    task = task_of(detector, samples, **more)
    return Objective(task=task, attack=None if attack is None else configured(attack, generator()), clean_too=True)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("attack", [None, *ATTACKS])
def test_training(nano: Detector, samples: Samples, forward: float, attack: Any) -> None:
    settings = AdamTraining(epochs=2, batch_size=4, learning_rate=0.001)
    lowered = objective(nano, samples, attack)
    found = counted(lambda: train(nano, objective=lowered, settings=settings, generator=generator()))
    work = None if attack is None else attack_work(attack)
    predicted = training("training", forward=forward, images=IMAGES, epochs=2, attack=work).operations
    # The gradient of the images themselves, which only an attack asks for.
    too_many = 2 * IMAGES * operations(nano, 0) * (1 if attack is None else 2)
    assert found == predicted - too_many
    assert too_many < 0.04 * predicted


def test_training_with_gradient_alignment(nano: Detector, samples: Samples, forward: float) -> None:
    settings = AdamTraining(epochs=1, batch_size=3, learning_rate=0.001)
    plain = objective(nano, samples, ATTACKS[2])
    term = replace(plain, alignment=Alignment(weight=0.1, epsilon=0.05, generator=generator()))
    without, found = (
        counted(lambda: train(nano, objective=lowered, settings=settings, generator=generator()))  # noqa: B023
        for lowered in (plain, term)
    )
    assert found - without == pytest.approx(PASSES * IMAGES * forward, rel=0.05)


@pytest.mark.parametrize("attack", ATTACKS)
def test_measuring(nano: Detector, samples: Samples, forward: float, attack: Any) -> None:
    # An untrained detector finds more boxes than can be suppressed in a hurry.
    settings = Evaluation(batch_size=4, confidence=0.9)
    found = counted(lambda: evaluate(nano, samples, objective=objective(nano, samples, attack), settings=settings))
    timed = counted(lambda: [nano(torch.rand(1, 3, SIZE, SIZE)) for _ in range(5)])
    assert found + timed == measuring(forward=forward, images=IMAGES, timed=5, attacks=[attack_work(attack)]).operations


def asked(detector: Detector, samples: Samples, attack: Any, *, prune_heads: bool, **more: Any) -> Problem:
    lowered = objective(detector, samples, attack, prune_heads=prune_heads)
    return Problem(task=lowered.task, objective=lowered, generator=generator(), **more)


def predicted_of(name: str, settings: Any, *, forward: float) -> float:
    """Return the operations that an initializer tells."""
    work = INITIALIZERS[name].work
    assert work is not None
    told: Work = work(settings, forward=forward, images=IMAGES, attack=attack_work(ATTACKS[0]))
    return told.operations


@pytest.mark.parametrize("prune_heads", [True, False])
@pytest.mark.parametrize("images", [None, 4, 100])
def test_hydra(nano: Detector, samples: Samples, forward: float, prune_heads: bool, images: int | None) -> None:
    settings = HydraSettings(epochs=2, batch_size=4, images=images)
    problem = asked(nano, samples, ATTACKS[0], prune_heads=prune_heads, structure="unstructured", ratio=0.5)
    found = counted(lambda: hydra(nano, problem, settings))
    predicted = predicted_of("hydra", settings, forward=forward)
    # Neither the images' gradient is needed nor that of weights without scores.
    too_many = operations(nano, 0) + (0 if prune_heads else operations(nano, *heads(nano)))
    assert found == predicted - 2 * 2 * min(images or IMAGES, IMAGES) * too_many


@pytest.mark.parametrize("prune_heads", [True, False])
@pytest.mark.parametrize("images", [None, 4, 100])
def test_deeplift(nano: Detector, samples: Samples, forward: float, prune_heads: bool, images: int | None) -> None:
    settings = DeepLiftSettings(images=images, batch_size=2)
    problem = asked(nano, samples, None, prune_heads=prune_heads)
    found = counted(lambda: deeplift(nano, problem, settings))
    predicted = predicted_of("deeplift", settings, forward=forward)
    # Neither the images' gradient is needed nor that of weights without scores.
    too_many = operations(nano, 0) + (0 if prune_heads else operations(nano, *heads(nano)))
    assert found == predicted - min(images or IMAGES, IMAGES) * too_many


@pytest.mark.parametrize("prune_heads", [True, False])
@pytest.mark.parametrize("images", [None, 4])
def test_taylor(nano: Detector, samples: Samples, forward: float, prune_heads: bool, images: int | None) -> None:
    settings = TaylorSettings(images=images, batch_size=4)
    problem = asked(nano, samples, ATTACKS[0], prune_heads=prune_heads)
    found = counted(lambda: taylor(nano, problem, settings))
    # Neither the images' gradient is needed nor that of weights without scores.
    too_many = operations(nano, 0) + (0 if prune_heads else operations(nano, *heads(nano)))
    predicted = predicted_of("taylor", settings, forward=forward)
    assert found == predicted - 2 * min(images or IMAGES, IMAGES) * too_many


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_what_sees_no_images_takes_nothing(nano: Detector, samples: Samples, forward: float, name: str) -> None:
    problem = asked(nano, samples, None, prune_heads=True)
    assert counted(lambda: INITIALIZERS[name].score(nano, problem, NoSettings())) == 0
    assert predicted_of(name, NoSettings(), forward=forward) == 0


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
    told = None if attack is None else attack_work(attack)
    work = training("pretraining", forward=1e9, images=50_000, epochs=epochs, attack=told)
    assert work.description == said


def test_attacks_of_as_many_steps_are_told_once() -> None:
    five, one = attack_work(PgdSettings()), attack_work(ATTACKS[2])

    def said(*attacks: AttackWork) -> str:
        return measuring(forward=1e9, images=8, timed=0, attacks=attacks).description

    assert said(five, five) == "measuring: 8 images, clean and in 2 times 5 attack steps"
    assert said(five, one) == "measuring: 8 images, clean and in 5 attack steps and in 1 attack step"

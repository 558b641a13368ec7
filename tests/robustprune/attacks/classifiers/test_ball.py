"""Attacks within a ball stay in it and in [0, 1] whatever the images and the gradients, or refuse."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.attacks import frozen
from robustprune.attacks.adversarial_library.apgd import ApgdSettings
from robustprune.attacks.adversarial_library.fab import FabSettings
from robustprune.attacks.fgsm import FgsmSettings
from robustprune.attacks.norms import distances
from robustprune.attacks.pgd import PgdSettings
from robustprune.attacks.square import SquareSettings
from robustprune.classification.measure.attacks import ball_attacks

ATTACKS: dict[str, Any] = {
    "pgd": lambda epsilon: PgdSettings(epsilon=epsilon, step_size=epsilon, steps=3, random_start=True),
    "fgsm": lambda epsilon: FgsmSettings(epsilon=epsilon),
    "apgd": lambda epsilon: ApgdSettings(epsilon=epsilon, steps=4),
    "apgd_l2": lambda epsilon: ApgdSettings(epsilon=epsilon, steps=4, norm="l2"),
    "fab": lambda epsilon: FabSettings(epsilon=epsilon, steps=3, targets=3),
    "square": lambda epsilon: SquareSettings(epsilon=epsilon, queries=20),
}

images_of = st.sampled_from(["black", "white", "noise", "saturated", "black and white"])


def network(scale: float) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def drawn(kind: str) -> Tensor:
    noise = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return {
        "black": torch.zeros_like(noise),
        "white": torch.ones_like(noise),
        "noise": noise,
        "saturated": (3 * noise - 1).clamp(0, 1),
        "black and white": noise.round(),
    }[kind]


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=20, deadline=None)
@given(kind=images_of, scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4]), epsilon=st.floats(1e-4, 1))
def test_attacked_images_are_in_the_ball_and_in_range(name: str, kind: str, scale: float, epsilon: float) -> None:
    classifier, images = network(scale), drawn(kind)
    labels = classifier(images).argmax(dim=1)
    attacks = ball_attacks(ATTACKS[name](epsilon), torch.Generator().manual_seed(0), classes=4)
    for attack in attacks.values():
        with frozen(classifier):
            attacked = attack.run(classifier, images, labels)
        assert attacked.isfinite().all()
        assert attacked.min() >= 0
        assert attacked.max() <= 1
        assert distances(attacked, images)[attack.norm].max() <= epsilon * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("name", ATTACKS)
def test_images_out_of_range_are_refused(name: str) -> None:
    images = drawn("noise") + 0.5
    for attack in ball_attacks(ATTACKS[name](0.1), torch.Generator(), classes=4).values():
        with pytest.raises(
            ValueError, match=r"^found images from 0\.5.* to 1\.4.*, expected pixel values in \[0, 1\]$"
        ):
            attack.run(network(1.0), images, torch.zeros(3, dtype=torch.int64))

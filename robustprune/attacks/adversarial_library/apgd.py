"""Auto-PGD, whose steps find their own length (APGD, Croce & Hein 2020), as adv-lib computes it.

Unlike the paper, adv-lib halves the length at every other of its checks at the latest: from the second check on, it
compares the best loss with itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from robustprune.attacks.adversarial_library.library import Network, check_installed, library_attack
from robustprune.attacks.adversarial_library.unavailable import available
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.norms import NORMS
from robustprune.attacks.uniform_start import check_range
from robustprune.core.errors import InputError
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, AttackWork, counted
from robustprune.core.randomness import drawing_from
from robustprune.core.settings import PIXEL_VALUES, Settings

ApgdNorm = Literal["l2", "linf"]


class ApgdSettings(Settings):
    """Auto-PGD (Croce & Hein 2020), by default one run of AutoAttack's length."""

    name: Literal["apgd"] = "apgd"
    norm: Annotated[ApgdNorm, BeforeValidator(lambda norm: available("apgd", norm))] = Field(
        default="linf", description="of the ball"
    )
    epsilon: float = Field(gt=0, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    steps: int = Field(default=100, ge=1, description="gradient steps of each start")
    restarts: int = Field(default=1, ge=1, description="random starts, each for the images that withstood those before")
    loss: Literal["ce", "dlr"] = Field(default="ce", description="cross-entropy, or the difference of logits ratio")
    targets: int = Field(
        default=3,
        ge=0,
        description="classes that dlr aims at one by one, the likeliest first, of four or more; 0: none",
    )


def apgd(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    norm: ApgdNorm,
    epsilon: float,
    steps: int,
    restarts: int,
    loss: Literal["ce", "dlr"],
    targets: int = 0,
    generator: torch.Generator,
) -> Tensor:
    """Return images that fool `network`, within `epsilon` of the originals.

    Args:
        network: to attack; freeze it first (`frozen`).
        images: in [0, 1], shape (N, C, H, W).
        labels: (N,).
        norm: of the ball.
        epsilon: radius of the ball, in pixel values.
        steps: gradient steps; each run takes one forward and backward pass more.
        restarts: random starts, each for the images that withstood those before.
        loss: to ascend; the difference of logits ratio needs three classes.
        targets: classes that the difference of logits ratio aims at, each for the images that withstood those
            before, if there are four or more; 0 ascends the true class's loss.
        generator: for the random starts, on the CPU.

    Returns:
        attacked images in [0, 1], same shape; the original where none was found.

    Raises:
        ValueError: an image is not in [0, 1].
    """
    check_range(images)
    aimed = {}
    if loss == "dlr" and targets:
        with torch.no_grad():
            classes = network(images[:1]).shape[1]
        if classes >= 4:
            aimed = {"num_targets": min(targets, classes - 1)}
    attack = library_attack("apgd_targeted" if aimed else "apgd")
    with drawing_from(generator, images.device):
        return attack(
            network,
            images.contiguous(),
            labels,
            eps=epsilon,
            norm=NORMS[norm],
            n_iter=steps,
            n_restarts=restarts,
            loss_function=loss,
            **aimed,
        )


def members(settings: ApgdSettings, classes: int) -> dict[str, Settings]:
    """Return the attack on the cross-entropy and, with three classes or more, that on the difference of logits ratio.

    The first is blind where logits are so large that the true class's probability is one to the last bit; the second
    does not change when logits are multiplied by a number (Croce & Hein 2020).
    """
    names: list[Literal["ce", "dlr"]] = ["ce", "dlr"] if classes >= 3 else ["ce"]
    return {name: settings.model_copy(update={"loss": name}) for name in names}


def _check(settings: ApgdSettings, classes: int) -> None:
    if settings.loss == "dlr" and classes < 3:
        raise InputError(f"apgd: found the loss 'dlr', which compares three classes, and {classes}, expected 'ce'")
    check_installed()


def _work(settings: ApgdSettings) -> AttackWork:
    runs = settings.restarts * (max(1, settings.targets) if settings.loss == "dlr" else 1)
    passes = runs * (settings.steps + 1) * (FORWARD + INPUT_GRADIENT)
    return AttackWork(passes, f"{runs} × " * (runs > 1) + counted(settings.steps, "attack step"))


APGD = AttackEntry(run=apgd, settings=ApgdSettings, sees="logits", work=_work, check=_check, members=members)

"""The least L2 perturbation by decoupled direction and norm (DDN, Rony et al. 2019), as adv-lib computes it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.adversarial_library.library import Network, check_installed, library_attack
from robustprune.attacks.entry import AttackEntry
from robustprune.core.randomness import drawing_from
from robustprune.core.settings import PIXEL_VALUES, Settings


class DdnSettings(Settings):
    """The least L2 norm that fools (Rony et al. 2019), by default by the paper's longest run.

    The norm stays between `init_norm` · (1 − `gamma`)^`steps` and `init_norm` · (1 + `gamma`)^`steps`: with few steps,
    start near what is expected.

    Any pixel value is allowed by default: rounded to 256 levels, a perturbation changes a pixel by 1/255 or not at all,
    which hides how small the least perturbations of a weak network are.
    """

    name: Literal["ddn"] = "ddn"
    steps: int = Field(default=1000, ge=1, description="gradient steps")
    gamma: float = Field(default=0.05, gt=0, lt=1, description="share by which each step shrinks or grows the norm")
    init_norm: float = Field(
        default=1.0, gt=0, description="L2 norm that the first step is given", json_schema_extra=PIXEL_VALUES
    )
    levels: int | None = Field(default=None, ge=2, description="values that a pixel of the result takes; null: any")


def ddn(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    gamma: float,
    init_norm: float,
    levels: int | None,
    generator: torch.Generator,
) -> Tensor:
    """Return images that fool `network`, as near to the originals in L2 as can be found.

    Args:
        network: to attack; freeze it first (`frozen`).
        images: in [0, 1], shape (N, C, H, W).
        labels: (N,).
        steps: forward and backward passes.
        gamma: share by which each step shrinks or grows the norm.
        init_norm: L2 norm that the first step is given, in pixel values.
        levels: values that a pixel of the result takes, evenly spaced in [0, 1]; None: any.
        generator: on the CPU; directions where a gradient is zero come from it.

    Returns:
        attacked images in [0, 1], same shape; the original where none was found.
    """
    attack = library_attack("ddn")
    with drawing_from(generator, images.device):
        # Contiguous: the library works in place on what flatten(1) returns, which else is a copy.
        return attack(network, images.contiguous(), labels, steps=steps, γ=gamma, init_norm=init_norm, levels=levels)


DDN = AttackEntry(
    run=ddn, settings=DdnSettings, sees="logits", finds="least", check=lambda settings, classes: check_installed()
)

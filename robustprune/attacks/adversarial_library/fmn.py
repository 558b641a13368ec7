"""The least perturbation in L0, L1 or L∞ by the fast minimum-norm attack (FMN, Pintor et al. 2021), through adv-lib."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn.functional import one_hot

from robustprune.attacks.adversarial_library.library import Network, check_installed, library_attack
from robustprune.attacks.adversarial_library.unavailable import available
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.norms import NORMS
from robustprune.core.settings import PIXEL_VALUES, Settings

FmnNorm = Literal["l0", "l1", "linf"]

OVERSHOOT = 0.02
"""How far over the boundary the search for it aims, in shares of an image's first margin; DeepFool's."""


class FmnSettings(Settings):
    """The least norm that fools (Pintor et al. 2021), by default by the paper's longest run."""

    name: Literal["fmn"] = "fmn"
    norm: Annotated[FmnNorm, BeforeValidator(lambda norm: available("fmn", norm))] = Field(
        description="what is to be least: the number of values changed (l0), their sum (l1) or the largest (linf)"
    )
    steps: int = Field(default=1000, ge=1, description="gradient steps")
    alpha_init: float = Field(
        default=1.0, gt=0, description="L2 norm of the first step", json_schema_extra=PIXEL_VALUES
    )
    gamma_init: float = Field(default=0.05, gt=0, lt=1, description="share by which a step first changes the norm")


def fmn(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    norm: FmnNorm,
    steps: int,
    alpha_init: float,
    gamma_init: float,
) -> Tensor:
    """Return images that fool `network`, as near to the originals in `norm` as can be found.

    Args:
        network: to attack; freeze it first (`frozen`).
        images: in [0, 1], shape (N, C, H, W).
        labels: (N,).
        norm: to make least.
        steps: forward and backward passes.
        alpha_init: L2 norm of the first step, in pixel values; the last is a hundredth of it.
        gamma_init: share by which a step first shrinks or grows the norm; in the end it is 0.001.

    Returns:
        attacked images in [0, 1], same shape; the original where none was found.
    """
    attack = library_attack("fmn")
    # Contiguous: the library projects in place what flatten(1) returns, which else is a copy.
    images = images.contiguous()
    options = {"norm": NORMS[norm], "steps": steps, "α_init": alpha_init, "γ_init": gamma_init}
    if norm != "l0":
        return attack(_Overshot(network, labels), images, labels, **options)
    accompanied = [torch.cat([each, torch.zeros_like(each[:1])]) for each in (images, labels)]
    return attack(_Accompanied(network), *accompanied, **options)[:-1]


class _Overshot:
    """A network that seems a little surer of its right answers than it is; its answers stay the same.

    The attack takes the distance to the boundary to be margin / gradient. Where the network is linear it then lands
    on the boundary itself, and rounding, or pixels cut at 0 and 1, can keep it there, short of fooling, for ever.
    """

    def __init__(self, network: Network, labels: Tensor) -> None:
        self._network = network
        self._labels = labels
        self._surer: Tensor | None = None

    def __call__(self, images: Tensor) -> Tensor:
        logits = self._network(images)
        if self._surer is None:  # the library asks for the originals first
            two = logits.detach().topk(2, dim=1).values
            self._surer = OVERSHOOT * (two[:, 0] - two[:, 1])
        right = logits.argmax(dim=1) == self._labels
        return logits.scatter_add(1, self._labels[:, None], (self._surer * right)[:, None])


class _Accompanied:
    """A network for a batch whose last image is a companion that is never fooled.

    In L0 the library asks for the k largest values of a batch, and fails when k is 0: when every image was
    fooled by one value. A companion's k only grows.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, images: Tensor) -> Tensor:
        logits = self._network(images[:-1])
        companion = one_hot(torch.zeros_like(logits[:1, 0], dtype=torch.int64), logits.shape[1])
        return torch.cat([logits, companion.to(logits.dtype)])


FMN = AttackEntry(
    run=fmn, settings=FmnSettings, sees="logits", finds="least", check=lambda settings, classes: check_installed()
)

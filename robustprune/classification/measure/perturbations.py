"""The least perturbations that fooled a classifier: of one attack, of several together, and in a few figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustprune.attacks.norms import NORMS


@dataclass(frozen=True, kw_only=True)
class Perturbations:
    """What an attack found for the M images of a split that the classifier gets right by itself.

    Attributes:
        index: which images of the split, int64, shape (M,), ascending.
        success: the classifier, asked again, is fooled by the attacked image within [0, 1]; bool, shape (M,).
        l0, l1, l2, linf: distances from the originals (see `norms`), float64, shape (M,), infinite without success.
        forwards: passes per image, counted.
        backwards: passes per image, counted.
        seconds: that the attack took for all images.
    """

    index: Tensor
    success: Tensor
    l0: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor
    forwards: float
    backwards: float
    seconds: float


def smallest(found: Sequence[Perturbations]) -> Perturbations:
    """Return of each image and each norm the least distance that any of several attacks on the same images found.

    Passes and seconds are those of all of them together. The norms of one image may come from different attacks.
    """
    assert all(torch.equal(each.index, found[0].index) for each in found)
    return Perturbations(
        index=found[0].index,
        success=torch.stack([each.success for each in found]).any(dim=0),
        **{norm: torch.stack([getattr(each, norm) for each in found]).amin(dim=0) for norm in NORMS},
        forwards=sum(each.forwards for each in found),
        backwards=sum(each.backwards for each in found),
        seconds=sum(each.seconds for each in found),
    )


def success_rate(found: Sequence[Perturbations]) -> float | None:
    """Return the share of attacked images that the least successful attack fooled with; None where there are none.

    A weak attack would not be seen beside one that always fools, though its norm's distances are too large.
    """
    return min((each.success.double().mean().item() for each in found if len(each.success)), default=None)


def medians(found: Perturbations, *, images: int) -> dict[str, float | None]:
    """Return `median_l0` and so on: how far half of the images have to be moved to be misclassified.

    An image that is misclassified as it is counts with a distance of 0, as is usual (Brendel et al. 2019), and one that
    withstood with an infinite one; None where that is the median, or there are no images.

    Args:
        found: for those of the images that are classified rightly.
        images: how many there are in all.
    """
    middles = {norm: _median(getattr(found, norm), zeros=images - len(found.index)) for norm in NORMS}
    return {f"median_{norm}": middle if math.isfinite(middle) else None for norm, middle in middles.items()}


def median_intervals(
    found: Perturbations, *, images: int, generator: torch.Generator, resamples: int = 2000
) -> dict[str, float | None]:
    """Return `median_l0_low`, `median_l0_high` and so on: between which 95% of the medians of resampled images lie.

    The percentile bootstrap (Efron & Tibshirani 1993) over the images of `medians`: it tells how much a median owes to
    the images drawn, and nothing of other trainings. None is an end that is infinite.

    Args:
        found: see `medians`.
        images: see `medians`.
        generator: on the CPU.
        resamples: drawings of as many images, with replacement.
    """
    values = np.zeros((len(NORMS), images))
    values[:, images - len(found.index) :] = [getattr(found, norm).numpy() for norm in NORMS]
    ends = np.full((2, len(NORMS)), math.inf)
    if images:
        drawn = (torch.randint(images, (images,), generator=generator).numpy() for _ in range(resamples))
        middles = np.array([np.median(values[:, each], axis=1) for each in drawn])
        # An order statistic, for no interpolation between infinities.
        ends = np.quantile(middles, [0.025, 0.975], axis=0, method="inverted_cdf")
    return {
        f"median_{norm}_{end}": float(value) if math.isfinite(value) else None
        for end, row in zip(("low", "high"), ends, strict=True)
        for norm, value in zip(NORMS, row, strict=True)
    }


def _median(values: Tensor, *, zeros: int) -> float:
    counted = np.concatenate([np.zeros(zeros), values.numpy()])
    return float(np.median(counted)) if len(counted) else math.inf

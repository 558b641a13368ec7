"""Weights that a backbone starts from: a file of a classifier's for ImageNet, as torchvision and timm publish them.

Such classifiers read normalised images, and detectors here images in [0, 1]: the normalisation goes into the first
convolution and the batch norm after it. That is exact but at the edges, where zeros are black and no longer grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.staging.state_dicts import read_state_dicts

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue in [0, 1], by which those images are normalised."""

COUNTER = "num_batches_tracked"
"""Of batch norms, that older files lack and nothing here reads."""


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Fill a backbone from a file; what else is there, such as the classifier's last layer, is left out.

    Args:
        backbone: whose `published` has the names of its parts in such files, by its own; left as it was unless all fit.
        path: .safetensors, .npz, or a PyTorch file of a state dict.

    Raises:
        InputError: the file cannot be read, a tensor is missing, of another shape or not finite, or no file is known
            for such a backbone.
    """
    parts: Mapping[str, str] | None = getattr(backbone, "published", None)
    if parts is None:
        raise InputError(
            f"detector.backbone: found {path}, expected none for a backbone that nobody has published weights of"
        )
    own = backbone.state_dict()
    theirs = {name: _called(name, parts) for name in own}
    tensors = _best([found.tensors for found in read_state_dicts(path)], theirs.values(), path)
    taken = {}
    for name, tensor in own.items():
        if name.endswith(COUNTER):
            continue
        given = tensors.get(theirs[name])
        if given is None or given.shape != tensor.shape:
            found = "no such tensor" if given is None else f"shape {tuple(given.shape)}"
            raise InputError(f"{path}: tensor {theirs[name]!r}: found {found}, expected shape {tuple(tensor.shape)}")
        if not given.isfinite().all():
            raise InputError(f"{path}: tensor {theirs[name]!r}: found infinities or NaN, expected finite numbers")
        taken[name] = given.to(tensor)
    backbone.load_state_dict(own | taken)
    read_unnormalised(backbone)


@torch.no_grad()
def read_unnormalised(backbone: nn.Module) -> None:
    """Let a backbone that expects normalised images read those in [0, 1].

    Args:
        backbone: whose first convolution has no bias, and goes into a batch norm.
    """
    modules = backbone.modules()
    first = next(module for module in modules if isinstance(module, nn.Conv2d))
    norm = next(module for module in modules if isinstance(module, nn.BatchNorm2d))
    mean, std = (torch.tensor(values, device=first.weight.device)[:, None, None] for values in (MEAN, STD))
    first.weight /= std
    cast(Tensor, norm.running_mean).add_((first.weight * mean).sum(dim=(1, 2, 3)))


def _called(name: str, parts: Mapping[str, str]) -> str:
    """Return what a tensor of a backbone is called in a file."""
    own = next(part for part in parts if name.startswith(f"{part}."))
    return parts[own] + name.removeprefix(own)


def _best(found: list[dict[str, Tensor]], wanted: Iterable[str], path: Path) -> dict[str, Tensor]:
    """Return the dictionary with most of the names wanted, without a prefix that all of these have."""
    names = set(wanted)
    candidates = [
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        for tensors in found
        for prefix in ("", "module.", "model.", "backbone.")
    ]
    most = max(candidates, key=lambda tensors: len(names & tensors.keys()), default={})
    if not names & most.keys():
        shown = next((name for tensors in found for name in tensors), None)
        raise InputError(
            f"{path}: found {'no tensors' if shown is None else f'tensors such as {shown!r}'}, expected those of the "
            f"backbone, such as {sorted(names)[0]!r}"
        )
    return most

"""Prune all but N of every M consecutive weights, as sparse tensor cores of NVIDIA's GPUs multiply them (2 of 4).

Consecutive are the weights of a filter along the input channels that it reads, at one place of its kernel: so they lie
in memory where a convolution of images in channels-last layout is a product of matrices, and so NVIDIA's own tools
prune them. Where the channels are no multiple of M, they are filled up with zeros: of the last R of them, fewer than M,
min(N, R) stay. A depthwise filter reads one channel, and so keeps every weight.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustprune.structures.entry import StructureEntry, is_fixed
from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks, refuse_nan
from robustprune.structures.scopes import Scope

MOST = 16
"""The largest M."""

_NAME = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)")


def n_of_m(importance: Mapping[str, Tensor], n: int, m: int) -> Masks:
    """Return masks that keep the N most important of every M weights; among equal ones the first.

    Args:
        importance: one score per weight of each layer, (filters, channels, …).
        n: how many stay.
        m: of how many.

    Raises:
        ValueError: a score is NaN.
    """
    return {name: _kept(scores, n, m) for name, scores in importance.items()}


@functools.cache
def entry_of(name: str) -> StructureEntry | None:
    """Return the structure of a name such as `2:4`, with 1 ≤ N < M ≤ 16; None for what is no such name."""
    found = _NAME.fullmatch(name)
    n, m = map(int, found.groups()) if found is not None else (0, 0)
    if not 0 < n < m <= MOST:
        return None

    def masks(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup], scope: Scope) -> Masks:
        assert ratio == 0 or is_fixed(ratio, 1 - n / m), f"a ratio of {ratio} for {name}"
        return n_of_m(importance, m if ratio == 0 else n, m)

    return StructureEntry(masks=masks, fixed=1 - n / m)


def read(given: Any) -> str | None:
    """Return the name of what a spec gives as `2:4` or `{n_of_m: 2:4}`; None for what is meant as something else.

    Raises:
        ValueError: it is no such structure.
    """
    if isinstance(given, Mapping):
        name = given["n_of_m"] if given.keys() == {"n_of_m"} else given
    elif isinstance(given, str) and ":" in given:
        name = given
    else:
        return None
    if not isinstance(name, str) or entry_of(name) is None:
        raise ValueError(
            f'found {name!r}, expected {{n_of_m: "N:M"}} with whole numbers 1 ≤ N < M ≤ {MOST}, such as "2:4"'
        )
    return name


def _kept(scores: Tensor, n: int, m: int) -> Tensor:
    refuse_nan(scores)
    # (filters, places of the kernel, input channels)
    rows = scores.detach().flatten(2).transpose(1, 2) if scores.ndim > 2 else scores.detach().unsqueeze(1)
    channels = rows.shape[-1]
    blocks = functional.pad(rows, (0, -channels % m), value=-torch.inf).unflatten(-1, (-1, m))
    # A stable sort, since topk breaks ties differently on each device.
    best = blocks.sort(dim=-1, descending=True, stable=True).indices[..., :n]
    kept = torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, best, True).flatten(-2)[..., :channels]
    return kept.transpose(1, 2).reshape(scores.shape).contiguous()

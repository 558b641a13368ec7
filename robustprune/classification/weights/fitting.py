"""Weights given by the user, laid over a classifier: names as the model zoos spell them, and their normalisation.

Reading the file is in `staging.state_dicts`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustprune.classification.classifier import Classifier
from robustprune.core.errors import InputError
from robustprune.staging.state_dicts import StateDict, read_state_dicts

_SPELLINGS = (
    # kuangliu's networks, and those of the `robustness` package, against torchvision's.
    (r"\blinear(?=\.(weight|bias)$)", "fc"),
    (r"\bdownsample\.", "shortcut."),
    # Wide ResNets as in TRADES, against those in stages called layers.
    (r"\bconvShortcut\.", "shortcut.0."),
    (r"\bblock(\d)\.layer\.", r"layer\1."),
)
"""Names for the same thing; the model's and the file's are both brought to the second."""

# A stage that TRADES's wide ResNets have and never run.
_NEVER_RUN = re.compile(r"\bsub_block1\.")

# HYDRA's importance of each weight, beside it.
_SCORES = re.compile(r"\.popup_scores$")

_MEANS, _STDS = {"mean", "mu", "new_mean"}, {"std", "sigma", "new_std"}
_OPTIONAL = "num_batches_tracked"  # files older than PyTorch 0.4.1 lack them, and no inference reads them


class Loaded(NamedTuple):
    """What a file brought besides weights.

    Attributes:
        normalised: its own normalisation was taken.
        scored: it holds HYDRA's scores of weights, which were left out: what these would prune is not pruned.
    """

    normalised: bool
    scored: bool


def load_weights(
    classifier: Classifier, path: str | os.PathLike[str], *, part: str | None = None, normalise: bool = True
) -> Loaded:
    """Fill the classifier's network from a file, and its normalisation where the file has one.

    A normalisation lies among the weights or in a dictionary around them, as tensors or lists of three numbers.
    Of the file's dictionaries the one that fits best is taken, a moving average (`ema`) before others that fit as well.
    Its names may have any prefix, such as `module.`; a second copy of all tensors under another prefix is left out.
    The classifier stays as it was unless everything fits.

    Args:
        classifier: on any device.
        path: .safetensors, .npz, or .pt, .pth, .th, .tar, .ckpt, .bin of PyTorch.
        part: keys, joined by dots, that lead to the weights to take, where the file has several that fit.
        normalise: take the file's normalisation, if it has one.

    Raises:
        InputError: the file cannot be read, several of its dictionaries fit alike and differ, or a tensor is missing,
            unknown, of another shape or not finite, or a variance is negative.
    """
    path = Path(path)
    own = classifier.network.state_dict()
    fits = [fit for state_dict in read_state_dicts(path) for fit in _fits(state_dict, own)]
    if not fits:
        raise InputError(f"{path}: found no tensors, expected a state dict")
    best = _best(fits, own, path, part)
    best.check(own, path)
    classifier.network.load_state_dict(own | {name: best.tensors[theirs] for name, theirs in best.names.items()})
    if best.normalisation and normalise:
        for buffer, values in zip((classifier.mean, classifier.std), best.normalisation.values(), strict=True):
            buffer.copy_(values.view_as(buffer))
    return Loaded(bool(best.normalisation), any(_SCORES.search(name) for name in best.tensors))


def _best(fits: Sequence[_Fit], own: Mapping[str, Tensor], path: Path, part: str | None) -> _Fit:
    """Return the fit to take.

    Raises:
        InputError: several are as good and differ, or there is no such part.
    """
    if part is not None:
        chosen = [fit for fit in fits if f"{fit.location}.".startswith(f"{part}.")]
        if not chosen:
            places = ", ".join(dict.fromkeys(repr(fit.location) for fit in fits))
            raise InputError(f"{path}: found no part {part!r}, expected one of {places}")
        fits = chosen
    most = max((fit.fitting(own), fit.is_average) for fit in fits)
    best, *others = [fit for fit in fits if (fit.fitting(own), fit.is_average) == most]
    for other in others:
        if most[0] and not _same(best, other):
            raise InputError(
                f"{path}: found weights in {best.location!r} and others in {other.location!r} that fit as well, "
                f"expected a choice: {{file: {path.name}, part: {best.location}}}"
            )
    return best


def _same(one: _Fit, other: _Fit) -> bool:
    return one.names.keys() == other.names.keys() and all(
        torch.equal(one.tensors[one.names[name]], other.tensors[other.names[name]]) for name in one.names
    )


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """One way to lay one of the file's state dicts over a network.

    Attributes:
        location: the keys that lead to it in the file, and the prefix of its names, joined by dots.
        tensors: of the file.
        names: the file's, by the network's.
        unknown: names of the file that are nothing to the network.
        normalisation: the mean and the standard deviation by the file's names, in this order, if it has them.
        is_average: a moving average of weights, by its name.
    """

    location: str
    tensors: dict[str, Tensor]
    names: dict[str, str]
    unknown: Sequence[str]
    normalisation: dict[str, Tensor]
    is_average: bool

    def fitting(self, own: Mapping[str, Tensor]) -> int:
        """Return how many tensors have the name and shape of one of the network's."""
        return sum(own[name].shape == self.tensors[theirs].shape for name, theirs in self.names.items())

    def check(self, own: Mapping[str, Tensor], path: Path) -> None:
        """Raise `InputError` unless the network's every tensor is there, and nothing else."""
        if not self.names:
            raise InputError(
                f"{path}: found tensors such as {next(iter(self.tensors))!r}, expected the model's, such as "
                f"{next(iter(own))!r}"
            )
        for name, theirs in self.names.items():
            expected, tensor = own[name], self.tensors[theirs]
            if tensor.shape != expected.shape:
                found = f"found tensor {theirs!r} of shape {tuple(tensor.shape)}"
                raise InputError(f"{path}: {found}, expected {tuple(expected.shape)} as the model's {name!r}")
            # As the model is to hold it: a larger precision has numbers that are infinite there.
            tensor = tensor.to(expected.dtype)
            if not tensor.isfinite().all():
                raise InputError(f"{path}: found infinities or NaN in tensor {theirs!r}, expected finite numbers")
            if _last(name) == "running_var" and (tensor < 0).any():
                raise InputError(f"{path}: found negative numbers in tensor {theirs!r}, expected variances")
        missing = [name for name in own if name not in self.names and not name.endswith(_OPTIONAL)]
        if missing:
            expected = own[missing[0]]
            raise InputError(
                f"{path}: found no tensor {missing[0]!r}{_and_others(missing)}, expected one of shape "
                f"{tuple(expected.shape)}"
            )
        if self.unknown:
            shape = tuple(self.tensors[self.unknown[0]].shape)
            raise InputError(
                f"{path}: found tensor {self.unknown[0]!r} of shape {shape}{_and_others(self.unknown)}, expected none "
                "that the model does not have"
            )
        for name, tensor in self.normalisation.items():
            values = tensor.float().flatten().tolist()
            if not all(0 <= value <= 1 for value in values) or (0 in values and _last(name) in _STDS):
                raise InputError(f"{path}: found {values} in tensor {name!r}, expected statistics of images in [0, 1]")


def _fits(state_dict: StateDict, own: Mapping[str, Tensor]) -> list[_Fit]:
    """Return a fit for each prefix under which the state dict has the most of the network's names."""
    tensors, names = state_dict.tensors, {_spelt(name): name for name in own}
    assert len(names) == len(own)
    run = [name for name in tensors if not _NEVER_RUN.search(name) and not _SCORES.search(name)]
    theirs = {_spelt(name): name for name in run}
    found = Counter(prefix for name in theirs for prefix, rest in _splits(name) if rest in names)
    most = max(found.values(), default=0)
    copies = [prefix for prefix, count in found.items() if count == most] or [""]
    matched = {prefix + name for prefix in copies for name in names}
    rest = [name for name in run if _spelt(name) not in matched or theirs[_spelt(name)] != name]
    normalisation = _normalisation(state_dict.triples)
    if normalisation:
        rest = [name for name in rest if _last(name) not in _MEANS | _STDS]
    return [
        _Fit(
            location=".".join(filter(None, (state_dict.location, prefix.removesuffix(".")))),
            tensors=tensors,
            names={name: theirs[prefix + spelt] for spelt, name in names.items() if prefix + spelt in theirs},
            unknown=rest,
            normalisation=normalisation,
            is_average="ema" in re.split(r"[._]", f"{state_dict.location}.{prefix}".lower()),
        )
        for prefix in copies
    ]


def _spelt(name: str) -> str:
    for pattern, replacement in _SPELLINGS:
        name = re.sub(pattern, replacement, name)
    return name


def _splits(name: str) -> list[tuple[str, str]]:
    """Return the ways to part a name into a prefix, which is empty or ends with a dot, and the rest."""
    starts = [0, *(match.end() for match in re.finditer(r"\.", name))]
    return [(name[:start], name[start:]) for start in starts]


def _normalisation(triples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a mean and a standard deviation by their names, or nothing unless both are there."""
    mean, std = (next((name for name in triples if _last(name) in ends), None) for ends in (_MEANS, _STDS))
    return {} if mean is None or std is None else {mean: triples[mean], std: triples[std]}


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _and_others(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} others" if len(names) > 1 else ""

"""What training a classifier lowers: the cross-entropy of clean images, or of images under attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from robustprune.attacks import Attack, frozen
from robustprune.classification.networks.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The mean cross-entropy of a batch, under `attack` (Madry et al. 2018) where there is one."""

    attack: Attack | None = None

    def __call__(
        self, classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the scalar objective of a batch.

        Args:
            classifier: in the mode to train in; the attack sees it in eval mode whichever that is.
            images: (N, 3, S, S) in [0, 1].
            labels: (N,).
            weights: parameters to use in place of the classifier's own, by name.
        """
        seen = images if self.attack is None else self.attacked(classifier, images, labels, weights)
        return cross_entropy(functional_call(classifier, dict(weights or {}), (seen,)), labels)

    def attacked(
        self, classifier: Classifier, images: Tensor, labels: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return `images` under the attack on the cross-entropy, the classifier being held still in eval mode."""
        assert self.attack is not None
        constant = {name: weight.detach() for name, weight in (weights or {}).items()}
        with frozen(classifier):
            return self.attack(_Ascended(classifier, labels, constant), images)


@dataclass(frozen=True)
class _Ascended:
    """The cross-entropy of one batch as a function of its images; see `attacks.AttackLoss`."""

    classifier: Classifier
    labels: Tensor
    weights: Mapping[str, Tensor]

    def _losses(self, images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.classifier, dict(self.weights), (images,))
        return cross_entropy(logits, self.labels, reduction="none")

    def __call__(self, images: Tensor) -> Tensor:
        # The sum: an image's gradient, and so its attack, is the same in any batch.
        return self._losses(images).sum()

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        return self._losses(images)

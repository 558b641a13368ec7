"""HYDRA (Sehwag et al. 2020) on a classifier; how scores are optimised is told in `importance.optimised_scores`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial

from torch import Tensor

from robustprune.classification.importances.problem import Problem
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.pruning import SCOPES, channel_groups, filter_masks, from_weights, prunable_layers
from robustprune.classification.training import augmented, steps_per_epoch, training_batches
from robustprune.core.lookup import lookup
from robustprune.methods.optimised_scores import HydraSettings, optimised_scores
from robustprune.structures.masks import Masks


def hydra(classifier: Classifier, problem: Problem, settings: HydraSettings) -> dict[str, Tensor]:
    """Return importance |s| per prunable layer, of the shape of its weights, for one scope and sparsity.

    Masks cover the filters that `prune` would remove for the scores of the moment. Batch norm is not masked: of a
    pruned filter without it, no gradient would tell whether to take it back.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    classifier = copy.deepcopy(classifier)
    groups = channel_groups(classifier, image_size=problem.image_size)
    classifier.requires_grad_(False).train()
    layers = prunable_layers(classifier, groups)
    device = classifier.mean.device
    images = problem.images.take(range(min(settings.images or len(problem.images), len(problem.images))))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        drawn = training_batches(images, settings.batch_size, device=device, generator=problem.generator)
        return ((augmented(pixels, problem.generator), labels) for pixels, labels in drawn)

    def masks(importance: Mapping[str, Tensor]) -> Masks:
        assert problem.scope is not None
        assert problem.sparsity is not None
        kept = lookup(SCOPES, problem.scope, kind="scope")(from_weights(importance)(groups), problem.sparsity)
        return {
            name: mask.to(device).view(-1, *[1] * (importance[name].ndim - 1)).expand(importance[name].shape)
            for name, mask in filter_masks(groups, kept).items()
        }

    return optimised_scores(
        classifier,
        layers,
        settings=settings,
        steps_per_epoch=steps_per_epoch(len(images), settings.batch_size),
        batches=batches,
        masks=masks,
        loss=partial(problem.objective, classifier),
        generator=problem.generator,
        progress=problem.progress,
    )

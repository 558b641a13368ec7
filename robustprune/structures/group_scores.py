"""What channels are worth together, by scores of the weights of their filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustprune.structures.groups import CoupledGroup, Members


def group_scores(importance: Mapping[str, Tensor], groups: Sequence[CoupledGroup], *, comparable: bool) -> list[Tensor]:
    """Return, for every group, what its channels are worth: (decisions,), on the device of the scores.

    A filter is worth the mean of its weights' scores. Filters of different layers that are decided on together are
    worth the mean of what each is worth beside the others of its layer: its score over the mean magnitude of theirs, so
    that no layer has more say for its scale; as it is, where the scores of different layers are of one unit.

    Args:
        importance: of every layer that the groups decide on, in the shape of its weights.
        groups: in which each filter occurs once.
        comparable: scores of different layers are of one unit.
    """
    filters = {name: scores.flatten(1).mean(dim=1) for name, scores in importance.items()}
    return [_scores(filters, group, comparable=comparable) for group in groups]


def _scores(filters: Mapping[str, Tensor], group: CoupledGroup, *, comparable: bool) -> Tensor:
    layers = [_by_decision(filters[name], members, group.decisions) for name, members in group.filters.items()]
    if len(layers) == 1:
        return layers[0][0]
    worth = []
    for scores, there in layers:
        if not comparable:
            tiny = torch.finfo(scores.dtype).tiny  # for a layer of zeros
            scores = scores / scores[there].abs().mean().clamp(min=tiny)
        worth.append(torch.where(there, scores, torch.nan))
    return (
        torch.stack(worth).nanmean(dim=0)
        if any(not there.all() for _, there in layers)
        else torch.stack(worth).mean(dim=0)
    )


def _by_decision(scores: Tensor, members: Members, decisions: int) -> tuple[Tensor, Tensor]:
    """Return the mean score of a layer's filters under each decision, and which decisions it has any of."""
    subject = members.decisions.to(scores.device)
    count = subject.bincount(minlength=decisions)
    if len(subject) == decisions and int(count.max()) == 1:  # one filter each: no sum is rounded
        return torch.empty_like(scores[:decisions]).scatter_(0, subject, scores[members.indices]), count > 0
    total = scores.new_zeros(decisions).index_add_(0, subject, scores[members.indices])
    return total / count.clamp(min=1), count > 0

"""What an initializer returns is checked before anything is pruned by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustprune.methods import check_scores
from robustprune.structures import STRUCTURES, StructureEntry, draw_masks

LAYERS = {"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)}
GOOD = {"first": torch.ones(3, 2), "second": torch.ones(1, 3)}


def test_a_tensor_per_layer_is_well() -> None:
    check_scores("theirs", GOOD, LAYERS, some=False)
    check_scores("theirs", {"first": GOOD["first"]}, LAYERS, some=True)


@pytest.mark.parametrize(
    ("scores", "cause"),
    [
        ([1.0], "found a list, expected a tensor per layer"),
        (GOOD | {"second": [[1.0]]}, "expected a tensor per layer"),
        ({"first": GOOD["first"]}, "found no scores, second, expected one tensor per layer to prune"),
        (GOOD | {"third": torch.ones(1)}, "found scores of no such layer, third"),
        (GOOD | {"second": torch.ones(3)}, r"found scores of shape \(3,\) for second, .* its weights, \(1, 3\)"),
        (GOOD | {"second": torch.tensor([[1.0, torch.nan, torch.nan]])}, "2 scores of second are NaN"),
    ],
)
def test_anything_else_is_named(scores: dict[str, Tensor], cause: str) -> None:
    with pytest.raises(ValueError, match=f"^initializer 'theirs': .*{cause}"):
        check_scores("theirs", scores, LAYERS, some=False)


@pytest.mark.parametrize(
    ("masks", "cause"),
    [
        ({"first": torch.ones(3, 2, dtype=torch.bool)}, "found masks of other layers than were scored, such as second"),
        (GOOD, r"found a mask of torch.float32 and shape \(3, 2\) for first, expected booleans of shape \(3, 2\)"),
    ],
)
def test_so_is_what_a_structure_returns(monkeypatch: pytest.MonkeyPatch, masks: dict[str, Tensor], cause: str) -> None:
    theirs = StructureEntry(masks=lambda importance, ratio, groups, scope: masks)
    monkeypatch.setattr(STRUCTURES, "_entries", {"theirs": theirs})
    with pytest.raises(ValueError, match=f"^structure 'theirs': {cause}"):
        draw_masks("theirs", GOOD, 0.5, groups=[], scope="layer", comparable=False)

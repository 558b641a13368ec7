"""What N of M weights and ratios of layers leave of networks in both studies, by every sort of scores, to the unit."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from robustprune.core.arrays import to_arrays
from robustprune.structures import STRUCTURES, Masks, Ratios
from robustprune.structures.masks import keep_count
from robustprune.structures.ratios import ratio_of
from robustprune.studies.pruning.pruned import Pruned
from robustprune.studies.pruning_study import PruningStudy
from tests.robustprune.studies.classification import tiny_study as classification
from tests.robustprune.studies.detection import small_study as detection

STUDIES = {"classification": classification, "detection": detection}
every_study = pytest.mark.parametrize("kind", STUDIES)


def pruned(kind: str, *, ratios: Ratios | None = None, **of: Any) -> tuple[PruningStudy, nn.Module, Pruned]:
    """Return a network that nobody has trained, scored and pruned as the study does."""
    own = STUDIES[kind].study(ratios=ratios or {})
    at = STUDIES[kind].cell(**of)
    task = own.task(at)
    network = task.fresh(0).eval()
    found = own.score(at, to_arrays(network.state_dict())) if own.has_scores(at) else None
    return own, network, own.prune(network, at, found, task=task)


def counts(masks: Masks) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in masks.items()}


@every_study
@pytest.mark.parametrize("initializer", ["magnitude", "snip", "hydra"])
def test_two_of_four_channels_stay_at_every_place(kind: str, initializer: str) -> None:
    _, network, left = pruned(kind, structure="2:4", initializer=initializer, ratio=0.5)
    assert left.channels is None
    assert left.masks
    for name, mask in left.masks.items():
        rows = mask.flatten(2).transpose(1, 2)
        whole = rows.shape[-1] // 4 * 4
        assert (rows[..., :whole].unflatten(-1, (-1, 4)).sum(dim=-1) == 2).all()
        assert (rows[..., whole:].sum(dim=-1) == min(2, rows.shape[-1] - whole)).all()
        assert not network.get_parameter(f"{name}.weight")[~mask].any()


@every_study
@pytest.mark.parametrize("initializer", ["magnitude", "hydra", "snip"])
def test_single_weights_are_pruned_to_their_layers_ratio(kind: str, initializer: str) -> None:
    first = {"classification": "network.conv1", "detection": "layers.0.conv"}[kind]
    ratios: Ratios = {first: 0, "*.1.*": 0.25, "*2*": "ratio", "*": 0.5}
    _, _, left = pruned(kind, structure="unstructured", initializer=initializer, ratio=0.75, ratios=ratios)
    expected = {name: ratio_of([name], ratios, 0.75) for name in left.masks}
    assert {None, 0, 0.25, 0.5} >= set(expected.values()) >= {None, 0, 0.5}
    assert counts(left.masks) == {
        name: keep_count(0.75 if at is None else at, left.masks[name].numel()) for name, at in expected.items()
    }


@every_study
@pytest.mark.parametrize("initializer", ["magnitude", "hydra"])
def test_channels_leave_only_where_every_layer_may_lose_them(kind: str, initializer: str) -> None:
    first = {"classification": "network.conv1", "detection": "layers.0.conv"}[kind]
    own, _, left = pruned(
        kind, structure="structured", initializer=initializer, ratio=0.5, ratios={first: 0, "*": "ratio"}
    )
    task = own.task(STUDIES[kind].cell(structure="structured"))
    groups = task.coupled_groups(task.fresh(0))
    whole = {name for group in groups for name in group.filters if first in group.filters}
    assert first in whole
    assert all(bool(mask.all()) is (name in whole) for name, mask in left.masks.items())
    assert left.channels is not None
    assert left.channels.channels_kept == sum(
        group.decisions if first in group.filters else keep_count(0.5, group.decisions) for group in groups
    )


@every_study
@pytest.mark.parametrize("structure", ["unstructured", "structured", "2:4"])
def test_a_table_prunes_nothing_at_a_ratio_of_0(kind: str, structure: str) -> None:
    _, _, left = pruned(kind, structure=structure, initializer="magnitude", ratio=0.0, ratios={"*": 0.5})
    assert left == Pruned({}, None)


COLUMNS = ("params_total", "params_kept", "macs_dense", "macs", "compression", "operations_removed")


def row(structure: str, ratio: float) -> dict[str, Any]:
    idle = {**classification.TRAINING, "epochs": 0}
    own = classification.study(retrain=idle, ratios={"network.conv1": 0}, hard_pruned=False)
    at = classification.cell(structure=structure, ratio=ratio)
    checkpoint = to_arrays(own.task(at).fresh(0).state_dict())
    return classification.row_of(own, at, checkpoint)


@pytest.mark.parametrize("structure", [*STRUCTURES, "2:4"])
def test_rows_of_classifiers_tell_the_compression_reached(structure: str) -> None:
    found = row(structure, 0.5)
    assert found["operations_removed"] == 1 - found["macs"] / found["macs_dense"]
    network = classification.study().task(classification.cell()).fresh(0)
    weights = sum(each.numel() for name, each in network.named_parameters() if "bias" not in name)
    if structure in ("unstructured", "2:4"):
        # All convolutions but the first, which the table leaves dense, lose half.
        half = [each for name, each in network.named_parameters() if "conv" in name and name != "network.conv1.weight"]
        gone = sum(each.numel() for each in half) // 2
        assert found["params_kept"] == found["params_total"] - gone
        assert found["compression"] == weights / (weights - gone)
    else:
        # What leaves with filters is the same, whether they are masked or removed: biases are counted in neither.
        assert {name: found[name] for name in COLUMNS} == {name: row("channels", 0.5)[name] for name in COLUMNS}
        assert found["compression"] > 1


def test_nothing_pruned_is_a_compression_of_1() -> None:
    assert [row("unstructured", 0.0)[name] for name in COLUMNS[-2:]] == [1.0, 0.0]

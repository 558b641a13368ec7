"""Weights, filters and channels of classifiers, pruned by every initializer: what stays zero, and what is counted."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustprune.classification.classifier import Classifier
from robustprune.classification.measure.cost import measure_cost
from robustprune.core.errors import InputError
from robustprune.inference.cost import cost, size
from robustprune.methods import INITIALIZERS, handed
from robustprune.structures import SCOPES, STRUCTURES, Masks
from robustprune.structures.groups import decided_layers
from robustprune.structures.masks import keep_count
from robustprune.structures.removal import kept_decisions
from robustprune.studies.classification import study as study_module
from tests.robustprune.studies.classification.tiny_study import SPEC, TRAINING, Arrays, cell, published, row_of, study

IMAGE = torch.zeros(1, 3, 16, 16)


@pytest.fixture(scope="module")
def checkpoint() -> Arrays:
    return published(study().pretrain(cell()))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Classifier, Masks]]:
    """Return the classifiers that rows are about, as they were when they were measured, and their masks."""
    seen: list[tuple[Classifier, Masks]] = []

    def watched(pruned: Classifier, masks: Mapping[str, Tensor], **options: Any) -> dict[str, Any]:
        seen.append((pruned, dict(masks)))
        return measure_cost(pruned, masks, **options)

    monkeypatch.setattr(study_module, "measure_cost", watched)
    return seen


def dense(checkpoint: Arrays) -> Classifier:
    return study().task(cell()).restored(checkpoint)


def prunable(checkpoint: Arrays, structure: str) -> dict[str, Any]:
    network, task = dense(checkpoint), study().task(cell())
    if STRUCTURES[structure].coupled:
        return decided_layers(network, task.coupled_groups(network))
    return dict(task.prunable_layers(network))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("training", ["standard", "adversarial"])
def test_what_is_masked_is_zero_after_retraining_and_is_not_counted(
    checkpoint: Arrays, measured: list[tuple[Classifier, Masks]], structure: str, scope: str, training: str
) -> None:
    row = row_of(study(), cell(structure=structure, scope=scope, training=training, ratio=0.75), checkpoint)
    ((network, masks),) = measured
    layers = prunable(checkpoint, structure)
    assert masks.keys() == layers.keys()
    total, zeros, saved = size(network, IMAGE), 0, 0
    for name, mask in masks.items():
        weight = network.get_parameter(f"{name}.weight").detach()
        assert not weight[~mask].any()
        assert not torch.equal(weight, layers[name].weight)  # the others were trained
        zeros += int((~mask).sum())
        saved += int((~mask).sum()) * (total.layer_macs[name] // mask.numel())
    assert row["params_total"] == total.params
    assert row["macs_dense"] == total.macs
    if structure == "unstructured":
        assert (row["params_kept"], row["macs"]) == (total.params - zeros, total.macs - saved)
    else:  # with filters go batch norm and what read them
        assert row["params_kept"] < total.params - zeros
        assert row["macs"] < total.macs - saved
    if structure == "unstructured":
        count = sum(mask.numel() for mask in masks.values())
        kept = {"layer": sum(keep_count(0.75, mask.numel()) for mask in masks.values()), "global": count // 4}[scope]
        assert count - zeros == kept
        # No channel is decided on: all are there.
        assert row["channels_kept"] == row["channels_total"]
    else:
        assert row["channels_kept"] == round(0.25 * row["channels_total"])
        assert all(torch.equal(mask.flatten(1).any(1), mask.flatten(1).all(1)) for mask in masks.values())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_layer_that_gives_the_logits_is_spared(checkpoint: Arrays, structure: str) -> None:
    everything = prunable(checkpoint, structure)
    assert "network.linear" not in everything
    assert len(everything) == len([name for name in checkpoint if "conv" in name])


@pytest.mark.parametrize("initializer", ["magnitude", "deeplift", "random"])
@pytest.mark.parametrize("scope", SCOPES)
def test_the_same_channels_go_whether_they_are_removed_or_masked(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, scope: str, initializer: str
) -> None:
    own, removed = study(), dense(checkpoint)
    masked, before, task = dense(checkpoint), dense(checkpoint), own.task(cell())
    cells = {
        structure: cell(structure=structure, scope=scope, initializer=initializer)
        for structure in ("channels", "structured")
    }
    scores = {structure: own.score(of, checkpoint) for structure, of in cells.items()}
    assert scores["channels"].keys() == scores["structured"].keys()
    assert all(np.array_equal(scores["structured"][name], array) for name, array in scores["channels"].items())
    left = own.prune(removed, cells["channels"], scores["channels"], task=task)
    kept = own.prune(masked, cells["structured"], scores["structured"], task=task)
    assert left.channels == kept.channels
    assert left.masks == {}
    groups = task.coupled_groups(before)
    stay = kept_decisions(groups, kept.masks)
    assert [int(each.sum()) for each in stay] == [group.decisions for group in task.coupled_groups(removed)]
    for group, stays in zip(groups, stay, strict=True):
        for name, (indices, decisions) in group.norms.items():
            rows = indices[stays[decisions]].sort().values
            expected = before.get_parameter(f"{name}.weight")[rows]
            assert torch.equal(removed.get_parameter(f"{name}.weight"), expected)
    stem = kept.masks["network.conv1"].flatten(1).any(dim=1)
    expected = before.get_parameter("network.conv1.weight")[stem]
    assert torch.equal(removed.get_parameter("network.conv1.weight"), expected)
    assert torch.equal(masked.get_parameter("network.conv1.weight") != 0, kept.masks["network.conv1"])
    # They are told to be of one size.
    counted, left_over = cost(masked, kept.masks, IMAGE, gone=kept.gone), size(removed, IMAGE)
    assert (counted.params_kept, counted.macs) == (left_over.params, left_over.macs)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_every_initializer_prunes_every_structure_that_it_fits_in_every_scope(
    checkpoint: Arrays, measured: list[tuple[Classifier, Masks]], initializer: str, structure: str, scope: str
) -> None:
    method = INITIALIZERS[initializer]
    brief = study(
        retrain={**TRAINING, "epochs": 0},
        initializers={**SPEC["initializers"], "intrain": {"epochs": 6}, "admm": {"epochs": 1}, "slr": {"epochs": 1}},
    )
    of = cell(initializer=initializer, structure=structure, scope=scope, training="adversarial")
    if method.structures == "coupled" and not STRUCTURES[structure].coupled:
        with pytest.raises(InputError, match="expected one that it fits"):
            brief.check([of])
        return
    found_out = published(brief.score(of, checkpoint))
    row = brief.evaluate_row(of, checkpoint, found_out)
    start = handed(found_out).state or checkpoint  # of what trains weights itself, theirs
    ((network, masks),) = measured
    layers = prunable(checkpoint, structure)
    assert row["params_kept"] < row["params_total"]
    assert row["macs"] < row["macs_dense"]
    if structure == "channels":
        assert masks == {}
        found = decided_layers(network, study().task(of).coupled_groups(network))
        assert found.keys() == layers.keys()
        fewer = [len(layer.weight) < len(layers[name].weight) for name, layer in found.items()]
        assert any(fewer)
    else:
        share = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
        assert masks.keys() == layers.keys()
        for name, mask in masks.items():
            weight = torch.tensor(start[f"{name}.weight"])
            assert torch.equal(network.get_parameter(f"{name}.weight"), weight * mask)
        if structure == "unstructured":
            assert share == pytest.approx(0.5, abs=0.001)
    if method.prunes == "operations":
        assert row["operations_reached"] == pytest.approx(row["operations_removed"])
        return
    if structure != "unstructured":
        assert row["channels_kept"] == row["channels_total"] // 2
        assert row["fewest_channels"] >= 1
    if scope == "layer" and structure == "structured":
        assert all(int(mask.flatten(1).any(1).sum()) == math.ceil(len(mask) / 2) for mask in masks.values())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_nothing_pruned_is_the_classifier_retrained(checkpoint: Arrays, structure: str) -> None:
    rows = [row_of(study(), cell(structure=each, ratio=0.0), checkpoint) for each in (structure, "channels")]
    for name in ("median_l2", "median_linf", "accuracy_clean", "accuracy_adv", "params_kept", "macs", "channels_kept"):
        assert rows[0][name] == rows[1][name]
    assert (rows[0]["params_kept"], rows[0]["macs"]) == (rows[0]["params_total"], rows[0]["macs_dense"])


def test_rows_of_masked_filters_have_a_version_of_their_own() -> None:
    def version(**of: Any) -> int:
        declared = study().stage("evaluate_row", cell(**of))
        assert declared is not None
        return declared.version

    assert version(structure="structured") > version(structure="channels")
    assert version(structure="structured", ratio=0.0) == version(structure="unstructured") == version()

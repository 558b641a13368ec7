"""Outcomes of methods as one stage hands them to the next, and methods that train networks themselves in a study."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS, InitializerEntry, Outcome, Problem, handed
from robustprune.studies.classification.study import ClassificationStudy
from tests.robustprune.studies.classification.tiny_study import TRAINING, cell, published, row_of, study


def test_an_outcome_arrives_in_its_parts() -> None:
    outcome = Outcome(
        {"stem.conv": torch.ones(2, 3)},
        state={"stem.conv.weight": torch.zeros(2, 3), "norm.num_batches_tracked": torch.tensor(4)},
        masks={"stem.conv": torch.tensor([[True, False, True]] * 2)},
        tables={"told": {"epoch": np.array([1, 2]), "gap": np.array([0.5, 0.25])}},
        columns={"reached": 0.75},
    )
    found = handed(published(outcome.to_arrays()))
    assert found.scores.keys() == found.masks.keys() == {"stem.conv"}
    assert found.masks["stem.conv"].dtype == bool
    assert found.state["norm.num_batches_tracked"] == 4
    assert {name: list(values) for name, values in found.tables["told"].items()} == {
        "epoch": [1, 2],
        "gap": [0.5, 0.25],
    }
    assert found.columns == {"reached": 0.75}


def test_plain_scores_are_an_outcome_too() -> None:
    found = handed(Outcome({"conv": torch.ones(2, 3)}).to_arrays())
    assert (list(found.scores), found.state, found.masks, found.tables, found.columns) == (["conv"], {}, {}, {}, {})


def halved(network: nn.Module, problem: Problem, settings: Any) -> Outcome:
    """Halve all weights, keep the first half of every layer's, whatever the ratio, and say so."""
    layers = problem.layers(network)
    state = {name: value / 2 if value.is_floating_point() else value for name, value in network.state_dict().items()}

    def first_half(weight: Tensor) -> Tensor:
        return (torch.arange(weight.numel()) < weight.numel() // 2).view(weight.shape)

    return Outcome(
        {name: layer.weight.detach().abs() for name, layer in layers.items()},
        state=state,
        masks={name: first_half(layer.weight) for name, layer in layers.items()},
    )


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Callable[[InitializerEntry], None]:
    """Return what puts an entry in the place of `magnitude`."""

    def add(entry: InitializerEntry) -> None:
        monkeypatch.setitem(INITIALIZERS._entries, "magnitude", entry)

    return add


HALVED = InitializerEntry(score=halved, per_structure=True, per_ratio=True, trains="onward")


def test_a_row_is_of_the_network_and_the_masks_that_a_method_hands_on(added: Callable[..., None]) -> None:
    added(HALVED)
    own, of = study(), cell(structure="unstructured", ratio=0.9)
    checkpoint = published(own.pretrain(of))
    scores = published(own.score(of, checkpoint))
    network = own.task(of).restored(checkpoint)
    pruned = own.prune(network, of, scores, task=own.task(of))
    for name, mask in pruned.masks.items():
        weight, before = network.get_submodule(name).weight, torch.tensor(checkpoint[f"{name}.weight"])
        assert isinstance(weight, Tensor)
        assert torch.equal(weight, torch.where(mask, before / 2, 0.0)), name
        assert int(mask.sum()) == mask.numel() // 2, "the ratio draws nothing here"


def test_a_method_from_scratch_needs_no_checkpoint_and_works_at_a_ratio_of_0(added: Callable[..., None]) -> None:
    added(replace(HALVED, trains="scratch"))
    own, of = study(), cell(structure="unstructured", ratio=0.0)
    assert own.stage("pretrain", of) is None
    scoring = own.stage("score", of)
    assert scoring is not None
    assert {"seed", "ratio"} <= set(scoring.axes)
    row = own.evaluate_row(of, None, published(own.score(of, None)))
    assert row["params_kept"] < row["params_total"]
    longer = study(pretrain={**TRAINING, "epochs": 7})
    assert longer.stage("score", of) == scoring, "it depends on no pretraining"


def test_what_a_method_says_of_itself_stands_in_its_rows_alone(
    added: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def telling(network: nn.Module, problem: Problem, settings: Any) -> Outcome:
        return halved(network, problem, settings)._replace(
            columns={"halvings": 1}, tables={"told": {"step": np.array([1, 2])}}
        )

    added(replace(HALVED, score=telling, columns={"halvings": int}, tables={"told": {"step": int}}))
    monkeypatch.setattr(ClassificationStudy, "columns", {**ClassificationStudy.columns, "halvings": int})
    own, of = study(), cell(structure="unstructured")
    checkpoint = published(own.pretrain(of))
    row = row_of(own, of, checkpoint)
    assert row["halvings"] == 1
    assert type(row["halvings"]) is int
    assert row["told"]["step"].tolist() == [1, 2]
    other = row_of(own, cell(structure="unstructured", initializer="random"), checkpoint)
    assert other["halvings"] is None
    assert other["told"] is None


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (
            replace(HALVED, structures="coupled"),
            "grid.structure: found 'unstructured' with the initializer 'magnitude'",
        ),
        (
            replace(HALVED, refuses=lambda settings, **at: f"grid.ratio: found {at['ratio']}, expected less"),
            "grid.ratio: found 0.5, expected less",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    added: Callable[..., None], entry: InitializerEntry, found: str
) -> None:
    added(entry)
    with pytest.raises(InputError, match=found):
        study().check([cell(structure="unstructured")])
    study().check([cell(structure="unstructured", initializer="random")])

"""What is refused of ratios of layers, and of structures of one ratio, before anything runs; what keys say of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from robustprune.core.errors import InputError
from robustprune.detection import networks as detectors
from robustprune.methods import INITIALIZERS, InitializerEntry
from robustprune.structures import Ratios
from robustprune.studies.pruning.ratios import check_fixed, check_ratios, layer_names, told_ratios
from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning.plan import trials
from tests.robustprune.studies.classification import tiny_study as classification
from tests.robustprune.studies.detection import small_study as detection

LAYERS = ["conv1", "block.conv1", "block.conv2", "block.downsample", "fc"]
NETWORKS = {"net": (LAYERS, LAYERS[:-1])}


def cells(*points: tuple[str, float], scope: str = "layer") -> list[dict[str, Any]]:
    return [{"structure": name, "initializer": "magnitude", "scope": scope, "ratio": at} for name, at in points]


def fixed(of: list[dict[str, Any]], ratios: Ratios | None = None, *, axis: bool = True) -> None:
    check_fixed(of, ratios or {}, scope=lambda cell: str(cell["scope"]), axis=axis)


def test_a_structure_of_one_ratio_is_asked_for_that_or_for_none_at_all() -> None:
    fixed(cells(("2:4", 0.0), ("2:4", 0.5), ("unstructured", 0.9), ("1:3", 0.667), ("1:3", 2 / 3)))
    with pytest.raises(InputError) as caught:
        fixed(cells(("unstructured", 0.9), ("2:4", 0.75), ("2:4", 0.5), ("2:4", 0.9)))
    assert str(caught.value) == (
        'grid.ratio: found 0.75, 0.9 with the structure "2:4", which prunes every layer to 0.5 (at 0 nothing), '
        'expected 0.5 or 0: leave the others out by grid.exclude: [{structure: "2:4", ratio: 0.75}, '
        '{structure: "2:4", ratio: 0.9}], '
        "or list the structure's own cells under grid.include"
    )


@pytest.mark.parametrize("near", [0.33, 0.34, 0.5])
def test_what_is_not_the_ratio_but_for_decimals_is_refused(near: float) -> None:
    with pytest.raises(InputError, match=r"grid.ratio: found 0\.\d+ with the structure \"2:3\""):
        fixed(cells(("2:3", near)))


@pytest.mark.parametrize(("axis", "field"), [(True, "grid.scope"), (False, "scope")])
def test_layers_of_one_ratio_do_not_compete(axis: bool, field: str) -> None:
    fixed(cells(("2:4", 0.0), ("unstructured", 0.5), scope="global"), axis=axis)
    with pytest.raises(
        InputError, match=f"^{field}: found 'global' with the structure \"2:4\".*, expected 'layer'"
    ) as e:
        fixed(cells(("2:4", 0.5), scope="global"), axis=axis)
    assert ('grid.exclude: [{structure: "2:4", scope: global}]' in str(e.value)) is axis


def test_layers_of_such_a_structure_have_its_ratio_or_none() -> None:
    own = cells(("2:4", 0.5), ("unstructured", 0.9))
    fixed(own, {"conv1": 0, "fc": "ratio", "*": 0.5})
    with pytest.raises(InputError, match=r'^ratios.conv1: found 0.3 with .*"2:4".*, expected 0, 0.5 or ratio$'):
        fixed(own, {"conv1": 0.3})
    fixed(own[1:], {"conv1": 0.3})


def test_a_method_whose_ratio_is_of_operations_takes_no_ratios_of_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = InitializerEntry(score=INITIALIZERS["magnitude"].score, prunes="operations")
    monkeypatch.setattr(INITIALIZERS, "_entries", {**INITIALIZERS, "theirs": entry})
    own = [{**each, "initializer": "theirs"} for each in cells(("structured", 0.5))]
    fixed(own)
    with pytest.raises(
        InputError, match="^ratios: found ratios of layers with the initializer 'theirs'.*, expected none"
    ):
        fixed(own, {"conv1": 0})


def test_what_a_table_says_of_each_network() -> None:
    assert check_ratios({}, NETWORKS) == []
    assert check_ratios({"conv1": 0, "fc": 0, "*.conv2": 0.5, "block.conv1": "ratio"}, NETWORKS) == [
        "ratios: of net, 2 of 4 layers have the row's ratio; at 0: conv1; at 0.5: block.conv2"
    ]
    both = {**NETWORKS, "other": (["conv1", "head"], ["conv1"])}
    assert check_ratios({"block.*": 0}, both)[1] == "ratios: of other, 1 of 1 layers have the row's ratio"
    assert told_ratios({"conv1": 0.25, "*": "ratio"}) == {
        "ratios of layers": "conv1: 0.25, *: that of the row, others: that of the row"
    }
    assert told_ratios({}) == {}


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        (
            {"conv": 0},
            "ratios.conv: found a pattern that matches no layer of net, expected one of names such as conv1, "
            "block.conv1, block.conv2, block.downsample, fc",
        ),
        (
            {"*conv?": 0.5, "conv1": 0},
            "ratios.conv1: found a pattern all of whose layers, such as conv1, match '*conv?' before it, expected it "
            "before that one",
        ),
        (
            {"fc": 0.5},
            "ratios.fc: found 0.5, but all that it matches is never pruned, fc, expected 0, or a pattern of other "
            "layers",
        ),
    ],
)
def test_patterns_that_mean_nothing_are_refused(ratios: Ratios, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_ratios(ratios, NETWORKS)
    assert str(caught.value) == said


# In both studies


@pytest.mark.parametrize("kind", ["classification", "detection"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"*": 1}, r"ratios.*: found 1, expected less than 1 or 'ratio'"),
        ({"*": -0.1}, r"ratios.*: found -0.1, expected at least 0 or 'ratio'"),
        ({"*": "ration"}, r"ratios.*: found 'ration', expected a number or 'ratio'"),
        ([0.5], r"ratios: found [0.5], expected a mapping of settings"),
    ],
)
def test_a_table_has_ratios_or_the_word(kind: str, given: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(kind, f"ratios={given}")
    assert said in str(caught.value)


def parsed(kind: str, *changes: str) -> spec.Spec:
    return spec.load({"classification": "classifiers-demo", "detection": "demo"}[kind], changes)


STRUCTURES_OF = {"classification": "channels", "detection": "structured"}


def row_keys(kind: str, *changes: str) -> dict[tuple[Any, ...], str]:
    return {
        (row.cell["initializer"], row.cell["ratio"]): str(row.key)
        for trial in trials(parsed(kind, *changes))
        for row in trial.rows
    }


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_keys_of_rows_know_a_table_where_there_is_one_and_its_order_and_those_of_a_ratio_of_0_do_not(kind: str) -> None:
    grid = "grid.initializer=[hydra, magnitude]", f"grid.structure=[{STRUCTURES_OF[kind]}]", "grid.exclude=[]"
    plain, without, table, turned = (
        row_keys(kind, *grid, *(["ratios=" + said] if said else []))
        for said in ("", "{}", "{'*0*': 0, '*': 0.5}", "{'*': 0.5, '*0*': 0}")
    )
    assert plain == without
    assert plain.keys() == table.keys()
    for at in plain:
        assert len({plain[at], table[at], turned[at]}) == (1 if at[1] == 0 else 3)


def test_scores_depend_on_a_table_where_they_depend_on_the_ratio() -> None:
    for module in (classification, detection):
        plain, table = module.study(), module.study(ratios={"*": 0.5})
        for initializer, same in (("hydra", False), ("magnitude", True), ("taylor", True)):
            of = module.cell(initializer=initializer, structure="structured")
            assert (plain.stage("score", of) == table.stage("score", of)) is same
            declared = table.stage("score", of)
            assert declared is not None
            assert declared.fields is not None
            assert ("ratios" in declared.fields) is not same


@pytest.mark.parametrize("network", ["yolov3-nano", "yolov3-tiny"])
def test_a_table_for_a_detector_goes_by_the_names_of_its_layers(network: str) -> None:
    with torch.device("meta"):
        detector = detectors.build(network, classes=2, image_size=64)
    names = layer_names(detector), [*detector.prunable_layers(heads=False)]
    (said,) = check_ratios({"layers.0.conv": 0}, {network: names})
    assert said.endswith("at 0: layers.0.conv")
    head = next(iter(detector.head_layers))
    with pytest.raises(InputError, match="never pruned"):
        check_ratios({head: 0.5}, {network: names})
    assert check_ratios({head: 0}, {network: names})


def test_a_study_of_classifiers_refuses_a_pattern_of_no_layer_before_it_trains() -> None:
    with pytest.raises(InputError, match=r"^ratios.conv1: found a pattern that matches no layer of resnet8, expected"):
        classification.study(ratios={"conv1": 0}).check([classification.cell()])
    told = classification.study(ratios={"network.conv1": 0}).check([classification.cell()])
    assert "ratios: of resnet8, 6 of 7 layers have the row's ratio; at 0: network.conv1" in told


# In a grid


@pytest.mark.parametrize("kind", ["classification", "detection"])
@pytest.mark.parametrize("written", ['{n_of_m: "2:4"}', '"2:4"'])
def test_n_of_m_is_a_structure_of_any_grid_by_one_name(kind: str, written: str) -> None:
    one = ("grid.seed=[0]", "grid.initializer=[magnitude]", "grid.ratio=[0.5]")
    loaded = parsed(
        kind, *one, f"grid.structure=[unstructured, {written}]", f"grid.exclude=[{{structure: {written}, seed: 7}}]"
    )
    assert {cell["structure"] for cell in loaded.cells} == {"unstructured", "2:4"}
    assert loaded.engine.grid["structure"] == ["unstructured", "2:4"]
    assert loaded.engine.grid["exclude"] == [{"structure": "2:4", "seed": 7}]
    assert spec.parse(loaded.to_yaml(), "again").cells == loaded.cells
    with pytest.raises(SpecError, match=r"grid.structure\[1\]: found '2:4' a second time"):
        parsed(kind, *one, f'grid.structure=["2:4", {written}]')
    with pytest.raises(SpecError, match=r"grid.exclude\[0\].structure: found '5:4', expected {n_of_m: "):
        parsed(kind, *one, 'grid.exclude=[{structure: {n_of_m: "5:4"}}]')
    with pytest.raises(SpecError, match="found 'filters', expected one of unstructured, .*, {n_of_m: \"N:M\"}"):
        parsed(kind, *one, "grid.structure=[filters]")

"""Every mistake in what a study declares is said in one sentence that names the study and the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import pytest
from pydantic import BaseModel

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning import plan
from sweeps.storage.rows import PROVENANCE
from sweeps.study import Axis, Cell, Draft, Drafted, Further, Progress, Stage, Study, TradeOff

SPEC = f"""\
name: small
study: {__name__}:Small
grid: {{kind: [a, b], seed: [0, 1], part: [0, 0.5]}}
"""


class Depth(BaseModel):
    metres: float = 1.0


class Small(Study):
    """A study that is as it should be, and all that a study has to be."""

    class Settings(BaseModel):
        rate: float = 0.5
        depth: Depth = Depth()
        tags: dict[str, float] = {}

    axes: ClassVar = (Axis("kind", str), Axis("seed", int), Axis("part", float))
    stages: ClassVar = ("train", "measure")
    row_axis: ClassVar = "part"
    replicate_axis: ClassVar = "seed"
    columns: ClassVar = {"gain": float, "loss": float, "machine": str}
    metrics: ClassVar = {"gain": "gain"}

    def train(self, cell: Cell, progress: Progress) -> dict[str, Any]:
        return {}

    def measure(self, cell: Cell, trained: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        return {"gain": 1.0, "loss": 0.0, "machine": "here"}


AXES = Small.axes


def parse(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> spec.Spec:
    for name, value in changes.items():
        monkeypatch.setattr(Small, name, value)
    return spec.parse(SPEC, "small.yaml")


def test_a_study_as_it_should_be_is_none_the_worse_for_being_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(plan.trials(parse(monkeypatch))) == 4


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("axes", (), "found (), expected a tuple of Axis"),
        ("axes", ("kind",), "found ('kind',), expected a tuple of Axis"),
        ("axes", (*AXES, Axis("two words", str)), "found the name 'two words', expected a word other than"),
        ("axes", (*AXES, Axis("include", str)), "found the name 'include', expected a word other than"),
        ("axes", (*AXES, Axis("kind", str)), "found 'kind' twice, expected different names"),
        ("axes", (*AXES, Axis("flag", bool)), "flag: found the type bool, expected str, int or float"),
        ("axes", (*AXES, Axis("size", int, choices=("a",))), "size: found choices of int, expected them of text"),
        ("axes", (*AXES, Axis("word", str, bounds=(0, 1))), "word: found bounds of text, expected them of numbers"),
        (
            "axes",
            (*AXES, Axis("word", str, further=Further("others", str))),
            "word: found Further(told='others', read=",
        ),
        ("axes", (*AXES, Axis("host", str)), "found 'host', which is a column of the engine's own, expected another"),
        ("axes", (*AXES, Axis("train_s", float)), "found 'train_s', which is a column of the engine's own"),
        ("formats", {"onnx": (".onnx",)}, "found onnx and no method `export`, expected one that makes them"),
        ("meanings", {"gian": "m"}, "found 'gian', expected a column, a table, or table.column"),
        ("row_axis", "ratio", "found 'ratio', expected one of kind, seed, part"),
        ("row_axis", "kind", "found 'kind', whose values are text, expected numbers, along which curves run"),
        ("replicate_axis", None, "found None, expected one of kind, seed, part"),
        ("replicate_axis", "part", "found 'part', which is the row axis too, expected another axis"),
        ("panel_axis", "colour", "found 'colour', expected one of kind, seed, part"),
        ("panel_axis", "seed", "found 'seed', expected neither the row axis nor the replicate axis"),
        ("stages", (), "found (), expected a tuple of at least one name"),
        ("stages", "measure", "found 'measure', expected a tuple of at least one name"),
        ("stages", ("train", "train", "measure"), "found 'train' twice, expected different names"),
        ("stages", ("a b", "measure"), "found 'a b', expected a word that no attribute of Study has"),
        ("stages", ("check", "measure"), "found 'check', expected a word that no attribute of Study has"),
        ("stages", ("prune", "measure"), "found 'prune' and no method of that name, expected one that computes it"),
        ("columns", {"gain": complex}, "gain: found the type complex, expected str, int, float or bool"),
        ("columns", {"gain": float, "kind": str}, "found 'kind', which is an axis too, expected another name"),
        ("columns", {"gain": float, "attempt": int}, "found 'attempt', which is a column of the engine's own"),
        ("columns", {"gain": float, "train_s": float}, "found 'train_s', which is a column of the engine's own"),
        ("columns", {"gain": float, "two words": str}, "found the name 'two words', expected a word"),
        ("metrics", {}, "found none, expected at least the one that is the study's main question"),
        ("metrics", {"speed": "speed"}, "found 'speed', expected columns of numbers: gain, loss"),
        ("metrics", {"machine": "machine"}, "found 'machine', expected columns of numbers: gain, loss"),
        ("doubts", {"speed": "machine"}, "found 'speed', expected columns of numbers: gain, loss"),
        ("doubts", {"gain": "loss"}, "gain: found 'loss', expected a column of bool, true where gain is not to"),
        ("doubts", {"gain": ("machine", "mood")}, "gain: found 'mood', expected a column of bool"),
        ("beside", {"gain": "loss"}, "found 'loss', expected metrics: gain"),
        ("earlier", {"gain": "loss"}, "found 'loss', expected metrics: gain"),
        ("trade_off", "gain", "found a str, expected a TradeOff"),
        ("trade_off", TradeOff("", "", "loss", "gain"), "found 'loss', expected metrics: gain"),
        ("tables", {"results": {"a": int}}, "found 'results', expected a word that is neither one of its columns"),
        ("tables", {"gain": {"a": int}}, "found 'gain', expected a word that is neither one of its columns"),
        ("tables", {"boxes": {"row_key": str}}, "boxes: found a column 'row_key', which every table has"),
        ("tables", {"boxes": {"files_key": str}}, "boxes: found a column 'files_key', which every table has"),
        ("tables", {"boxes": {"a": dict}}, "boxes.a: found the type dict, expected str, bool or a type of numpy"),
        *(
            ("tables", {name: {"a": int}}, f"found {name!r}, expected a word that is neither one of its columns")
            for name in ("report", "progress", "_hidden", "a/b", "spec.yaml")
        ),
        *(
            ("tables", {name: {"a": int}}, f"found {name!r}, expected a word that is neither one of its columns")
            for name in ("kind", "sweep", "train_s", 5)
        ),
        *(
            ("axes", (*AXES, Axis(name, str)), f"found {name!r}, which is a column of the engine's own")
            for name in PROVENANCE
        ),
        *(
            ("axes", (*AXES, Axis(name, str)), f"found {name!r}, which is a column of analyses and reports")
            for name in ("configuration", "factor", "metric", "n", "result", "stage")
        ),
        ("columns", {"gain": float, "configuration": int}, "found 'configuration', which is a column of analyses and"),
        ("columns", {"gain": float, "wait_s": str}, "wait_s: found the type str, expected a number of seconds"),
        ("axes", (*AXES, Axis("word", str, choices="ab")), "word: found the choices 'ab', expected a tuple of texts"),  # type: ignore[arg-type]
        ("axes", (*AXES, Axis("word", str, choices=())), "word: found the choices (), expected a tuple of texts"),
        ("axes", (*AXES, Axis("word", str, choices=(1,))), "word: found the choices (1,), expected a tuple of texts"),  # type: ignore[arg-type]
        *(
            (
                "axes",
                (*AXES, Axis("size", int, bounds=cast(Any, bounds))),
                f"size: found the bounds {bounds!r}, expected the low",
            )
            for bounds in ((1,), 5, (5, 1), ("a", "b"), (None, 1), (float("nan"), 1))
        ),
        ("columns", ("gain",), "found ('gain',), expected a mapping from column to type"),
        ("metrics", ("gain",), "found ('gain',), expected a mapping from column to label"),
        ("metrics", {"gain": None}, "gain: found the label None, expected text"),
        ("doubts", None, "found None, expected a mapping from column to column"),
        ("doubts", {"gain": None}, "gain: found None, expected the name of a column, or several"),
        ("doubts", {"gain": ()}, "gain: found (), expected the name of a column, or several"),
        ("trade_off", TradeOff("", "", "gain", "gain"), "found 'gain' against itself, expected two metrics"),
        ("trade_off", TradeOff(1, "", "gain", "gain"), "found TradeOff(title=1, "),  # type: ignore[arg-type]
        ("pruned", ["weights"], "found ['weights'], expected what is pruned, in the plural, or None"),
        ("tables", ["boxes"], "found ['boxes'], expected a mapping from table to its columns"),
        ("tables", {"boxes": ["a"]}, "boxes: found ['a'], expected a mapping from column to type, of one at least"),
        ("tables", {"boxes": {}}, "boxes: found {}, expected a mapping from column to type, of one at least"),
        ("tables", {"boxes": {5: int}}, "boxes: found a column 5, expected a name"),
        ("__init__", lambda study: None, "found other arguments, expected it to take validated settings alone"),
        ("Settings", dict, "found <class 'dict'>, expected a pydantic model"),
    ],
)
def test_a_mistake_of_a_study_is_one_sentence(
    field: str, value: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError) as caught:
        parse(monkeypatch, **{field: value})
    assert str(caught.value).startswith(f"small.yaml: study: Small.{field}: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["axes", "stages", "row_axis", "replicate_axis", "columns", "metrics"])
def test_what_every_study_says_cannot_be_left_out(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Small, field)
    with pytest.raises(SpecError, match=f"study: Small.{field}: found nothing, expected it of every study"):
        spec.parse(SPEC, "small.yaml")


def test_a_setting_has_no_name_that_every_spec_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(BaseModel):
        grid: int = 1

    with pytest.raises(SpecError, match="Small.Settings: found a field 'grid', which every spec has"):
        parse(monkeypatch, Settings=Settings)


EVERY = ("kind", "seed", "part")


@pytest.mark.parametrize(
    ("train", "measure", "sentence"),
    [
        (Stage(("kind", "colour")), Stage(EVERY), "stage('train') of kind a, seed 0, part 0.0: axes: found 'colour'"),
        (None, Stage(("kind", "seed")), "axes: found no 'part', expected all axes: the last stage makes the row"),
        (None, None, "stage('measure') of kind a, seed 0, part 0.0: found None, expected a Stage"),
        (None, "all", "found a str, expected a Stage or None"),
        (Stage((), fields=("rat",)), Stage(EVERY), "fields: found 'rat', which is no setting of Small"),
        (Stage((), fields=("depth.feet",)), Stage(EVERY), "fields: found 'depth.feet', which is no setting of Small"),
        (Stage((), reads=("measure",)), Stage(EVERY), "reads: found 'measure', expected some of the stages before it"),
        (Stage(()), Stage(EVERY, reads=("trian",)), "reads: found 'trian', expected some of the stages before it: tr"),
        (Stage((), reads=(5,)), Stage(EVERY), "reads: found (5,), expected a tuple of names"),  # type: ignore[arg-type]
        (Stage((), "all"), Stage(EVERY), "settings: found 'all', expected a mapping or None"),  # type: ignore[arg-type]
        (Stage((), {"a": {1}}), Stage(EVERY), "stage('train'): Object of type set is not JSON serializable, expected"),
        (Stage((), {"a": float("nan")}), Stage(EVERY), "stage('train'): Out of range float values are not JSON"),
        (Stage(()), Stage(EVERY, {1: 2, "a": 3}), "stage('measure'): '<' not supported between instances of"),  # type: ignore[dict-item]
        (Stage(()), Stage(EVERY, reads=()), "found a method that does not take what it is handed, expected measure(se"),
    ],
)
def test_a_mistake_of_a_stage_is_one_sentence(
    train: Any, measure: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = parse(monkeypatch, stage=lambda study, name, cell: {"train": train, "measure": measure}[name])
    with pytest.raises(SpecError) as caught:
        plan.trials(loaded)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("study: Small.stage(")
    assert "\n" not in str(caught.value)


def test_nested_settings_and_those_of_mappings_may_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = ("rate", "depth.metres", "depth", "tags.anything")
    declared = {"train": Stage((), {}, fields=fields), "measure": Stage(EVERY, {})}
    plan.trials(parse(monkeypatch, stage=lambda study, name, cell: declared[name]))


class Abstract(Small, ABC):
    """Lacks a method."""

    @abstractmethod
    def dig(self) -> None: ...


def test_a_class_that_lacks_methods_is_refused() -> None:
    with pytest.raises(SpecError, match="study: Abstract: found no dig, expected every method of an abstract class"):
        spec.parse(SPEC.replace(":Small", ":Abstract"), "small.yaml")


def test_a_class_that_is_no_study_is_refused() -> None:
    with pytest.raises(SpecError, match="found '.*:Depth', a class that is no Study, expected a subclass of sweeps"):
        spec.parse(SPEC.replace(":Small", ":Depth"), "small.yaml")


@pytest.mark.parametrize("name", ["", "Coco", "two words", "set", "force", "help"])
def test_a_draft_has_an_option_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft("DIR", "folder", lambda source, given, beside: Drafted({}, {}))
    parse(monkeypatch, drafts={"set-of-kites": draft})
    with pytest.raises(SpecError, match=f"Small.drafts: found the name '{name}', expected small letters"):
        parse(monkeypatch, drafts={name: draft})
    with pytest.raises(SpecError, match="Small.drafts: kites: found a tuple, expected a Draft"):
        parse(monkeypatch, drafts={"kites": ("DIR", "folder")})

"""Specs are read as people write YAML, resolve to something that reads back equal, and explain their mistakes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.spec import plain_yaml
from tests.support.toy_study import SPEC, ToyStudy


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Spring(Strict):
    kind: Literal["spring"]
    litres: int = Field(ge=1)
    name: str = "spring"


class Barrel(Strict):
    kind: Literal["barrel"]
    staves: int = 12


class Cellar(Strict):
    water: Annotated[Spring | Barrel, Field(discriminator="kind")]
    depth: float = Field(default=1.0, gt=0, lt=100)
    taste: Literal["sweet", "dry"] = "dry"
    open: bool = False
    jars: list[Barrel] = []


class CellarStudy(ToyStudy):
    """A study with a union among its settings, as a choice of data set is."""

    Settings: ClassVar[Any] = Cellar

    def __init__(self, settings: Cellar) -> None:
        if settings.depth > 50:
            raise ValueError("depth: found more than 50, expected less without a ladder")


CELLAR = SPEC.replace("ToyStudy", "CellarStudy").replace("tests.toy_study", __name__)
CELLAR += "water: {kind: spring, litres: 3}\n"


def message(text: str, *changes: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec.parse(text, "s.yaml", changes)
    return str(caught.value)


def test_a_spec_becomes_cells_and_settings_with_defaults() -> None:
    loaded = spec.parse(SPEC, "s.yaml")
    assert loaded.name == "toy"
    assert len(loaded.cells) == 2 * 2 * 2 * 3
    assert loaded.engine.resources.cpus == 1
    assert loaded.settings.model_dump()["offset"] == 0


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("-2E3", -2e3), ("1.5e3", 1.5e3), (".5e1", 5.0), ("3", 3.0)]
)
def test_floats_are_those_of_yaml_1_2(text: str, value: float) -> None:
    assert spec.parse(f"{SPEC}offset: {text}\n", "s.yaml").settings.model_dump()["offset"] == value


@pytest.mark.parametrize("text", ["e4", "1e", "1e4x", "v1e4"])
def test_text_that_only_resembles_a_number_stays_text(text: str) -> None:
    assert spec.parse(f"{SPEC}diary: {text}\n", "s.yaml").settings.model_dump()["diary"] == text


def test_set_changes_what_is_nested_and_what_is_not_there_yet() -> None:
    changes = ["resources.cpus=4", "offset=1e-2", "grid.dose=[0.25]", "name=other", "diary=a=b"]
    loaded = spec.parse(SPEC, "s.yaml", changes)
    assert loaded.engine.resources.cpus == 4
    assert loaded.settings.model_dump()["offset"] == 0.01
    assert {cell["dose"] for cell in loaded.cells} == {0.25}
    assert loaded.name == "other"
    assert loaded.settings.model_dump()["diary"] == "a=b"


def test_the_last_of_two_changes_wins() -> None:
    assert spec.parse(SPEC, "s.yaml", ["offset=1", "offset=2"]).settings.model_dump()["offset"] == 2


def assert_reads_back_equal(loaded: spec.Spec) -> None:
    again = spec.parse(loaded.to_yaml(), "again")
    assert again.engine == loaded.engine
    assert again.settings == loaded.settings
    assert again.cells == loaded.cells
    assert again.to_yaml() == loaded.to_yaml()


GIVEN = {
    "liu2024": ["dataset.root=coco", "detector.weights=yolov3.weights"],
    "tajwar2023": ["dataset.root=cifar"],
    "vemparala2021": ["dataset.root=cifar"],
    "vemparala2021-kitti": ["dataset.root=kitti"],
    "zhou2023": ["dataset.root=cifar"],
    "zhou2023-yolo": ["dataset.root=coco", "detector.weights=yolov3-tiny.weights"],
    "cifar-small": ["dataset.root=cifar", "weights.resnet20.initial=resnet20.npz"],
    "coco-small": ["dataset.root=coco", "detector.config=small.cfg", "detector.weights=small.weights"],
    "kitti-small": ["dataset.root=kitti", "detector.config=small.cfg", "detector.weights=small.weights"],
}
"""What a bundled spec leaves to its users."""


@pytest.mark.parametrize("name", spec.bundled())
def test_a_bundled_spec_reads_back_equal_and_describes_itself(name: str) -> None:
    loaded = spec.load(name, GIVEN.get(name, []))
    assert loaded.name == name
    assert spec.descriptions()[name]
    assert_reads_back_equal(loaded)


@given(
    offset=st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0),  # -0.0 reads as 0.0
    # Without control characters: PyYAML writes U+0085 as it is and reads it as the end of a line.
    diary=st.none() | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])),
    doses=st.lists(st.floats(0, 1), min_size=1, unique=True),
)
def test_a_resolved_spec_reads_back_equal(offset: float, diary: str | None, doses: list[float]) -> None:
    settings = ToyStudy.Settings(offset=offset, diary=diary)
    loaded = spec.parse(SPEC, "s.yaml", [f"grid.dose={doses}"])
    again = spec.Spec(engine=loaded.engine, study=ToyStudy(settings), settings=settings, cells=loaded.cells)
    assert_reads_back_equal(again)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "s.yaml: found nothing, expected a mapping of settings"),
        ("- 1", "s.yaml: found [1], expected a mapping of settings"),
        ("name: a\nname: b\n", "s.yaml, line 2, column 1: not valid YAML, the key 'name' is there twice"),
        (SPEC + "  seed: [3]\n", "s.yaml, line 8, column 3: not valid YAML, the key 'seed' is there twice"),
        ("a: 1\nb: [1, 2\n", "s.yaml, line 3, column 1: not valid YAML, expected ',' or ']', but got '<stream end>'"),
        ("a:\n\t- b", "s.yaml, line 2, column 1: not valid YAML, character '\\t' that cannot start any token"),
        ("? [a]\n: 1\n", "s.yaml, line 1, column 3: not valid YAML, a key is not plain text"),
        ("name: a\n", "s.yaml: study: found nothing, expected the name of a study"),
        ("study: 3\n", "s.yaml: study: found 3, expected the name of a study"),
        (
            SPEC.replace("name: toy\n", ""),
            "s.yaml: name: found nothing, expected a value (folder of the sweep in the storage); "
            "give it with --set name=VALUE",
        ),
        (SPEC.split("grid")[0], "s.yaml: grid: found nothing, expected a value (a list of values per axis of the "),
        (SPEC + "3: 4\n", "s.yaml: 3: unknown key; expected one of name, study, "),
        (SPEC + "ofset: 4\n", "s.yaml: ofset: unknown key; did you mean 'offset'?"),
        (SPEC + "resources: {cpu: 1}\n", "s.yaml: resources.cpu: unknown key; did you mean 'cpus'?"),
        (SPEC + "resources: 2\n", "s.yaml: resources: found 2, expected a mapping of settings"),
        (SPEC + "resources: {cpus: 0}\n", "s.yaml: resources.cpus: found 0, expected at least 1"),
        (SPEC + "resources: {cpus: 1.5}\n", "s.yaml: resources.cpus: found 1.5, expected a whole number"),
        (SPEC + "offset: much\n", "s.yaml: offset: found 'much', expected a number"),
        (SPEC + "offset: true\n", "s.yaml: offset: found True, expected a number"),
        (SPEC + "offset:\n", "s.yaml: offset: found nothing, expected a number"),
        (SPEC + "offset: .nan\n", "s.yaml: offset: found nan, expected a finite number"),
        (SPEC + "offset: -.inf\n", "s.yaml: offset: found -inf, expected a finite number"),
        (SPEC + "diary: 3\n", "s.yaml: diary: found 3, expected text"),
        (SPEC + "missing_data: 1\n", "s.yaml: missing_data: found 1, expected true or false"),
        (
            SPEC.replace("name: toy", "name: ../toy"),
            "s.yaml: name: found '../toy', expected text that matches ^[A-Za-z0-9]",
        ),
        (
            SPEC.replace("name: toy", "name: checkpoints"),
            "s.yaml: name: found 'checkpoints', which is the folder that sweeps share, expected another name",
        ),
        (SPEC + "stop_after_failures: 0\n", "s.yaml: stop_after_failures: found 0, expected at least 1"),
        (SPEC + "progress_every: often\n", "s.yaml: progress_every: found 'often', expected"),
        (SPEC + "resources: {gpus: 2}\n", "s.yaml: resources.gpus: found 2, expected 0 or 1"),
        (SPEC + "resources: {workers_per_gpu: 0}\n", "s.yaml: resources.workers_per_gpu: found 0, expected at least 1"),
        (SPEC.replace("[0, 0.5, 1]", "[0, 2]"), "s.yaml: grid.dose[1]: found 2, expected a value from 0.0 to 1.0"),
        (
            SPEC.replace("tests.toy_study:ToyStudy", "detectoin"),
            "s.yaml: study: found 'detectoin', expected classification, detection or module:Class; "
            "did you mean 'detection'?",
        ),
        (
            SPEC.replace("ToyStudy", "Toy"),
            "s.yaml: study: found 'tests.toy_study:Toy', which cannot be imported: "
            "AttributeError: module 'tests.support.toy_study' has no attribute 'Toy'",
        ),
        (
            SPEC.replace("ToyStudy", "SPEC"),
            "s.yaml: study: found 'tests.toy_study:SPEC', which is a str, expected a class",
        ),
        (
            SPEC.replace("tests.toy_study", "__main__"),
            "s.yaml: study: found '__main__:ToyStudy', a class of the script or notebook itself, which no worker can "
            "import, expected one of a module that it imports",
        ),
        (
            SPEC.replace("tests.toy_study", "no_such_module"),
            "s.yaml: study: found 'no_such_module:ToyStudy', which cannot be imported: ModuleNotFoundError: "
            "No module named ",
        ),
    ],
)
def test_a_mistake_is_said_with_file_and_field(text: str, expected: str) -> None:
    said = message(text)
    assert said.startswith(expected)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("water.liters=3", "s.yaml: water.liters: unknown key; did you mean 'litres'?"),
        ("water.stones=3", "s.yaml: water.stones: unknown key; expected one of kind, litres, name"),
        (
            "water.staves=3",
            "s.yaml: water.staves: spring has no such setting; "
            "replace the whole mapping (--set 'water={kind: spring}')",
        ),
        (
            "water.kind=barrel",
            "s.yaml: water.litres: barrel has no such setting; "
            "replace the whole mapping (--set 'water={kind: barrel}')",
        ),
        ("water={kind: barrel, stave: 3}", "s.yaml: water.stave: unknown key; did you mean 'staves'?"),
        ("water.litres=0", "s.yaml: water.litres: found 0, expected at least 1"),
        (
            "water={kind: spring}",
            "s.yaml: water.litres: found nothing, expected a value; give it with --set water.litres=VALUE",
        ),
        (
            "water.kind=sprig",
            "s.yaml: water.kind: found 'sprig', expected one of 'spring', 'barrel'; did you mean 'spring'?",
        ),
        ("water={litres: 1}", "s.yaml: water.kind: found nothing, expected a value"),
        ("water=3", "s.yaml: water: found 3, expected a mapping of settings"),
        ("depth=0", "s.yaml: depth: found 0, expected more than 0"),
        ("depth=1e2", "s.yaml: depth: found 100.0, expected less than 100"),
        ("depth=60", "s.yaml: depth: found more than 50, expected less without a ladder"),
        ("taste=sour", "s.yaml: taste: found 'sour', expected 'sweet' or 'dry'"),
        ("jars=[{kind: barrel, stave: 3}]", "s.yaml: jars[0].stave: unknown key; did you mean 'staves'?"),
    ],
)
def test_a_mistake_in_nested_settings_names_the_field_as_it_is_written(change: str, expected: str) -> None:
    assert message(CELLAR, change) == expected


def test_several_mistakes_are_a_line_each_but_a_misspelt_field_is_not_also_missing() -> None:
    assert message(CELLAR, "depth=0", "open=1") == (
        "s.yaml: depth: found 0, expected more than 0\ns.yaml: open: found 1, expected true or false"
    )
    assert message(CELLAR, "water={kind: spring, liters: 3}").count("\n") == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("dataset.train_image=3", "dataset.train_image: unknown key; did you mean 'train_images'?"),
        (
            "attack.name=fgsm",
            "attack.steps: fgsm has no such setting; replace the whole mapping (--set 'attack={name: fgsm}')",
        ),
        (
            "base=null",
            "base: found nothing, expected detector.weights to start from (--set detector.weights=FILE), "
            "or a training from scratch",
        ),
    ],
)
def test_a_mistake_in_the_detection_study_says_what_would_do(change: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec.load("demo", [change])
    assert str(caught.value) == f"spec demo: {expected}"


def test_replacing_the_whole_mapping_does() -> None:
    attack = spec.load("demo", ["attack={name: fgsm}"]).settings.model_dump()["attack"]
    assert attack["name"] == "fgsm"
    assert "steps" not in attack


# The reference study, and what it leaves to its users


def test_the_reference_study_asks_for_data_and_weights_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        spec.load("liu2024")
    assert str(caught.value).splitlines() == [
        "spec liu2024: dataset.root: found nothing, expected a value (folder in COCO's layout, or the URI of one in a "
        "bucket, such as s3://bucket/coco); give it with --set dataset.root=VALUE",
        "spec liu2024: base: found nothing, expected detector.weights to start from "
        "(--set detector.weights=FILE), or a training from scratch",
    ]


def test_the_reference_study_is_as_published() -> None:
    loaded = spec.load("liu2024", GIVEN["liu2024"])
    trials = Counter((cell["structure"], cell["initializer"], cell["colour"], cell["seed"]) for cell in loaded.cells)
    assert {trial[:3] for trial in trials} == {
        ("unstructured", "hydra", "rgb"),
        ("unstructured", "deeplift", "rgb"),
        ("structured", "hydra", "rgb"),
        ("structured", "deeplift", "rgb"),
        ("unstructured", "deeplift", "greyscale"),
    }
    assert len(trials) == 5 * 10
    assert {cell["ratio"] for cell in loaded.cells} == {0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99}
    assert len(loaded.cells) == 450
    settings = loaded.settings.model_dump()
    expected: dict[str, dict[str, Any]] = {
        "detector": {"config": "yolov3", "image_size": 416, "loss": "ciou"},
        "attack": {"name": "pgd", "epsilon": 0.05, "step_size": 0.02, "steps": 5, "random_start": False, "restarts": 1},
        "pretrain": {"epochs": 10, "learning_rate": 1e-4, "weight_decay": 5e-4, "schedule": "constant"},
        "dataset": {"train": "train2017+val2017", "val": None, "train_images": 50_000, "val_images": None},
        "evaluation": {"confidence": 0.005, "nms_iou": 0.45},
    }
    for section, values in expected.items():
        assert {name: settings[section][name] for name in values} == values
    assert not settings["prune_heads"]
    assert settings["share_pretraining"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("offset", "--set 'offset': expected key.path=value"),
        ("=3", "--set '=3': expected key.path=value"),
        ("grid..dose=3", "--set 'grid..dose=3': expected key.path=value"),
        ("name.first=3", "--set 'name.first=3': name is 'toy', expected a mapping of settings"),
        ("offset=[", "--set 'offset=[', line 1, column 2: not valid YAML, "),
        ("offset={a: 1, a: 2}", "--set 'offset={a: 1, a: 2}', line 1, column 8: not valid YAML, the key 'a' is there"),
    ],
)
def test_a_change_that_makes_no_sense_is_quoted(change: str, expected: str) -> None:
    assert message(SPEC, change).startswith(expected)


def test_an_unknown_name_offers_the_nearest_bundled_one() -> None:
    with pytest.raises(SpecError, match=r"'dmeo': found neither a file nor a bundled spec.*did you mean 'demo'\?$"):
        spec.load("dmeo")


def test_a_file_is_read_and_named_in_messages(tmp_path: Path) -> None:
    file = tmp_path / "ünï 0.yaml"
    file.write_text(SPEC + "description: größer\n", encoding="utf-8")
    assert spec.load(str(file)).engine.description == "größer"
    with pytest.raises(SpecError) as caught:
        spec.load(str(file), ["offset=x"])
    assert str(caught.value).startswith(f"{file}: offset: ")


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"binary.yaml': found bytes that are no UTF-8 text, expected a YAML file"):
        spec.load(str(tmp_path / "binary.yaml"))
    with pytest.raises(SpecError, match="Is a directory, expected a YAML file"):
        spec.load(str(tmp_path))


def test_a_merged_mapping_may_be_merged_again() -> None:
    text = "base: &base {a: 1}\nmid: {inner: &inner {<<: *base, a: 2}}\ntop: {<<: *inner, c: 3}\n"
    assert plain_yaml.read(text, "s.yaml") == {
        "base": {"a": 1},
        "mid": {"inner": {"a": 2}},
        "top": {"a": 2, "c": 3},
    }


@pytest.mark.parametrize("text", ["{a: 1, <<: {? [1] : 2}}", f"a: 0{'7' * 5000}"])
def test_odd_yaml_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(SpecError, match=r"s\.yaml, line 1"):
        plain_yaml.read(text, "s.yaml")

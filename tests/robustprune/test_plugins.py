"""Methods that other packages add: found by their entry points, told apart in keys, and harmless where broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from pydantic import Field, TypeAdapter, ValidationError

from robustprune.attacks import ATTACKS, AttackEntry
from robustprune.core.errors import InputError
from robustprune.core.settings import Settings
from robustprune.methods import INITIALIZERS, InitializerEntry, initializer_settings
from robustprune.plugins import Registry, TaskEntry, any_settings, check_named_settings, identities, task_registry
from robustprune.structures import STRUCTURES, StructureEntry
from robustprune.training.objectives import OBJECTIVES


class Distribution(NamedTuple):
    name: str = "their-package"
    version: str = "1.2"


THEIRS = Distribution()


@dataclass(frozen=True)
class Point:
    """An entry point, as far as a registry looks at it."""

    name: str
    entry: Any
    dist: Distribution | None = THEIRS
    value: str = "their_package:ENTRY"

    def load(self) -> Any:
        if isinstance(self.entry, BaseException):
            raise self.entry
        return self.entry


Added = Callable[..., None]


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Added:
    """Return a function that installs entry points of any group."""

    def install(*points: Point) -> None:
        monkeypatch.setattr("robustprune.plugins.entry_points", lambda *, group: points)

    return install


def score(network: object, problem: object, settings: object) -> dict[str, torch.Tensor]:
    return {}


class Chosen(Settings):
    name: Literal["chosen"] = "chosen"
    epsilon: float = 0.1


class Nameless(Settings):
    epsilon: float = 0.1


class Demanding(Settings):
    images: int = Field(ge=1)


HYDRA, DEEPLIFT = InitializerEntry(score=score), InitializerEntry(score=score, version=3)
NOISE = InitializerEntry(score=score)


def initializers() -> Registry[InitializerEntry]:
    """Return a registry as that of all initializers is, with other entries."""
    return Registry(
        INITIALIZERS.group,
        kind="initializer",
        entry=InitializerEntry,
        bundled={"hydra": HYDRA, "deeplift": DEEPLIFT},
        check=INITIALIZERS._check,
    )


def attacks() -> Registry[AttackEntry]:
    bundled = dict(ATTACKS)
    return Registry(ATTACKS.group, kind="attack", entry=AttackEntry, bundled=bundled, check=ATTACKS._check)


def attack(settings: type[Settings], **options: Any) -> AttackEntry:
    return AttackEntry(run=lambda loss, images: images, settings=settings, sees="loss", **options)


# Names


def test_a_method_is_found_by_name(added: Added) -> None:
    added()
    assert initializers().lookup("deeplift") is initializers()["deeplift"] is DEEPLIFT


def test_a_misspelt_name_is_answered_with_the_nearest(added: Added) -> None:
    added()
    with pytest.raises(InputError, match=r"unknown initializer 'hidra': expected one of hydra, deeplift; .*'hydra'"):
        initializers().lookup("hidra")


def test_a_strange_name_is_answered_with_all(added: Added) -> None:
    added()
    with pytest.raises(InputError, match=r"expected one of hydra, deeplift$"):
        initializers().lookup("xyz")


def test_the_nearest_may_be_a_plug_in(added: Added) -> None:
    added(Point("noise", NOISE))
    with pytest.raises(InputError, match=r"expected one of hydra, deeplift, noise; did you mean 'noise'\?$"):
        initializers().lookup("nois")


# Plug-ins that can be used


def test_a_plug_in_is_found_with_where_it_comes_from(added: Added) -> None:
    added(Point("noise", NOISE), Point("silence", HYDRA, dist=None))
    found = initializers()
    assert list(found) == ["hydra", "deeplift", "noise", "silence"]
    assert len(found) == 4
    assert found["noise"] is found.lookup("noise") is NOISE
    origins = {name: found.origin(name) for name in found}
    assert origins == {
        "hydra": None,
        "deeplift": None,
        "noise": "their-package==1.2",
        "silence": "an unknown package",
    }
    assert found.remarks() == []
    assert found.broken == {}


def test_a_registry_asks_for_the_entry_points_of_its_own_group_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[Point]:
        asked.append(group)
        return [Point("noise", NOISE)]

    monkeypatch.setattr("robustprune.plugins.entry_points", entry_points)
    found = initializers()
    assert asked == []  # not before any name is asked for
    assert "noise" in found
    assert found.lookup("hydra") is HYDRA
    assert list(found)[-1] == "noise"
    assert asked == ["robustprune.initializers"]


def test_keys_tell_a_raised_version_and_a_foreign_package_and_nothing_else(added: Added) -> None:
    added(Point("noise", NOISE), Point("loud", InitializerEntry(score=score, version=2)))
    found = initializers()
    assert found.identity("hydra") == {}
    assert found.identity("deeplift") == {"version": 3}
    assert found.identity("noise") == {"plugin": "their-package==1.2"}
    assert found.identity("loud") == {"version": 2, "plugin": "their-package==1.2"}
    assert identities((found, "hydra"), (found, "hydra")) == {}
    assert identities((found, "hydra"), (found, "noise"), (found, "deeplift")) == {
        "initializer noise": {"plugin": "their-package==1.2"},
        "initializer deeplift": {"version": 3},
    }


def test_what_is_bundled_adds_nothing_to_keys_as_long_as_it_is_of_version_1() -> None:
    for registry in (INITIALIZERS, STRUCTURES, ATTACKS, OBJECTIVES):
        bundled = [name for name in registry if registry.origin(name) is None]
        assert len(bundled) >= 3
        for name in bundled:
            assert registry.identity(name) == (
                {} if registry[name].version == 1 else {"version": registry[name].version}
            )


def test_settings_of_an_attack_that_a_package_adds_are_chosen_by_their_name(added: Added) -> None:
    added(Point("chosen", TaskEntry(task="here", provides=Chosen)))
    registry = task_registry("any", kind="data set", task="here", bundled={"other": Other}, check=named)
    adapter: TypeAdapter[Any] = TypeAdapter(any_settings(registry))
    assert adapter.validate_python({"name": "chosen", "epsilon": 0.5}) == Chosen(epsilon=0.5)
    assert adapter.validate_python({"name": "other"}) == Other()
    with pytest.raises(ValidationError, match="expected tags: 'other', 'chosen'"):
        adapter.validate_python({"name": "third"})


class Other(Settings):
    name: Literal["other"] = "other"


def named(name: str, entry: TaskEntry) -> None:
    check_named_settings(name, entry.provides)


# Plug-ins that cannot


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (ImportError("No module named 'missing'"), "ImportError: No module named 'missing'"),
        (AttributeError("module has no ENTRY"), "AttributeError: module has no ENTRY"),
        (RuntimeError("CUDA is not\n  what it was"), "RuntimeError: CUDA is not what it was"),
        (SystemExit(3), "SystemExit: 3"),
        (score, "their_package:ENTRY, which is a function, expected a InitializerEntry"),
        (StructureEntry(masks=lambda *_: {}), "which is a StructureEntry, expected a InitializerEntry"),
        (InitializerEntry, "which is a type, expected a InitializerEntry"),
        (InitializerEntry(score=score, settings=Demanding), "ValueError: its settings have no default for images"),
    ],
    ids=["missing", "attribute", "any error", "exit", "function", "another entry", "class", "no default"],
)
def test_a_plug_in_that_cannot_be_used_is_named_with_its_package_and_the_cause(
    added: Added, entry: Any, cause: str
) -> None:
    added(Point("broken", entry), Point("noise", NOISE))
    found = initializers()
    assert list(found) == ["hydra", "deeplift", "noise"]
    assert "broken" not in found
    (remark,) = found.remarks()
    assert remark.startswith("the initializer 'broken' is left out: plug-in of their-package==1.2: ")
    assert cause in remark
    assert "\n" not in remark
    with pytest.raises(InputError) as caught:
        found.lookup("broken")
    assert str(caught.value).startswith("initializer 'broken': its plug-in cannot be used, of their-package==1.2: ")
    assert cause in str(caught.value)
    with pytest.raises(KeyError):
        found["broken"]


@pytest.mark.parametrize("name", ["none", "", "two words", "a,b", "-set"])
def test_a_name_has_to_be_a_word(added: Added, name: str) -> None:
    """It stands in grids, on command lines and in keys; `none` is of unpruned networks."""
    added(Point(name, NOISE))
    (remark,) = initializers().remarks()
    assert f"found the name {name!r}, expected letters, digits, _ and -, and not 'none'" in remark


def test_a_name_that_is_taken_stays_with_whoever_had_it(added: Added) -> None:
    later = Point("noise", DEEPLIFT, dist=Distribution("a-third", "3"))
    added(Point("hydra", NOISE), Point("noise", NOISE), later)
    found = initializers()
    assert found.lookup("hydra") is HYDRA
    assert found.lookup("noise") is NOISE
    assert found.origin("noise") == "their-package==1.2"
    assert found.remarks() == [
        "the initializer 'hydra' is left out: plug-in of their-package==1.2: ValueError: the name 'hydra' is taken",
        "the initializer 'noise' is left out: plug-in of a-third==3: ValueError: the name 'noise' is taken",
    ]


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (attack(Nameless), "its settings lack the field name: Literal['mine']"),
        (attack(Chosen), "its settings lack the field name: Literal['mine']"),
        (attack(Other), "its settings lack the field name: Literal['mine']"),
    ],
    ids=["nameless", "another name", "another still"],
)
def test_an_attack_has_to_say_its_name_in_its_settings(added: Added, entry: AttackEntry, cause: str) -> None:
    added(Point("mine", entry), Point("chosen", attack(Chosen)))
    found = attacks()
    assert list(found) == [*ATTACKS, "chosen"]
    (remark,) = found.remarks()
    assert "'mine'" in remark
    assert cause in remark


def test_an_attack_in_a_ball_has_to_have_its_radius(added: Added) -> None:
    least = attack(Other, finds="least")
    added(Point("other", attack(Other)))
    (remark,) = attacks().remarks()
    assert "'other'" in remark
    assert "its settings lack the field epsilon, the radius of the ball" in remark
    added(Point("other", least))
    assert attacks()["other"] is least


def test_entries_for_another_task_are_passed_over(added: Added) -> None:
    added(
        Point("mine", TaskEntry(task="here", provides=abs)),
        Point("theirs", TaskEntry(task="there", provides=all)),
        Point("own", TaskEntry(task="there", provides=any)),
        Point("late", TaskEntry(task="here", provides=max)),
    )
    here, there = (
        task_registry("any", kind="loss", task=task, bundled={f"bundled {task}": 0, "own": 0})
        for task in ("here", "at")
    )
    assert list(here) == ["bundled here", "own", "mine", "late"]
    assert here["mine"].provides is abs
    # The name that is taken is no mistake of a package that means another task.
    assert here.remarks() == []
    assert list(there) == ["bundled at", "own"]
    assert there.remarks() == []


def test_plug_ins_of_tasks_are_checked_as_well(added: Added) -> None:
    added(Point("mine", TaskEntry(task="here", provides=Nameless)))
    found = task_registry("any", kind="data set", task="here", bundled={"other": Other}, check=named)
    assert list(found) == ["other"]
    assert "name: Literal['mine']" in found.remarks()[0]


# A package that is really there

PACKAGE = """
import torch
from robustprune.core.settings import Settings
from robustprune.methods import InitializerEntry


class NoiseSettings(Settings):
    scale: float = 2.0


def noise(network, problem, settings):
    layers = problem.task.prunable_layers(network)
    drawn = {name: torch.rand(layer.weight.shape, generator=problem.generator) for name, layer in layers.items()}
    return {name: settings.scale * scores for name, scores in drawn.items()}


NOISE = InitializerEntry(score=noise, settings=NoiseSettings, sees_images=False)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder that holds a package with two entry points, as pip would leave it."""
    (tmp_path / "their_package.py").write_text(PACKAGE)
    info = tmp_path / "their_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[robustprune.initializers]\nnoise = their_package:NOISE\ngone = their_package:GONE\n"
    )
    return tmp_path


def test_an_installed_package_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    found = initializers()
    assert list(found) == ["hydra", "deeplift", "noise"]
    assert found.identity("noise") == {"plugin": "their-package==1.2"}
    assert found["noise"].settings().model_dump() == {"scale": 2.0}
    (remark,) = found.remarks()
    assert remark.startswith("the initializer 'gone' is left out: plug-in of their-package==1.2: AttributeError: ")


def test_settings_have_a_field_for_every_initializer_that_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with_noise = initializers()
    monkeypatch.setattr("robustprune.methods.by_name.INITIALIZERS", {**INITIALIZERS, "noise": with_noise["hydra"]})
    assert "noise" not in initializer_settings().model_fields
    louder = InitializerEntry(score=score, settings=Chosen)
    monkeypatch.setattr("robustprune.methods.by_name.INITIALIZERS", {**INITIALIZERS, "noise": louder})
    settings = initializer_settings()
    with_any = {name for name, entry in INITIALIZERS.items() if entry.settings.model_fields}
    assert {"hydra", "deeplift", "taylor", "snip"} <= with_any
    assert set(settings.model_fields) == with_any | {"noise"}
    assert settings.model_validate({"noise": {"epsilon": 1.0}}).noise == Chosen(epsilon=1.0)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_installed_package_is_one_more_value_of_the_grid_and_part_of_its_keys(installed: Path) -> None:
    code = """
from tests.robustprune.studies.classification.tiny_study import cell, published, row_of, study
own = study(initializers={"noise": {"scale": 3.0}, "hydra": {"images": 12}})
of = cell(initializer="noise", structure="unstructured")
(axis,) = [axis for axis in own.axes if axis.name == "initializer"]
assert axis.choices[-2:] == ("noise", "gone"), axis.choices
(remark,) = own.check([of])
assert "gone" in remark and "their-package==1.2" in remark, remark
stage = own.stage("score", of)
assert stage.settings["settings"] == {"scale": 3.0}, stage
assert stage.settings["initializer noise"] == {"plugin": "their-package==1.2"}, stage
row = row_of(own, of, published(own.pretrain(of)))
assert row["params_kept"] < row["params_total"], row
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{installed}:{Path(__file__).parents[2]}", "PATH": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")

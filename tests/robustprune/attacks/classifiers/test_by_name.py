"""Settings of attacks, and what their authors are told of mistakes."""

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import Field, TypeAdapter, ValidationError

from robustprune.attacks import ATTACKS, BallSettings, LeastSettings, PgdSettings, attack_work, check, configured
from robustprune.attacks.adversarial_library.apgd import ApgdSettings
from robustprune.attacks.adversarial_library.ddn import DdnSettings
from robustprune.attacks.adversarial_library.fab import FabSettings
from robustprune.attacks.adversarial_library.fmn import FmnSettings
from robustprune.attacks.adversarial_library.standard import StandardSettings
from robustprune.attacks.square import SquareSettings
from robustprune.classification.measure.attacks import ball_attacks, label
from robustprune.classification.measure.passes import Passes
from robustprune.core.errors import InputError
from robustprune.core.settings import Settings
from sweeps.spec.mistakes import sentences
from tests.robustprune.attacks.classifiers.linear import linear

BALL: TypeAdapter[Any] = TypeAdapter(BallSettings)
LEAST: TypeAdapter[Any] = TypeAdapter(LeastSettings)


class Evaluation(Settings):
    attack: BallSettings | None = None
    distances: list[LeastSettings] = Field(default=[])


def mistakes(settings: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Evaluation.model_validate(settings)
    return list(sentences(caught.value, settings, Evaluation))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"distances": [{"name": "ddn"}, {"name": "fmn", "norm": "l3"}]},
            "distances[1].norm: found 'l3', expected 'l0', 'l1' or 'linf'",
        ),
        (
            {"distances": [{"name": "fmn", "norm": ["l2"]}]},
            "distances[0].norm: found ['l2'], expected 'l0', 'l1' or 'linf'",
        ),
        (
            {"distances": [{"name": "fmn", "norm": "l2"}]},
            "distances[0].norm: found 'l2', which is unavailable: "
            "adv-lib moves perturbations inside the L2 ball too, and hardly ever fools a linear network where pixels "
            "are saturated; expected l0, l1 or linf here, and ddn for L2",
        ),
        (
            {"attack": {"name": "apgd", "epsilon": 1.0, "norm": "l1"}},
            "attack.norm: found 'l1', which is unavailable: "
            "adv-lib's projection leaves the L1 ball where pixels are saturated, and the attack misses images of "
            "linear networks that the ball allows to fool; expected l2 or linf here, and fmn for L1",
        ),
        (
            {"attack": {"name": "apgd", "epsilon": 1.0, "norm": "l0"}},
            "attack.norm: found 'l0', expected 'l2' or 'linf'",
        ),
        ({"attack": {"name": "apgd", "epsilon": 0.0}}, "attack.epsilon: found 0.0, expected more than 0"),
        ({"distances": [{"name": "cw"}]}, "distances[0].name: found 'cw', expected one of 'ddn', 'fmn'"),
        ({"distances": [{"name": "ddn", "steps": 0}]}, "distances[0].steps: found 0, expected at least 1"),
    ],
)
def test_a_mistake_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    assert mistakes(settings) == [sentence]


def test_names_choose_settings() -> None:
    assert LEAST.validate_python({"name": "ddn"}) == DdnSettings()
    assert LEAST.validate_python({"name": "fmn", "norm": "l1"}) == FmnSettings(norm="l1")
    apgd = BALL.validate_python({"name": "apgd", "epsilon": 0.5, "norm": "l2"})
    assert apgd == ApgdSettings(epsilon=0.5, norm="l2")
    for classes, losses in ((2, ["ce"]), (3, ["ce", "dlr"])):
        attacks = ball_attacks(apgd, torch.Generator(), classes=classes)
        assert [(name, each.norm, each.epsilon) for name, each in attacks.items()] == [(n, "l2", 0.5) for n in losses]
    pgd = ball_attacks(BALL.validate_python({"name": "pgd", "epsilon": 0.25}), torch.Generator(), classes=2)["ce"]
    assert (pgd.norm, pgd.epsilon) == ("linf", 0.25)
    standard = ball_attacks(StandardSettings(epsilon=0.5), torch.Generator(), classes=10)
    assert {name: each.norm for name, each in standard.items()} == dict.fromkeys(("ce", "dlr", "fab", "square"), "linf")


def test_every_attack_is_of_one_sort_and_its_settings_are_its_own() -> None:
    for name, entry in ATTACKS.items():
        adapter = BALL if entry.finds == "ball" else LEAST
        required = {
            field: {"epsilon": 0.1, "norm": "linf"}[field]
            for field, info in entry.settings.model_fields.items()
            if info.is_required()
        }
        assert type(adapter.validate_python({"name": name, **required})) is entry.settings
    assert {name for name, entry in ATTACKS.items() if entry.finds == "least"} == {"ddn", "fmn"}
    assert {name for name, entry in ATTACKS.items() if entry.sees == "loss"} == {"pgd", "fgsm", "fast-at"}


@pytest.mark.parametrize(
    "settings",
    [
        ApgdSettings(epsilon=0.001, steps=7),
        DdnSettings(steps=5),
        FmnSettings(norm="linf", steps=6),
        FabSettings(epsilon=0.001, steps=4, targets=1),
        SquareSettings(epsilon=0.001, queries=7),
    ],
    ids=label,
)
def test_the_work_of_the_librarys_attacks_is_that_of_the_passes_they_make(settings: Any) -> None:
    problem = linear(saturated=False, count=4)
    counted = Passes(problem.classifier)
    configured(settings, torch.Generator())(counted, problem.pixels, problem.labels)
    assert attack_work(settings).passes == (counted.forwards + counted.backwards) / 4


def test_labels_tell_attacks_of_one_name_apart() -> None:
    assert label(DdnSettings()) == "ddn"
    assert [label(FmnSettings(norm=norm)) for norm in ("l0", "linf")] == ["fmn_l0", "fmn_linf"]
    assert label(PgdSettings()) == "pgd"


def test_dlr_needs_three_classes() -> None:
    settings = ApgdSettings(epsilon=0.1, loss="dlr")
    check(settings, classes=3)
    with pytest.raises(InputError, match="found the loss 'dlr', which compares three classes, and 2, expected 'ce'"):
        check(settings, classes=2)
    check(ApgdSettings(epsilon=0.1), classes=2)


def test_a_missing_package_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    library: list[Any] = [DdnSettings(), FmnSettings(norm="l0")]
    library += [ApgdSettings(epsilon=0.1), FabSettings(epsilon=0.1), StandardSettings(epsilon=0.1)]
    for settings in library:
        with pytest.raises(InputError, match=r"found no package adv-lib.*PIP_CONSTRAINT=constraints.txt pip install"):
            check(settings, classes=10)
    check(BALL.validate_python({"name": "pgd"}), classes=2)
    check(BALL.validate_python({"name": "fgsm"}), classes=2)


@pytest.mark.slow
def test_the_package_is_imported_late_and_in_silence() -> None:
    code = (
        "import sys, torch\n"
        "from robustprune.attacks.adversarial_library.ddn import DdnSettings\n"
        "from robustprune.classification.measure.attacks import least_attack\n"
        "assert 'adv_lib' not in sys.modules\n"
        "least_attack(DdnSettings(), torch.Generator())\n"
        "assert 'adv_lib' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

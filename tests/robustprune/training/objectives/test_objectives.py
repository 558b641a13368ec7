"""Objectives of training under attack: what each lowers and what its attack raises, in closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional

from robustprune.attacks import FastAtSettings, FgsmSettings, PgdSettings, attack_work, configured
from robustprune.core.errors import InputError
from robustprune.core.settings import Settings
from robustprune.detection.darknet import Detector
from robustprune.plugins import Registry
from robustprune.training import Objective
from robustprune.training.objectives import OBJECTIVES, ObjectiveEntry, ObjectiveSettings, by_name, check_fit, form_of
from robustprune.training.objectives.by_name import training_attack_work
from robustprune.training.objectives.trades import TradesSettings, divergences
from tests.robustprune.classification.small import bright_or_dark, convolutional, task_on
from tests.robustprune.detection.tasks import task_of

SETTINGS: TypeAdapter[Any] = TypeAdapter(ObjectiveSettings)
FIELDS = ("objective", "adversary")
PGD = PgdSettings(epsilon=0.05, step_size=0.02, steps=3, random_start=True)


def under(name: str, attack: Any = PGD, **settings: Any) -> Objective:
    found = SETTINGS.validate_python({"name": name, **settings})
    return Objective(
        task=task_on(bright_or_dark(8)),
        attack=configured(attack, torch.Generator().manual_seed(0)),
        clean_too=OBJECTIVES[name].clean_too,
        form=form_of(found),
    )


def batch() -> tuple[Tensor, Tensor]:
    ((pixels, labels),) = task_on(bright_or_dark(8)).batches(8)
    return pixels, labels


def test_a_name_alone_will_do_and_others_are_refused() -> None:
    assert SETTINGS.validate_python("trades") == TradesSettings(beta=6)
    with pytest.raises(ValidationError, match="'attacked', 'clean-and-attacked', 'trades'"):
        SETTINGS.validate_python("mart")
    with pytest.raises(ValidationError, match="beta"):
        SETTINGS.validate_python({"name": "attacked", "beta": 1.0})


@pytest.mark.parametrize(("name", "clean_too"), [("attacked", False), ("clean-and-attacked", True)])
def test_the_two_plain_ones_are_what_an_objective_is_without_a_form(name: str, clean_too: bool) -> None:
    pixels, labels = batch()
    attack = configured(PGD, torch.Generator().manual_seed(0))
    plain = Objective(task=task_on(bright_or_dark(8)), attack=attack, clean_too=clean_too)
    found = under(name)(convolutional().train(), pixels, labels)
    assert torch.equal(found, plain(convolutional().train(), pixels, labels))


def test_the_divergence_of_two_answers() -> None:
    clean, attacked = torch.randn(2, 5, 3, dtype=torch.float64)
    p, q = clean.softmax(dim=1), attacked.softmax(dim=1)
    torch.testing.assert_close(divergences(clean, attacked), (p * (p / q).log()).sum(dim=1))
    assert divergences(clean, clean + 7).abs().max() < 1e-12
    # KL(Bernoulli ½ ‖ Bernoulli ¼) = ½ ln(4/3).
    half, quarter = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]]).log()
    assert float(divergences(half, quarter)) == pytest.approx(0.5 * torch.tensor(4 / 3).log().item())


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_trades_is_the_clean_loss_and_the_divergence(beta: float) -> None:
    network, (pixels, labels) = convolutional().eval(), batch()
    attacked = under("trades", beta=beta).attacked(network, pixels, labels)
    clean, moved = network(pixels), network(attacked)
    expected = functional.cross_entropy(clean, labels) + beta * functional.kl_div(
        moved.log_softmax(dim=1), clean.softmax(dim=1), reduction="batchmean"
    )
    torch.testing.assert_close(under("trades", beta=beta)(network, pixels, labels), expected)
    if beta == 0:
        torch.testing.assert_close(expected, Objective(task=task_on(bright_or_dark(8)))(network, pixels, labels))


def test_its_gradient_goes_through_both_answers() -> None:
    clean, attacked = torch.randn(2, 4, 3, dtype=torch.float64).unbind()
    clean.requires_grad_()
    task, labels = task_on(bright_or_dark(4)), torch.zeros(4, dtype=torch.int64)
    form_of(TradesSettings(beta=6)).loss(task, clean, attacked, labels).backward()
    p = clean.detach().softmax(dim=1)
    ratio = (p / attacked.softmax(dim=1)).log()
    # ∂KL/∂z_i = p_i (log(p_i/q_i) − KL), and p − y of the clean loss.
    expected = p - functional.one_hot(labels, 3) + 6 * p * (ratio - (p * ratio).sum(dim=1, keepdim=True))
    torch.testing.assert_close(clean.grad, expected / 4)


def test_its_attack_raises_the_divergence_whatever_the_labels() -> None:
    network, (pixels, labels) = convolutional().eval(), batch()
    found = under("trades").attacked(network, pixels, labels)
    assert torch.equal(found, under("trades").attacked(network, pixels, 1 - labels))
    assert not torch.equal(found, under("attacked").attacked(network, pixels, labels))
    with torch.no_grad():
        clean = network(pixels)
        start = divergences(clean, network((pixels + 0.01).clamp(0, 1)))
        assert (divergences(clean, network(found)) > start).all()


def test_restarts_keep_the_image_that_moves_the_answer_most() -> None:
    network, (pixels, labels) = convolutional().eval(), batch()
    several = PgdSettings(epsilon=0.05, step_size=0.001, steps=1, random_start=True, restarts=4)
    moved = [
        divergences(network(pixels), network(under("trades", attack).attacked(network, pixels, labels)))
        for attack in (several.model_copy(update={"restarts": 1}), several)
    ]
    one, four = moved
    assert (four >= one).all()
    assert (four > one).any()


def test_trades_refuses_a_detector_in_a_sentence(nano: Detector) -> None:
    with pytest.raises(InputError) as caught:
        check_fit(TradesSettings(), task_of(nano), attack=PGD, fields=("objective", "attack"))
    assert str(caught.value) == (
        "objective: found 'trades', which compares the logits of classifiers, expected one of attacked, "
        "clean-and-attacked for networks that answer otherwise"
    )
    check_fit(SETTINGS.validate_python("attacked"), task_of(nano), attack=PGD, fields=("objective", "attack"))


def test_trades_refuses_an_attack_that_would_stand_still() -> None:
    task, still = task_on(bright_or_dark(8)), PgdSettings(epsilon=0.05, step_size=0.02, steps=3)
    network, pixels = convolutional().eval(), batch()[0].requires_grad_()
    with torch.no_grad():
        clean = network(pixels)
    (slope,) = torch.autograd.grad(divergences(clean, network(pixels)).sum(), pixels)
    assert slope.abs().max() < 1e-8  # rounding
    with pytest.raises(InputError, match=r"adversary.random_start: found false, expected true under objective"):
        check_fit(TradesSettings(), task, attack=still, fields=FIELDS)
    check_fit(SETTINGS.validate_python("attacked"), task, attack=still, fields=FIELDS)
    for attack in (PGD, FgsmSettings(), FastAtSettings()):
        check_fit(TradesSettings(), task, attack=attack, fields=FIELDS)


def test_what_is_bundled_adds_nothing_to_keys() -> None:
    assert {name: OBJECTIVES.identity(name) for name in OBJECTIVES} == {name: {} for name in OBJECTIVES}


def test_a_package_adds_one_that_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Squared(Settings):
        """The loss under attack, squared."""

        name: Literal["squared"] = "squared"
        power: int = 2

    def loss(task: Any, clean: Any, attacked: Any, targets: Any, *, power: int) -> Tensor:
        found: Tensor = task.loss(attacked, targets) ** power
        return found

    entry = ObjectiveEntry(loss=loss, settings=Squared, clean_too=False)
    point = SimpleNamespace(name="squared", load=lambda: entry, dist=None, value="theirs:SQUARED")
    nameless = SimpleNamespace(name="other", load=lambda: entry, dist=None, value="theirs:OTHER")
    monkeypatch.setattr("robustprune.plugins.entry_points", lambda *, group: [point, nameless])
    own = Registry(
        OBJECTIVES.group, kind="objective", entry=ObjectiveEntry, bundled=dict(OBJECTIVES), check=OBJECTIVES._check
    )
    monkeypatch.setattr(by_name, "OBJECTIVES", own)
    found: TypeAdapter[Any] = TypeAdapter(by_name.ObjectiveSettings)
    pixels, labels = batch()
    lowered = Objective(
        task=task_on(bright_or_dark(8)),
        attack=configured(PGD, torch.Generator().manual_seed(0)),
        form=form_of(found.validate_python("squared")),
    )
    network = convolutional().eval()
    torch.testing.assert_close(lowered(network, pixels, labels), under("attacked")(network, pixels, labels) ** 2)
    with pytest.raises(ValidationError, match="'other', whose plug-in cannot be used, of an unknown package"):
        found.validate_python("other")


def test_the_clean_answer_is_work_too() -> None:
    assert training_attack_work(TradesSettings(), PGD).passes == attack_work(PGD).passes + 1
    assert training_attack_work(SETTINGS.validate_python("attacked"), PGD) == attack_work(PGD)

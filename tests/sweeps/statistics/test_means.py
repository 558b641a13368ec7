"""What configurations are called."""

import pytest

from sweeps.statistics.means import configuration_name, shortened


@pytest.mark.parametrize(
    ("axes", "short"),
    [
        (["method", "attack.epsilon"], ["method", "epsilon"]),
        (["attack.epsilon", "pretrain.epsilon"], ["attack.epsilon", "pretrain.epsilon"]),
        (["methods.hydra.epochs", "finetune.epochs", "finetune.rate"], ["hydra.epochs", "finetune.epochs", "rate"]),
        # An axis of the study has its name to itself.
        (["epochs", "finetune.epochs"], ["epochs", "finetune.epochs"]),
        (["a.x.y", "b.a.x.y"], ["a.x.y", "b.a.x.y"]),
    ],
)
def test_a_path_is_called_by_as_much_of_its_end_as_tells_it_from_others(axes: list[str], short: list[str]) -> None:
    assert shortened(axes) == dict(zip(axes, short, strict=True))


def test_numbers_and_fields_are_named_and_other_words_speak_for_themselves() -> None:
    axes = ["method", "attack.epsilon", "finetune.kind", "seed"]
    assert configuration_name(axes, ["hydra", 0.05, "", 1]) == "hydra · epsilon=0.05 · seed=1"
    assert configuration_name(axes, ["", "", "short", ""]) == "kind=short"

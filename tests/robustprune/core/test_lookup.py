import pytest

from robustprune.core.errors import InputError
from robustprune.core.lookup import lookup

REGISTRY = {"hydra": 1, "deeplift": 2}


def test_a_method_is_found_by_name() -> None:
    assert lookup(REGISTRY, "deeplift", kind="initializer") == 2


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown initializer 'hidra': expected one of hydra, deeplift; .*'hydra'"):
        lookup(REGISTRY, "hidra", kind="initializer")


def test_a_strange_name_is_answered_with_all() -> None:
    with pytest.raises(InputError, match=r"expected one of hydra, deeplift$"):
        lookup(REGISTRY, "xyz", kind="initializer")

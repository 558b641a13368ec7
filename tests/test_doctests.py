"""What docstrings show is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import robustprune
import sweeps

MODULES = [
    module.name
    for package in (robustprune, sweeps)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith(("__main__", "shortcut_pruning"))
]
AT_LEAST = 8
"""Examples that there are, so that a search that finds none does not pass."""


@pytest.fixture(scope="module")
def examples() -> dict[str, list[doctest.DocTest]]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {name: finder.find(importlib.import_module(name)) for name in MODULES}
    return {name: [each for each in tests if each.examples] for name, tests in found.items()}


def test_examples_in_docstrings_hold(examples: dict[str, list[doctest.DocTest]]) -> None:
    ran = 0
    for name, tests in examples.items():
        for test in tests:
            results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
            assert not results.failed, name
            ran += results.attempted
    assert ran >= AT_LEAST

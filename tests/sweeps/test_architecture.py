"""The walls of the engine: it names nothing of any study, its rooms form no circle, and each stays small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.spec import studies

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.py"))
FOLDERS = sorted({path.parent for path in SWEEPS})

MOST_LINES = 400
MOST_ENTRIES = 13

OWN_WORDS = {
    "accelerator": "a field of the spec's resources: which kind a trial asks Ray for",
    "device": "reports tell hours of each device, where rows have a column of that name",
    "engine": "fields of a spec that are the engine's, and this package's own folder",
    "model": "a pydantic model, and what a row is of",
    "torch_version": "reports say in whose PyTorch rows were computed, where they have a column of that name",
}
"""Words of studies that the engine has a use of its own for, and which."""

WORDS_OF_ROOMS = {"sampling": {"seed"}}
"""The same, of one room alone: a sample's draws have a seed."""

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "study": {"errors"},
    "__version__": set(),
    "storage": {"study", "errors"},
    "statistics": {"errors"},
    "spec": {"study", "errors", "storage", "statistics"},
    "planning": {"study", "errors", "storage", "spec"},
    "results": {"study", "errors", "storage", "spec", "planning", "statistics"},
    "engine": {"study", "errors", "__version__", "storage", "spec", "planning"},
    "reporting": {"study", "errors", "storage", "spec", "planning", "statistics", "results"},
    "running": {"errors", "storage", "spec", "planning", "engine"},
    "commands": {"errors", "storage", "spec", "planning", "statistics", "results", "reporting", "running"},
    "api": {"study", "errors", "storage", "spec", "planning", "statistics", "results", "reporting", "running"},
    "cli": {"errors", "commands", "reporting"},
    "__main__": {"cli"},
    "__init__": {"results", "api"},
}
"""Which rooms a room may know: arrows run down only."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def words_of_studies() -> set[str]:
    """Return the names of all axes, columns and metrics of the studies that are registered."""
    words: set[str] = set()
    for registered in studies.registered():
        study = studies.find(registered)
        words |= {axis.name for axis in study.axes} | {*study.columns} | {*study.metrics}
    return words


def identifiers(path: Path) -> Iterator[str]:
    """Yield every name and every text in a file, docstrings aside."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.keyword):
            continue  # a word of what is called
        for field in ("id", "attr", "arg", "name"):
            found = getattr(node, field, None)
            if isinstance(found, str):
                yield found
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def room(path: Path) -> str:
    return path.relative_to(ROOT / "sweeps").parts[0].removesuffix(".py")


def known_by(path: Path) -> set[str]:
    """Return the rooms that a file imports from, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [
                f"{node.module}.{alias.name}" if node.module == "sweeps" else str(node.module) for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        found |= {module.split(".")[1] for module in modules if module.startswith("sweeps.")}
    return found - {room(path)}


def test_the_words_of_studies_are_known() -> None:
    assert {"seed", "map_adv"} <= words_of_studies()


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_the_engine_names_no_axis_column_or_metric(path: Path) -> None:
    own = OWN_WORDS.keys() | WORDS_OF_ROOMS.get(path.parent.name, set())
    assert not (words_of_studies() - own) & set(identifiers(path))


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_room_knows_those_below_it_alone(path: Path) -> None:
    assert known_by(path) <= ARROWS[room(path)], "an arrow that runs up, or one to allow knowingly"


def test_the_arrows_form_no_circle() -> None:
    left = dict(ARROWS)
    while left:
        ends = [each for each, below in left.items() if not below & left.keys()]
        assert ends, f"a circle among {', '.join(left)}"
        for each in ends:
            del left[each]


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_has_few_entries(folder: Path) -> None:
    entries = [
        each for each in folder.iterdir() if each.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
    ]
    assert len(entries) <= MOST_ENTRIES


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_file_is_short(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES

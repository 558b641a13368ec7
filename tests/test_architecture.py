"""The walls of the house: who may know whom, how large a file and a folder may grow."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "sweeps").rglob("*.py"))
SCIENCE = sorted((ROOT / "robustprune").rglob("*.py"))
MODULES = ENGINE + SCIENCE + sorted((ROOT / "benchmarks").rglob("*.py")) + sorted((ROOT / "examples").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MOST_LINES = 400
MOST_ENTRIES = 14

TASKS = ("detection", "classification")
COMMON = {"core", "plugins", "staging", "attacks", "structures", "task", "training", "inference", "methods"}

ARROWS: dict[str, set[str]] = {
    "core": set(),
    "plugins": {"core"},
    "staging": {"core"},
    "attacks": {"core", "plugins"},
    "structures": {"core", "plugins"},
    "task": {"core", "structures"},
    "training": {"core", "plugins", "attacks", "structures", "task"},
    "inference": {"core", "attacks", "structures", "task"},
    "methods": {"core", "plugins", "structures", "task", "training", "inference"},
    **dict.fromkeys(TASKS, COMMON),
    "models": {"inference", *TASKS},
    "studies": COMMON | set(TASKS) | {"sweeps"},
    "cli": COMMON | set(TASKS),
    "__main__": {"cli"},
    "__init__": set(),
}
"""Which rooms of the science a room may import: arrows run down only, and no task knows another."""

DETECTION, CLASSIFICATION = (
    ("yolo", "bbox", "pgd", "darknet", "coco", "anchor", "detector"),
    ("cifar", "depgraph", "ddn"),
)
SCIENCE_WORDS = (*DETECTION, *CLASSIFICATION, "unprotected")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[list[str]]:
    """Yield every module that a file imports, wherever the import stands, by its parts."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = str(node.module).split(".")
            # `from robustprune import attacks` imports a room.
            yield from ([*module, alias.name] for alias in node.names) if len(module) == 1 else [module]


def room(path: Path) -> str:
    """Return the room of the science that a file is in."""
    first, *rest = path.relative_to(ROOT / "robustprune").parts
    return first if rest else Path(first).stem


def identifiers(path: Path) -> Iterator[str]:
    """Yield every name and every text in a file, comments and docstrings aside."""
    tree = ast.parse(path.read_bytes())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)  # type: ignore[attr-defined]
        for node in ast.walk(tree)
        if isinstance(node, documented) and is_described(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME:
            yield token.string


def is_described(node: ast.AST) -> bool:
    return ast.get_docstring(node) is not None  # type: ignore[arg-type]


def test_the_packages_were_found() -> None:
    assert len(ENGINE) > 10
    assert len(SCIENCE) > 10


@pytest.mark.parametrize("path", ENGINE, ids=name)
def test_the_engine_knows_no_science(path: Path) -> None:
    known = {"torch", "torchvision", "robustprune", "pycocotools", "captum", "torch_pruning", "adv_lib"}
    assert not known & {parts[0] for parts in imported(path)}
    assert not [word for word in identifiers(path) if any(known in word.lower() for known in SCIENCE_WORDS)]


@pytest.mark.parametrize("path", SCIENCE, ids=name)
def test_arrows_between_the_rooms_of_the_science_run_down(path: Path) -> None:
    own = room(path)
    arrows = {
        parts[1] if parts[0] == "robustprune" else parts[0]
        for parts in imported(path)
        if parts[0] in ("robustprune", "sweeps", "ray")
    }
    assert arrows - {own} <= ARROWS[own]


def test_every_room_is_on_the_plan_and_no_two_know_each_other() -> None:
    assert {room(path) for path in SCIENCE} == set(ARROWS)
    for one, known in ARROWS.items():
        assert not {other for other in known & ARROWS.keys() if one in ARROWS[other]}, one


def test_the_studies_know_nothing_of_the_engine_but_the_seam() -> None:
    for path in SCIENCE:
        assert {tuple(parts[:2]) for parts in imported(path) if parts[0] == "sweeps"} <= {("sweeps", "study")}, path


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_lives_there(path: Path) -> None:
    assert is_described(ast.parse(path.read_bytes()))


@pytest.mark.parametrize("path", MODULES + TESTS, ids=name)
def test_a_file_is_one_idea(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    folders = {path.parent for path in ENGINE + SCIENCE}
    for folder in folders:
        entries = [entry.name for entry in folder.iterdir() if entry.name != "__pycache__"]
        # A package's root also has what every package has.
        most = MOST_ENTRIES + 3 * (folder.parent == ROOT)
        assert len(entries) <= most, f"{name(folder)}: {sorted(entries)}"

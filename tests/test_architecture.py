"""The walls of the house: who may know whom, and how large a file may grow."""

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
MODULES = ENGINE + SCIENCE + sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MOST_LINES = 400
DETECTION, CLASSIFICATION = (
    ("yolo", "bbox", "pgd", "darknet", "coco", "anchor", "detector"),
    ("cifar", "depgraph", "ddn"),
)
SCIENCE_WORDS = (*DETECTION, *CLASSIFICATION, "unprotected")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level package of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


def identifiers(path: Path) -> Iterator[str]:
    """Yield every name and every text in a file, comments and docstrings aside."""
    tree = ast.parse(path.read_bytes())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and is_said(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME:
            yield token.string


def is_said(node: ast.AST) -> bool:
    return ast.get_docstring(node) is not None  # type: ignore[arg-type]


def test_the_packages_were_found() -> None:
    assert len(ENGINE) > 10
    assert len(SCIENCE) > 10


@pytest.mark.parametrize("path", ENGINE, ids=name)
def test_the_engine_knows_no_science(path: Path) -> None:
    assert not {"torch", "torchvision", "robustprune", "pycocotools", "captum", "torch_pruning", "adv_lib"} & set(
        imported(path)
    )
    assert not [word for word in identifiers(path) if any(known in word.lower() for known in SCIENCE_WORDS)]


@pytest.mark.parametrize("path", SCIENCE, ids=name)
def test_the_science_knows_no_engine(path: Path) -> None:
    """But for the seam, of which the studies are."""
    assert not ({"ray"} if "studies" in path.parts else {"ray", "sweeps"}) & set(imported(path))


@pytest.mark.parametrize(("task", "other"), [("detection", "classification"), ("classification", "detection")])
def test_a_task_knows_nothing_of_another(task: str, other: str) -> None:
    for path in (ROOT / "robustprune" / task).rglob("*.py"):
        modules = {
            str(node.module) for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.ImportFrom)
        }
        assert not {module for module in modules if module.split(".")[1:2] == [other]}, path


@pytest.mark.parametrize("path", [path for path in ENGINE if "engine" not in path.parts], ids=name)
def test_only_the_engine_folder_needs_ray_to_be_imported(path: Path) -> None:
    assert "ray" not in set(imported(path))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_lives_there(path: Path) -> None:
    assert is_said(ast.parse(path.read_bytes()))


@pytest.mark.parametrize("path", MODULES + TESTS, ids=name)
def test_a_file_is_one_idea(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")

"""Fingerprints of the code that makes results: whether today's code is that of then, comments and docstrings aside.

Keys know nothing of them: a comma in a file shall not make weeks of results missing. What changed is said instead.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeps.planning.keys import StageKey
from sweeps.planning.trials import Row
from sweeps.spec import answers
from sweeps.study import Cell, Study

Code = Mapping[str, str]
"""Fingerprints by label, such as a method's name."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_of(study: Study, stage: str, cell: Cell) -> dict[str, str]:
    """Return the fingerprints of the code that makes a stage's result today, without that of what it reads."""
    return {label: fingerprint(tuple(modules)) for label, modules in answers.code(study, stage, cell).items()}


@functools.lru_cache(maxsize=1024)
def fingerprint(modules: tuple[str, ...]) -> str:
    """Return a fingerprint of the source of modules."""
    parts = [f"{module}\n{_source(module)}" for module in sorted(modules)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def merged(own: Code, read: Sequence[Code]) -> dict[str, str]:
    """Return the code of a result and of all it was made from. Where they differ in a label, what was read counts:
    a result of today's code that was made from one of older code is no result of today's code.
    """
    everything = dict(own)
    for code in read:
        for label, found in code.items():
            if everything.get(label) in (None, own.get(label)):
                everything[label] = found
    return everything


def today(study: Study, cell: Cell, stages: Sequence[StageKey]) -> dict[str, dict[str, str]]:
    """Return today's code of stages of a cell, each with that of what it reads, by key."""
    found: dict[str, dict[str, str]] = {}
    for stage in stages:
        read = [found[key] for key in stage.reads if key in found]
        found[stage.key] = merged(code_of(study, stage.name, cell), read)
    return found


def row_today(study: Study, row: Row) -> dict[str, str]:
    """Return today's code of a row, with that of all it is made from."""
    found = today(study, row.at, row.stages)
    return merged(code_of(study, study.stages[-1], row.at), [found[key] for key in sorted(row.read)])


def changed(recorded: Code | None, today: Code) -> set[str]:
    """Return the labels under which the code of a result differs from today's; none where it was not recorded."""
    if not recorded:
        return set()
    return {label for label, now in today.items() if recorded.get(label, now) != now}


def outdated(recorded: Code | None, today: Code, labels: frozenset[str]) -> bool:
    """Say whether a result is to be computed again for `labels`: it is not known to be of today's code."""
    return any((recorded or {}).get(label) != now for label, now in today.items() if label in labels)


@functools.lru_cache(maxsize=1024)
def _source(module: str) -> str:
    """Return what a module does, as text without comments, docstrings and layout; nothing where it has no source."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return ""
    text = Path(found.origin).read_bytes()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return hashlib.sha256(text).hexdigest()
    for node in ast.walk(tree):
        # Texts that stand alone say something and do nothing: docstrings, and those below a name.
        body = getattr(node, "body", None)
        if isinstance(node, _DOCUMENTED) and isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

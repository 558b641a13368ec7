"""What a study answers is looked at before anything trains, and every mistake said in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from sweeps import running
from sweeps.errors import SpecError
from sweeps.planning.work import ahead
from sweeps.spec import recorded
from sweeps.spec.answers import check_answers, data_tables
from sweeps.storage import Store
from sweeps.study import DataTable
from tests.support import toy_rows
from tests.support.toy_study import ToySettings, ToyStudy
from tests.sweeps.spec.test_conformance import parse

BASELINE = {"kind": "none", "seed": 0, "part": 0.0}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "found None, expected a list of cells"),
        ((BASELINE,), "expected a list of cells"),
        ([5], "found 5, expected a value for each of kind, seed, part"),
        ([{"kind": "none"}], "found {'kind': 'none'}, expected a value for each of kind, seed, part"),
        ([BASELINE | {"more": 1}], "expected a value for each of kind, seed, part"),
        ([BASELINE | {"seed": "x"}], "found 'x', expected int for seed"),
        ([BASELINE | {"seed": 2**63}], "found 9223372036854775808, expected int for seed"),
        ([BASELINE | {"part": float("nan")}], "found nan, expected float for part"),
        ([BASELINE, BASELINE], "expected cells that are neither in the grid nor there twice"),
        ([BASELINE | {"kind": "a"}], "expected cells that are neither in the grid nor there twice"),
    ],
)
def test_baselines_are_cells(answer: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError) as caught:
        parse(monkeypatch, baselines=lambda study, cells: answer)
    assert str(caught.value).startswith("small.yaml: study: Small.baselines: found ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "name", ["results", "cache", "outcome", "doses_seen", "_hidden", "a/b", "spec.yaml", "dose", "host", "score_s", 5]
)
def test_files_have_a_name_of_their_own(name: Any) -> None:
    class Clashing(ToyStudy):
        files = {name: (".txt",)}  # noqa: RUF012

    with pytest.raises(SpecError, match="study: Clashing.files has .*, expected a word that is neither"):
        check_answers(Clashing(ToySettings()), toy_rows.load().cells)


@pytest.mark.parametrize("answer", [None, "abc", {"notes": ".txt"}, {"notes": ()}, {"notes": (5,)}, {"notes": ("/x",)}])
def test_files_have_endings(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"small.yaml: study: Small.files: found .*, expected a (mapping|tuple) "):
        parse(monkeypatch, files=answer)


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        ("check", None, "a list of sentences"),
        ("check", "odd", "a list of sentences"),
        ("remarks", [5], "a list of sentences"),
        ("replication", 5, "a sentence or None"),
        ("code", None, "a mapping from label to names of modules"),
        ("code", {"study": "json"}, "a mapping from label to names of modules"),
        ("workloads", [5], "a list of Workload"),
    ],
)
def test_what_is_said_of_a_grid_is_said_as_expected(
    method: str, answer: Any, expected: str, monkeypatch: pytest.MonkeyPatch, store: Store, console: Console
) -> None:
    loaded = parse(monkeypatch, **{method: lambda *_: answer})
    with pytest.raises(SpecError) as caught:
        ahead(loaded.study, running.prepare(loaded, store, console))
    assert str(caught.value).endswith(f"study: Small.{method}: found {answer!r}, expected {expected}") or (
        method == "code" and f"expected {expected}" in str(caught.value)
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "method",
    ["check", "remarks", "replication", "code", "workloads", "stage", "baselines", "files", "facts", "__init__"],
)
def test_what_a_study_raises_when_it_is_asked_is_one_sentence(
    method: str, monkeypatch: pytest.MonkeyPatch, store: Store, console: Console
) -> None:
    def broken(*_: Any) -> Any:
        return json.JSONDecoder().raw_decode({"a": 1}["b"])  # type: ignore[arg-type]

    line = broken.__code__.co_firstlineno + 1

    def ask() -> None:
        loaded = parse(monkeypatch, **{method: property(broken) if method == "files" else broken})
        ahead(loaded.study, running.prepare(loaded, store, console))
        recorded.write(loaded, store)

    with pytest.raises(SpecError) as caught:
        ask()
    assert f"study: Small.{method}: raised KeyError: 'b' ({__file__}:{line}), expected " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_studys_own_sentence_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, store: Store, console: Console) -> None:
    def check(*_: Any) -> Any:
        raise ValueError("images: found none, expected some")

    with pytest.raises(SpecError) as caught:
        running.prepare(parse(monkeypatch, check=check), store, console)
    assert str(caught.value) == "small: images: found none, expected some"


class Odd(BaseModel):
    words: set[str] = set()


class Nested(BaseModel):
    odd: dict[str, Any] = {"words": frozenset({"a"})}


class Large(BaseModel):
    steps: list[int] = [1, 2**63]


class Bytes(BaseModel):
    mark: bytes = b"\xff"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Odd, "words: found a set, which has no order, expected the study to take a tuple here"),
        (Nested, "odd.words: found a frozenset, which has no order"),
        (Large, "steps[1]: found 9223372036854775808, expected a whole number of at most 64 bits"),
        (Bytes, "Bytes: "),
    ],
)
def test_settings_are_what_keys_and_columns_can_be_made_of(
    settings: type[BaseModel], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError) as caught:
        parse(monkeypatch, Settings=settings)
    assert str(caught.value).startswith(f"small.yaml: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", ["grid.seed=[9223372036854775808]", "grid.seed=[-9223372036854775809]", f"grid.dose=[1{'0' * 400}]"]
)
def test_whole_numbers_that_no_column_holds_are_refused(change: str) -> None:
    with pytest.raises(SpecError, match=r"grid\.\w+\[0\]: found -?\d+, expected a whole number of at most 64 bits"):
        toy_rows.load(change)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "found None, expected a list of DataTable"),
        (["images: 3"], "expected a list of DataTable"),
        (
            [DataTable("data", ["", "images"], [["train", 3, 4]])],
            "found ['train', 3, 4], expected an entry for each of",
        ),
    ],
)
def test_data_are_tables(answer: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parse(monkeypatch, data=lambda study, cells: answer)
    with pytest.raises(SpecError) as caught:
        data_tables(parsed.study, parsed.cells)
    assert str(caught.value).startswith("study: Small.data: found ")
    assert sentence in str(caught.value)

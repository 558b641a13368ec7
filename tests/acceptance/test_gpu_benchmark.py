"""`python -m benchmarks.gpu`: every part works on a CPU, and no part takes the others along."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import process
from benchmarks.gpu.figures import ON_CPU, Bench, Part, Result
from benchmarks.gpu.memory import largest_batch
from benchmarks.gpu.tables import as_json, as_markdown


def part(name: str, *, most: float = 60.0) -> Part:
    return Part(name, f"tests.support.gpu_parts:{name}", least=0.0, most=most)


def run(*parts: Part, budget: float = 120.0) -> list[Result]:
    return gpu.run(parts, device="cpu", sizes=ON_CPU, budget=budget)


def test_parts_share_a_process_until_one_of_them_may_have_harmed_it() -> None:
    results = run(part("good"), part("good"), part("fails"), part("good"), part("dies"), part("good"))
    assert [each.state for each in results] == ["done", "done", "failed", "done", "failed", "done"]
    first, second, failed, third, died, fourth = results
    assert first.figures == second.figures
    assert len({each.figures for each in (first, third, fourth)}) == 3
    assert failed.cause.startswith("RuntimeError: CUDA error: an illegal memory access was encountered")
    assert "(gpu_parts.py:" in failed.cause
    assert died.cause == "the process ended with status 7"
    assert [figure.name for figure in (*failed.figures, *died.figures)] == ["first", "first"]


def test_what_takes_too_long_is_cut_short_and_what_there_is_no_time_for_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    start = time.monotonic()
    results = run(part("good"), part("hangs", most=0.1), part("good"), part("long", most=0.1), part("good"), budget=90)
    assert [each.state for each in results] == ["done", "cut short", "done", "cut short", "done"]
    assert time.monotonic() - start < 90
    assert results[3].figures
    (late,) = run(part("good"), budget=gpu.RESERVE)
    assert (late.state, late.figures) == ("not run", ())
    assert late.cause.startswith("0 s were left of 3")


def test_a_failure_and_a_figure_that_must_not_be_are_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, status in (("good", 0), ("wrong", 1), ("fails", 1)):
        monkeypatch.setattr(gpu, "PARTS", (part(name),))
        assert gpu.main(["--device", "cpu", "--format", "json"]) == status
        assert json.loads(capsys.readouterr().out)["parts"][0]["part"] == name


@pytest.mark.parametrize(
    ("room", "start", "found"),
    [(37, 8, (36, 40)), (3, 8, (3, 4)), (0, 4, (0, 1)), (5000, 8, (1024, None)), (1024, 16, (1024, None))],
)
def test_the_largest_batch_is_found_to_an_eighth(room: int, start: int, found: tuple[int, int | None]) -> None:
    bench = Bench("cpu", ON_CPU)
    assert largest_batch(lambda count: count <= room, start=start, most=1024, bench=bench) == found


def test_the_search_for_a_batch_ends_with_its_time() -> None:
    assert largest_batch(lambda count: True, start=1, most=1024, bench=Bench("cpu", ON_CPU, until=0)) == (0, None)


@pytest.mark.slow
def test_parts_work_on_a_cpu() -> None:
    # To compile takes minutes of a CPU, and a sweep with Ray a minute: those two are left to who runs the benchmark.
    parts = [each for each in gpu.PARTS if each.name not in ("compiled step", "sweep")]
    results = gpu.run(parts, device="cpu", sizes=ON_CPU, budget=1800)
    assert {each.part: (each.state, each.cause) for each in results} == dict.fromkeys(
        (each.name for each in parts), ("done", "")
    )
    wrong = [(each.part, figure) for each in results for figure in each.figures if figure.holds is False]
    assert not wrong
    assert all(each.figures for each in results)
    assert len(json.loads(as_json(results))["parts"]) == len(parts)
    assert as_markdown(results).count("\n") > sum(len(each.figures) for each in results)

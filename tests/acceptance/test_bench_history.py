"""`benchmarks.history`: what counts as a slowdown, which files are compared, what is in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.history import __main__ as history
from benchmarks.history.comparison import LEAST, changes, lost
from benchmarks.history.record import FOLDER, Figure, Record, before, figures, read
from benchmarks.history.short import SHORT, Ratio, Short, ratios
from robustprune.core.errors import InputError


def record(day: int = 1, *, processor: str = "one", cores: int = 2, **measured: Figure) -> Record:
    return Record(
        commit=f"{day:040x}",
        date=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day),
        processor=processor,
        cores=cores,
        versions={"torch": "2"},
        figures=measured,
    )


def figure(*values: float, controls: tuple[float, ...] | None = None) -> Figure:
    return Figure(values=values, controls=controls)


@pytest.mark.parametrize(
    ("then", "now", "slower", "faster"),
    [
        (figure(2, 2, 2), figure(2, 2, 2), False, False),
        (figure(2, 2, 2), figure(1.91, 1.91, 1.91), False, False),  # less than 5%
        (figure(2, 2, 2), figure(1.89, 1.89, 1.89), True, False),
        (figure(2, 2, 2), figure(2.11, 2.11, 2.11), False, True),
        (figure(1.8, 2, 2.2), figure(1.7, 1.7, 1.7), True, False),  # 15% lower, 10% noise
        (figure(1.8, 2, 2.2), figure(1.53, 1.7, 1.87), False, False),  # 15% lower, 20% noise
        (figure(2, 2, 2, controls=(1, 1.2, 1)), figure(1.7, 1.7, 1.7), False, False),  # equals were 20% apart
        (figure(2, 2, 2, controls=(1, 1.02, 1)), figure(1.7, 1.7, 1.7), True, False),
    ],
)
def test_what_falls_beyond_the_noise_is_slower(then: Figure, now: Figure, slower: bool, faster: bool) -> None:
    (change,) = changes(record(1, a=then), record(2, a=now))
    assert (change.is_slower, change.is_faster) == (slower, faster)
    assert str(change).startswith("SLOWER" if slower else "faster" if faster else "as was")
    assert change.noise >= LEAST


def test_only_figures_that_both_have_are_compared_and_others_are_named() -> None:
    then, now = record(1, a=figure(1), b=figure(1)), record(2, a=figure(1), c=figure(1))
    assert [change.name for change in changes(then, now)] == ["a"]
    assert lost(then, now) == ["b"]


def test_other_machines_are_not_compared() -> None:
    now = record(9)
    others = [record(1), record(2), record(3, processor="other"), record(4, cores=8), record(10)]
    assert before(others, now) == others[1]
    assert before(others[2:], now) is None
    for other in others[2:4]:
        with pytest.raises(ValueError, match="is not"):
            changes(other, now)


def test_a_commit_is_not_compared_with_itself() -> None:
    again = record(1, a=figure(1))
    assert before([again], again.model_copy(update={"date": again.date + timedelta(hours=1)})) is None


def test_a_slowdown_is_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    then = record(1, a=figure(2), b=figure(2))
    assert history.compared([then], record(2, a=figure(1.5), b=figure(2))) == 1
    assert "SLOWER  a: 2 before, 1.5 now (-25%), beyond the noise of 5%." in capsys.readouterr().out
    assert history.compared([then], record(2, a=figure(1.99), b=figure(2.5))) == 0
    assert history.compared([], record(2, a=figure(1))) == 0
    assert history.compared([], record(2).model_copy(update={"failed": {"data": "it ended"}})) == 1


def test_files_are_what_was_written_in_the_order_of_their_dates(tmp_path: Path) -> None:
    written = [record(2, processor="A b/c (7)", x=figure(1, 2, controls=(1, 1))), record(1, x=figure(3))]
    names = {each.write(tmp_path).name for each in written}
    assert names == {"000000000000-a-b-c-7.json", "000000000000-one.json"}
    assert read(tmp_path) == written[::-1]


@pytest.mark.parametrize(
    ("field", "value"), [("figures", {"a": {"values": []}}), ("commit", "main"), ("cores", 0), ("other", 1)]
)
def test_a_wrong_file_is_told_in_a_sentence(field: str, value: Any, tmp_path: Path) -> None:
    path = record(1).write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match=r"\.json: .*, expected figures"):
        read(tmp_path)


def test_the_files_in_the_repository_can_be_read() -> None:
    assert {each.version for each in read(FOLDER)} <= {1}


def test_ratios_are_kept_by_row_and_inverted_where_less_is_better() -> None:
    short = Short("some", (), ratios=("speedup",), inverse=("waits",), rows=("structure", "ratio"), control="again")
    row = {"structure": "filters", "ratio": 0.5, "speedup": 3, "waits": 4, "again": 1.01, "ms": 17}
    expected = {"some filters 0.5: speedup": Ratio(3, 1.01), "some filters 0.5: 1/waits": Ratio(0.25, 1.01)}
    assert ratios(short, [row]) == expected
    both = figures([expected, {"some filters 0.5: speedup": Ratio(5, 0.9)}])
    assert both["some filters 0.5: speedup"] == Figure(values=(3, 5), controls=(1.01, 0.9))
    assert both["some filters 0.5: 1/waits"].values == (0.25,)


def test_short_benchmarks_exist() -> None:
    root = Path(history.__file__).parents[1]
    assert all((root / f"{short.benchmark}.py").exists() for short in SHORT)

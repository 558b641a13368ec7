"""Published values are read from a small CSV file, or refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from sweeps.errors import SweepError
from sweeps.reporting.page.sections import against
from sweeps.reporting.reports import write_report
from sweeps.results.literature import Published, load_published
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Sweeps, assert_refused
from tests.support.roles import ROLES

KNOWN = ["map_adv", "speedup", "inference_ms"]


def load(source: str, named: dict[str, str] | None = None, roles: Roles = ROLES) -> Published:
    return load_published(source, roles=roles, known=KNOWN, named=named)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a $table.csv"


def test_the_reference_study_is_bundled() -> None:
    liu = load("liu2024")
    assert (liu.name, liu.metrics) == ("liu2024", ["map_adv", "inference_ms", "speedup"])
    assert "reference study" in liu.remark
    at_99 = liu.of({"structure": "unstructured", "initializer": "deeplift", "colour": "rgb"}, "inference_ms")
    assert dict(zip(at_99["ratio"], at_99["inference_ms"], strict=True)) == {0.0: 119.0, 0.99: 43.0}
    hydra = liu.of({"structure": "structured", "initializer": "hydra", "colour": "rgb"}, "speedup")
    assert hydra["speedup"].tolist() == [1.1, 1.5, 2.3, 3.2, 4.3, 4.7, 5.0, 5.4]
    assert liu.of({"structure": "structured", "initializer": "deeplift", "colour": "greyscale"}, "map_adv").empty


def test_a_key_that_is_missing_or_empty_stands_for_every_level(file: Path) -> None:
    file.write_text("# One.\n# Two.\nstructure,epsilon,ratio,map_adv\nfine,0.050,0.5,0.1\n,,0.9,0.2\n")
    axes = ("structure", "epsilon", "seed", "ratio")
    table = load(str(file), roles=Roles(axes, "seed", "ratio"))
    assert table.remark == "One. Two."
    assert table.of({"structure": "fine", "epsilon": 0.05}, "map_adv")["map_adv"].tolist() == [0.1, 0.2]
    assert table.of({"structure": "fine", "epsilon": 0.05}, "map_adv", exactly=True)["map_adv"].tolist() == [0.1]
    assert table.of({"structure": "coarse", "epsilon": 0.05}, "map_adv")["map_adv"].tolist() == [0.2]


def test_a_column_of_another_name_can_be_named(file: Path) -> None:
    file.write_text("ratio,seed,map\n0,0,0.4\n0,1,0.5\n")
    assert load(str(file), {"map_adv": "map"}).values["map_adv"].tolist() == [0.4, 0.5]


def test_only_an_empty_key_stands_for_every_level_and_a_metric_need_not_be_known(file: Path) -> None:
    file.write_text("colour,ratio,map_adv\nNone,0,1\nNA,0,NA\nnull,0.5,\n,0.9,4\n")
    values = load(str(file)).values
    assert values["colour"].tolist() == ["None", "NA", "null", ""]
    assert values["map_adv"].isna().tolist() == [False, True, True, False]


def test_a_spreadsheets_mark_of_utf_8_is_no_part_of_the_first_column(file: Path) -> None:
    file.write_text("ratio,map_adv\n0,1\n", encoding="utf-8-sig")
    assert load(str(file)).values["ratio"].tolist() == [0.0]


def test_further_columns_beside_all_keys_are_welcome(file: Path) -> None:
    file.write_text("seed,seeds,ratio,rate,map_adv\n0,3,0,0.1,1\n")
    assert load(str(file)).metrics == ["map_adv"]


@pytest.mark.parametrize(
    ("text", "named", "message"),
    [
        (
            "ratio,map\n0,0.4\n",
            {},
            r"found map, expected a column that the rows have, such as map_adv; `--column map_adv=",
        ),
        ("map_adv\n0.4\n", {}, "found no column 'ratio', expected it among the keys"),
        ("ratio,map_adv\n0,0.4\n,0.3\n", {}, "column ratio: found a line without a number"),
        ("ratio,map_adv\n0,much\n", {}, "column map_adv: found 'much', expected a number"),
        (
            "ratio,colour,map_adv\n0,rgb,1\n0,rgb,2\n",
            {},
            "found two values of map_adv for colour rgb, ratio 0.0, expected one",
        ),
        ("ratio,map\n0,1\n", {"map_adv": "mpa"}, "found no column 'mpa', expected one of ratio, map"),
        (
            "ratio,map\n0,1\n",
            {"map_avd": "map"},
            "--column map_avd=map: found no 'map_avd' in the rows; did you mean 'map_adv'",
        ),
        ("ratio,map_adv\n0,inf\n", {}, "column map_adv: found 'inf', expected a number"),
        ("ratio,map_adv\n0,1\n0.5,1,2\n", {}, "table.csv: line 3: found 3 fields, expected at most 2"),
        ("# One.\nratio,map_adv\n0,0.1,2\n", {}, "table.csv: line 3: found 3 fields, expected at most 2"),
        ("ratio,initialiser,map_adv\n0,hydra,1\n", {}, "found a column 'initialiser', .* did you mean 'initializer'"),
        ("ratio,color,map_adv\n0,rgb,1\n", {}, "found a column 'color', .* did you mean 'colour'"),
        ("ratio,Seed,map_adv\n0,1,1\n", {}, "found a column 'Seed', .* did you mean 'seed'"),
        ("ratio,map,map_adv\n0,1,1\n", {"map_adv": "map"}, "--column map_adv=map: found a column 'map_adv' in .* too"),
        ("ratio,map\n0,1\n", {"map_adv": "ratio"}, "--column map_adv=ratio: found the key 'ratio'"),
        ("ratio,map_adv\n", {}, "found no lines, expected published values"),
        ("", {}, "cannot be read as CSV"),
        ('ratio,map_adv\n0,"1\n', {}, "cannot be read as CSV"),
    ],
)
def test_a_wrong_file(text: str, named: dict[str, str], message: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(SweepError, match=message) as refused:
        load(str(file), named)
    assert "\n" not in str(refused.value)


def test_no_such_values(file: Path) -> None:
    with pytest.raises(
        SweepError, match="found neither a file nor published values of that name.*did you mean 'liu2024'"
    ):
        load("liu2042")
    with pytest.raises(SweepError, match="Is a directory, expected a CSV file"):
        load(str(file.parent))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SweepError, match="no UTF-8 text"):
        load(str(file))


def test_the_report_shows_them_beside_the_sweep(sweeps: Sweeps, store: Store, file: Path) -> None:
    toy_rows.publish(store, toy_rows.load())
    toy = store.describe("toy")
    file.write_text("# <b>Some</b> paper.\nshape,dose,result\nround,0,0.30\n,0.5,0.25\noval,0,0.1\n")
    ran = sweeps("report", toy, "--against", str(file), "--column", "outcome=result")
    assert ran.status == 0
    assert f"{file}: 1 of 3 lines are of no configuration of toy\n" in ran.output
    assert re.search(r"/report/outcome_relative_against_a-table-\w{8}\.svg\n", ran.output)
    html = Path(toy, "report", "report.html").read_text()
    assert 'href="#published">Beside a $table</a>' in html
    assert "&lt;b&gt;Some&lt;/b&gt; paper." in html


def test_only_what_is_wrong_with_the_values_is_the_users_mistake(
    store: Store, file: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a figure of -1 inches")

    toy_rows.publish(store, toy_rows.load())
    file.write_text("shape,dose,outcome\nround,0,0.30\n")
    monkeypatch.setattr(against, "panels", fail)
    with pytest.raises(ValueError, match="-1 inches"):
        write_report(store.describe("toy"), console, against=str(file))


def test_what_cannot_be_put_beside_a_sweep(sweeps: Sweeps, store: Store, file: Path) -> None:
    toy_rows.publish(store, toy_rows.load())
    toy = store.describe("toy")
    file.write_text("shape,dose,outcome\nsquare,0,0.30\n")
    assert_refused(sweeps("report", toy, "--against", str(file)), "found no value of a configuration of the sweep")
    assert_refused(sweeps("report", toy, "--against", "liu2042"), "did you mean 'liu2024'?")
    assert_refused(
        sweeps("report", toy, "--against", "liu2024"), "expected a column that the rows have, such as outcome"
    )
    assert not Path(toy, "report").exists()

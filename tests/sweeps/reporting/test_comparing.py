"""Sweeps of one study are compared on a page of the first; others are refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from sweeps.errors import SweepError
from sweeps.reporting.comparing import write_comparison
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Sweeps, assert_refused
from tests.support.toy_study import ToyStudy
from tests.sweeps.conftest import text


class AnotherStudy(ToyStudy):
    pass


@pytest.fixture
def toy(store: Store) -> str:
    """Return where a finished toy sweep is."""
    toy_rows.publish(store, toy_rows.load())
    return store.describe("toy")


def publish(store: Store, *changes: str) -> str:
    loaded = toy_rows.load(*changes)
    toy_rows.publish(store, loaded)
    return store.describe(loaded.name)


def test_the_page_is_written_beside_the_first_ones_report(store: Store, toy: str, console: Console) -> None:
    others = [publish(store, "name=other", "offset=2.5", "grid.seed=[0, 1, 2]"), publish(store, "name=third")]
    write_comparison([toy, *others], console)
    page = Path(toy, "report", "compared-with-other-and-third.html")
    assert str(page) in text(console)
    assert page.with_name("compared-with-other-and-third_outcome.svg").exists()
    html = page.read_text()
    assert "<title>toy beside other, third</title>" in html
    differing = re.findall(r'<th scope="row">([\w.]+)</th>', html[html.index("settings") : html.index('id="results"')])
    assert differing[:2] == ["grid.seed", "offset"]
    assert "24 cells are in both sweeps, 24 of them computed from the same inputs" in html
    assert "paired by seed" in html


def test_sweeps_of_one_name_are_told_apart_by_their_place(
    store: Store, toy: str, tmp_path: Path, console: Console
) -> None:
    other = publish(Store(str(tmp_path / "<elsewhere>")))
    write_comparison([toy, other], console)
    (page,) = Path(toy, "report").glob("compared-with-toy-*.html")
    html = page.read_text()
    assert "elsewhere&gt;/toy" in html
    assert "<elsewhere>" not in html


def test_pages_on_different_sweeps_do_not_overwrite_each_other(
    store: Store, toy: str, tmp_path: Path, console: Console
) -> None:
    for storage in ("here", "there"):
        write_comparison([toy, publish(Store(str(tmp_path / storage)))], console)
    assert len(list(Path(toy, "report").glob("*.html"))) == 2


def test_long_names_are_no_trouble(store: Store, toy: str, console: Console) -> None:
    long = [publish(store, f"name={letter * 90}") for letter in "abc"]
    write_comparison([toy, *long], console)
    assert len(list(Path(toy, "report").glob("compared-with-aaa*.html"))) == 1


def test_what_cannot_be_compared(store: Store, toy: str, console: Console) -> None:
    round_ones = publish(store, "name=round", "grid.shape=[round]")
    flat_ones = publish(store, "name=flat", "grid.shape=[flat]")
    with pytest.raises(
        SweepError, match=r"flat: found no finished rows of the same shape, method, dose as in .*round, "
    ):
        write_comparison([round_ones, flat_ones], console)
    with pytest.raises(SweepError, match="toy/: found the same sweep twice"):
        write_comparison([toy, f"{toy}/"], console)
    with pytest.raises(SweepError, match=r"nowhere: found no spec.yaml there"):
        write_comparison([toy, f"{toy}/../nowhere"], console)
    another = publish(store, "name=another", f"study={__name__}:AnotherStudy")
    with pytest.raises(
        SweepError, match="another: found the study '.*AnotherStudy', expected 'tests.toy_study:ToyStudy'"
    ):
        write_comparison([toy, another], console)
    assert not Path(toy, "report").exists()


def test_a_mistake_is_one_sentence_and_exit_status_2(sweeps: Sweeps, toy: str) -> None:
    assert_refused(sweeps("report", toy, f"{toy}/."), "toy/.: found the same sweep twice, expected different ones")
    assert_refused(sweeps("report", toy, "runs/gone"), "runs/gone: found no spec.yaml there")
    for wrong in (("a", "b", "--against", "x"), ("a", "--column", "x=y"), ("a", "--against", "x", "--column", "y")):
        ran = sweeps("report", *wrong)
        assert ran.status == 2
        assert ran.errors.splitlines()[-1].startswith("Error: --")
    assert not Path(toy, "report").exists()

from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from sweeps.reporting.page.sections.against import against_section, beside
from sweeps.results.literature import Published, load_published
from sweeps.statistics.roles import Roles

HOSTILE = "<script>alert('a')</script> & $$title"
AXES = ("structure", "method", "seed", "sparsity")
ROLES = Roles(AXES, "seed", "sparsity")

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Accuracy .8 at sparsity 0 and .4 at .5, a little more for the second seed; twice as fast when pruned."""
    rows = pd.DataFrame(product(("fine", "coarse"), ("l1", HOSTILE), (0, 1), (0.0, 0.5)), columns=list(AXES))
    rows["accuracy"] = 0.8 - 0.8 * rows["sparsity"] + 0.02 * rows["seed"]
    rows["speed"] = 1 + 2 * rows["sparsity"]
    return rows


@pytest.fixture
def baseline() -> pd.DataFrame:
    return pd.DataFrame([("none", "none", 0, 0.0, 0.3, 1.0)], columns=[*AXES, "accuracy", "speed"])


def published(text: str, folder: Path) -> Published:
    (folder / "paper.csv").write_text(text)
    return load_published(str(folder / "paper.csv"), roles=ROLES, known=["accuracy", "speed"])


def test_both_sides_have_means_and_what_is_left_of_ratio_0(
    rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path
) -> None:
    text = "structure,method,seed,sparsity,accuracy\nfine,l1,0,0,0.5\nfine,l1,1,0,0.3\nfine,l1,0,0.9,0.1\n"
    found = beside(rows, baseline, published(text, tmp_path), metric="accuracy", roles=ROLES)
    assert set(found["configuration"]) == {"fine · l1"}
    at = found.set_index("sparsity")
    assert at["ours"].dropna().to_dict() == pytest.approx({0.0: 0.81, 0.5: 0.41})
    assert at["published"].dropna().to_dict() == pytest.approx({0.0: 0.4, 0.9: 0.1})
    assert at["published_sd"][0.0] == pytest.approx(0.02**0.5)
    assert at["ours_relative"].dropna().to_dict() == pytest.approx({0.0: 1.0, 0.5: 0.41 / 0.81})
    assert at["published_relative"].dropna().to_dict() == pytest.approx({0.0: 1.0, 0.9: 0.25})


def test_a_value_for_every_level_is_none_for_the_baseline(
    rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path
) -> None:
    paper = published("structure,sparsity,speed\n,0,1\ncoarse,0.5,3\n", tmp_path)
    found = beside(rows, baseline, paper, metric="speed", roles=ROLES)
    assert len(set(found["configuration"])) == 4
    assert not found["baseline"].any()
    coarse = found[found["configuration"].str.startswith("coarse") & (found["sparsity"] == 0.5)]
    assert coarse["published"].tolist() == [3.0, 3.0]


def test_the_baseline_is_told_by_its_own_levels(rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path) -> None:
    paper = published("structure,method,sparsity,accuracy\nnone,none,0,0.2\n", tmp_path)
    (line,) = beside(rows, baseline, paper, metric="accuracy", roles=ROLES).to_dict("records")
    assert (line["configuration"], line["baseline"]) == ("baseline", True)
    assert (line["ours"], line["published"]) == (0.3, 0.2)
    assert pd.isna(line["ours_relative"])


def test_two_values_for_one_cell_are_refused(rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path) -> None:
    paper = published("structure,method,sparsity,accuracy\nfine,,0.5,0.2\nfine,l1,0.5,0.3\n", tmp_path)
    with pytest.raises(ValueError, match="two values of accuracy for fine · l1 at one sparsity"):
        beside(rows, baseline, paper, metric="accuracy", roles=ROLES)


def test_the_section_shows_them_as_text(rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path) -> None:
    text = f'# Taken from {HOSTILE}\nmethod,sparsity,accuracy,speed\n"{HOSTILE}",0,0.9,\n,0.5,0.3,2.5\n'
    section, files = against_section(
        tmp_path / "report",
        name=HOSTILE,
        rows=rows,
        baseline=baseline,
        published=published(text, tmp_path),
        metrics={"accuracy": HOSTILE},
        roles=ROLES,
    )
    assert "<script>" not in section.content
    assert section.content.count(f"<h3>{'&lt;script&gt;'}") == 1
    assert section.content.count("<figure>") == 3  # of speed, nothing relative is known
    stems = ["accuracy_against_paper", "accuracy_relative_against_paper", "speed_against_paper"]
    assert [file.name for file in files] == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert "+0.110" in section.content  # .41 in the sweep, .3 published
    assert "-0.090" in section.content  # .81 in the sweep, .9 published


def test_nothing_to_compare_is_said(rows: pd.DataFrame, baseline: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no value of a configuration of the sweep"):
        against_section(
            tmp_path,
            name="toy",
            rows=rows,
            baseline=baseline,
            published=published("structure,sparsity,accuracy\nround,0,1\n", tmp_path),
            metrics={},
            roles=ROLES,
        )

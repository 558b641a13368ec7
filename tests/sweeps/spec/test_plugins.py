"""Packages that add studies and specs: a broken one is named where it is asked for, and does no harm to others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning import plan
from sweeps.spec import studies
from tests.support.command_line import Sweeps, assert_refused
from tests.support.toy_study import SPEC

ENTRY_POINTS = """\
[sweeps.studies]
theirs = tests.toy_study:ToyStudy
broken-study = a_package_of_someones.missing:Study
leaving-study = a_package_of_someones.leaving:Study

[sweeps.specs]
theirs = a_package_of_someones
broken-specs = a_package_of_someones.no_such_folder
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution with a study and a spec, and one broken entry point of each sort."""
    package = tmp_path / "a_package_of_someones"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "theirs.yaml").write_text(SPEC.replace("tests.toy_study:ToyStudy", "theirs"))
    (package / "leaving.py").write_text("raise SystemExit(3)")
    (package / "no-spec.yaml").write_text("[")
    information = tmp_path / "a_package_of_someones-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-package-of-someones\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield information
    studies._loaded_from.clear()
    sys.modules.pop("a_package_of_someones", None)


def test_a_study_and_a_spec_of_someone_elses_are_there(plugin: Path) -> None:
    assert len(plan.trials(spec.load("theirs"))) == 9


def test_a_broken_study_is_named_where_it_is_asked_for(plugin: Path, sweeps: Sweeps, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(SPEC.replace("tests.toy_study:ToyStudy", "broken-study"))
    assert_refused(
        sweeps("plan", str(tmp_path / "broken.yaml")),
        "study: 'broken-study' of a-package-of-someones 1.2 cannot be loaded from a_package_of_someones.missing:Study: "
        "ModuleNotFoundError: No module named 'a_package_of_someones.missing'",
    )


def test_what_is_broken_is_listed_beside_the_specs(plugin: Path, sweeps: Sweeps) -> None:
    ran = sweeps("specs")
    assert ran.status == 0
    assert "theirs" in ran.output
    assert "demo" in ran.output
    assert (
        "specs 'broken-specs' of a-package-of-someones 1.2 cannot be read from a_package_of_someones.no_s" in ran.errors
    )
    assert "study: 'broken-study' of a-package-of-someones 1.2 cannot be loaded" in ran.errors
    assert "study: 'leaving-study' of a-package-of-someones 1.2 cannot be loaded" in ran.errors
    assert "no-spec" in ran.output
    assert "cannot be read: no-spec, line 1, column 2: not valid YAML" in ran.output


def test_who_asks_for_a_spec_that_is_not_there_hears_of_broken_packages(plugin: Path) -> None:
    with pytest.raises(SpecError, match="found neither a file nor a bundled spec.*; specs 'broken-specs' of a-package"):
        spec.load("thiers")


def test_the_version_of_a_foreign_study_is_part_of_its_keys(plugin: Path) -> None:
    def keys() -> set[str]:
        trials = plan.trials(spec.load("theirs"))
        return {stage.key for trial in trials for stage in trial.shared} | {
            str(row.key) for trial in trials for row in trial.rows
        }

    first = keys()
    assert keys() == first
    metadata = plugin / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2", "1.3"))
    assert not keys() & first


def test_a_study_of_no_distribution_adds_nothing_to_keys() -> None:
    assert studies.plugin_of("tests.support.toy_study", "ToyStudy") is None

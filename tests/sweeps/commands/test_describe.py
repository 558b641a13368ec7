"""`sweeps describe`: nothing that a spec or a row has is without a meaning, and the page on it is up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.planning.measured import name_of
from sweeps.reporting.terminal.reference import COMMAND, described
from sweeps.spec import studies
from sweeps.spec.reference import common_sections, study_sections
from tests.support.command_line import Sweeps, assert_refused

PAGE = Path(__file__).parents[3] / "docs" / "reference.md"


@pytest.mark.parametrize("study", [*studies.registered(), *map(name_of, studies.registered())])
def test_everything_has_a_meaning(study: str) -> None:
    sections = [*study_sections(study), *common_sections()]
    assert not [line.name for section in sections for line in section.lines if not line.meaning]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == described(None, None, "markdown") + "\n", f"run {COMMAND}"


def test_without_a_study_the_studies_are_listed(sweeps: Sweeps) -> None:
    ran = sweeps("describe")
    assert (ran.status, ran.errors) == (0, "")
    classification, detection = ran.output.splitlines()
    assert classification.startswith("classification  robust-pruning-sweeps ")
    assert detection.endswith(
        "robustprune.studies.detection.study:DetectionStudy; specs: coco-small, demo, kitti-demo, kitti-small, "
        "liu2024, methods-demo-detection, vemparala2021-kitti, zhou2023-yolo"
    )
    found = json.loads(sweeps("describe", "--format", "json").output)
    assert [each["name"] for each in found] == ["classification", "detection"]


def test_a_field_is_looked_up_with_all_that_is_known_of_it(sweeps: Sweeps) -> None:
    ran = sweeps("describe", "detection", "attack.epsilon")
    assert ran.output == (
        "Fields of the study\n"
        "  attack.epsilon (name: pgd): number; pixel values, of [0, 1]; more than 0, at most 1; default 0.05\n"
        "      radius of the ball\n"
        "  attack.epsilon (name: fgsm): number; pixel values, of [0, 1]; more than 0, at most 1; default 0.05\n"
        "      radius of the ball\n"
        "  attack.epsilon (name: fast-at): number; pixel values, of [0, 1]; more than 0, at most 1; default 0.05\n"
        "      radius of the ball\n"
    )
    found = json.loads(sweeps("describe", "detection", "map_adv", "--format", "json").output)
    assert found == [
        {
            "kind": "column",
            "name": "map_adv",
            "option": "",
            "type": "number",
            "default": "",
            "unit": "",
            "range": "",
            "meaning": "COCO AP (IoU 0.50:0.95) under attack, of [0, 1]",
        }
    ]


@pytest.mark.slow
def test_ray_is_not_imported_for_that() -> None:
    code = (
        "import sys\nfrom sweeps.cli import cli\n"
        "cli(['describe', 'detection', 'attack'], standalone_mode=False)\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, stdout=subprocess.DEVNULL)


def test_what_is_not_there_is_refused_with_the_nearest(sweeps: Sweeps) -> None:
    assert_refused(sweeps("describe", "detecton"), "found 'detecton'", "did you mean 'detection'?")
    assert_refused(sweeps("describe", "detection", "atack.epsilon"), "did you mean 'attack.epsilon'?")

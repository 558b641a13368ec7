"""`sweeps new`: a spec of one's own in a file that was not there, which `sweeps plan` takes as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustprune.detection.data.shapes import generate
from sweeps import spec
from sweeps.commands.computing.new import sweep_name
from tests.support.command_line import Sweeps, assert_refused


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a small data set in COCO's layout."""
    return str(generate(tmp_path_factory.mktemp("data") / "a 0", train_images=8, val_images=4))


def test_a_new_spec_can_be_planned(shapes: str, sweeps: Sweeps) -> None:
    ran = sweeps("new", "my study.yaml", "--coco", shapes, "--set", "grid.seed=[0, 1]")
    assert (ran.status, ran.errors) == (0, "")
    assert (
        ran.output == "my study.yaml: written; `sweeps plan 'my study.yaml'` says what it computes and of which data\n"
    )
    made = " ".join(line.removeprefix("# ") for line in Path("my study.yaml").read_text().split("\n\n")[0].splitlines())
    assert f"Made by `sweeps new 'my study.yaml' --coco '{shapes}' '--set=grid.seed=[0, 1]'`." in made
    planned = sweeps("plan", "my study.yaml")
    assert (planned.status, planned.errors) == (0, "")
    assert "my-study: 5 trials, 17 rows" in planned.output
    lines = [line.split() for line in planned.output.splitlines()]
    assert next(each for each in lines if each[:3] == ["to", "train", "on"])[3:6] == ["8", "0", "64x64"]
    assert "classes: 6, boxes of each" in planned.output


def test_a_file_that_is_there_stays_unless_that_is_asked_for(shapes: str, sweeps: Sweeps) -> None:
    Path("own.yaml").write_text("mine")
    refused = sweeps("new", "own.yaml", "--coco", shapes)
    assert_refused(refused, "own.yaml: found a file of that name, expected another name; --force replaces it")
    assert Path("own.yaml").read_text() == "mine"
    assert sweeps("new", "own.yaml", "--coco", shapes, "--force").status == 0
    assert spec.load("own.yaml").name == "own"


def test_a_file_that_belongs_beside_it_is_written_too_or_stops_it(sweeps: Sweeps) -> None:
    root = generate(Path("tiny").absolute(), train_images=4, val_images=2)
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        for each in content["annotations"]:
            each["bbox"][2:] = [1.5, 1.5]
        file.write_text(json.dumps(content))
    Path("own.cfg").write_text("mine")
    refused = sweeps("new", "own.yaml", "--coco", str(root))
    assert_refused(refused, "own.cfg: found a file of that name, expected another name; --force replaces it")
    assert not Path("own.yaml").exists()
    refused = sweeps("new", "own.cfg", "--coco", str(root), "--force")
    assert_refused(refused, "own.cfg: found a name that a file beside the spec is to have, expected one such as x.yaml")
    assert Path("own.cfg").read_text() == "mine"
    Path("own.cfg").unlink()
    ran = sweeps("new", "own.yaml", "--coco", str(root))
    assert ran.output.startswith("own.yaml and own.cfg: written; ")
    planned = sweeps("plan", "own.yaml")
    assert (planned.status, planned.errors) == (0, "")
    assert "every anchor" not in planned.output


def test_a_dash_prints_it(shapes: str, sweeps: Sweeps) -> None:
    ran = sweeps("new", "-", "--coco", shapes)
    assert (ran.status, ran.errors) == (0, "")
    assert spec.parse(ran.output, "printed").name == "my-study"
    assert not [*Path().iterdir()]


def test_what_is_wrong_is_said_and_nothing_written(shapes: str, sweeps: Sweeps) -> None:
    assert_refused(sweeps("new", "x.yaml"), "new: found nothing, expected one of --coco, --folders")
    both = sweeps("new", "x.yaml", "--coco", shapes, "--folders", shapes)
    assert_refused(both, "new: found --coco and --folders, expected one of")
    assert_refused(sweeps("new", "x.yaml", "--coco", "nowhere"), "--coco nowhere: nowhere/annotations/", "No such file")
    wrong = sweeps("new", "x.yaml", "--coco", shapes, "--set", "pretrain.epoch=3")
    assert_refused(wrong, "new x.yaml: pretrain.epoch: unknown key; did you mean 'epochs'?")
    assert_refused(
        sweeps("new", "no/x.yaml", "--coco", shapes), "no/x.yaml: No such file or directory, expected a file"
    )
    assert_refused(sweeps("new", "x.yaml", "--coco", ""), "--coco: found an empty text, expected folder of a COCO")
    assert_refused(sweeps("new", ".", "--coco", shapes, "--force"), ".: found a folder, expected the name of a file")
    bucket = sweeps("new", "x.yaml", "--coco", "s3://bucket/coco")
    assert_refused(bucket, "--coco s3://bucket/coco: found a URI", "--set dataset.train=NAME")
    bucket = sweeps("new", "x.yaml", "--folders", "s3://bucket/a")
    assert_refused(bucket, "--folders s3://bucket/a: found a URI", "--set dataset.test=NAME")
    assert not [*Path().iterdir()]


def test_help_names_the_data_that_studies_take(sweeps: Sweeps) -> None:
    said = sweeps("new", "--help").output
    assert "--coco DIR" in said
    assert "--folders DIR" in said


def test_a_sweep_has_a_name_that_it_can_have() -> None:
    assert sweep_name("a'; echo") == "a-echo"
    assert sweep_name("_x.y-1") == "x.y-1"
    assert sweep_name("ø") == "my-study"

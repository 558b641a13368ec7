"""A user's mistake is one sentence on standard error and exit status 2, before anything is trained or written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from robustprune.detection.darknet import Detector, save_weights
from sweeps import load_results, spec
from sweeps.cli import cli
from sweeps.planning import plan
from sweeps.storage import Store
from tests.support import toy_rows, toy_study
from tests.support.command_line import Ran, Sweeps, assert_refused

ROOT = Path(__file__).parents[3]


# Toy sweeps


def toy_file(folder: Path, old: str = "", new: str = "") -> str:
    file = folder / "toy.yaml"
    assert old in toy_study.SPEC
    file.write_text(toy_study.SPEC.replace(old, new) if old else toy_study.SPEC + new)
    return str(file)


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "ofset: 3", ["toy.yaml: ofset: unknown key; did you mean 'offset'?"]),
        ("", "offset: much", ["toy.yaml: offset: found 'much', expected a number"]),
        ("", "resources: {gpu: 1}", ["toy.yaml: resources.gpu: unknown key; did you mean 'gpus'?"]),
        (
            "dose: [0, 0.5, 1]",
            "dose: [0, 1.5]",
            ["toy.yaml: grid.dose[1]: found 1.5, expected a value from 0.0 to 1.0"],
        ),
        ("dose: [0, 0.5, 1]", "dose: [0, 0.0]", ["toy.yaml: grid.dose[1]: found 0.0 a second time"]),
        ("seed: [0, 1]", "seed: []", ["toy.yaml: grid.seed: found [], expected a list of values"]),
        (
            "seed: [0, 1]",
            "exclude: [{method: slow}]\n  seeed: [0]",
            ["toy.yaml: grid.seeed: unknown key; did you mean 'seed'?"],
        ),
        ("name: toy", "name: [toy", ["toy.yaml, line ", "not valid YAML"]),
        ("", "missing_data: true", ["toy: toy.json: found nothing, expected the data"]),
    ],
)
def test_a_wrong_spec(command: str, old: str, new: str, words: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    assert_refused(sweeps(command, toy_file(tmp_path, old, new), "--storage", str(storage)), *words)
    assert not any(storage.rglob("*"))


def test_an_empty_grid(sweeps: Sweeps, tmp_path: Path) -> None:
    ran = sweeps("run", toy_file(tmp_path), "--set", "grid={}", "--storage", str(tmp_path / "runs"))
    assert_refused(ran, "toy.yaml: grid: found no cell to compute")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_has_each_option_once(name: str) -> None:
    command = cli.commands[name]
    options = [option for parameter in command.get_params(click.Context(command)) for option in parameter.opts]
    assert len(options) == len(set(options))


def test_an_unknown_spec(sweeps: Sweeps) -> None:
    assert_refused(sweeps("plan", "dmeo"), "'dmeo'", "did you mean 'demo'?")
    assert_refused(sweeps("run", "no/such.yaml"), "'no/such.yaml'", "found neither a file nor a bundled spec")
    assert list(Path().iterdir()) == []


def test_a_wrong_change(sweeps: Sweeps, tmp_path: Path) -> None:
    assert_refused(sweeps("plan", toy_file(tmp_path), "--set", "offset"), "--set 'offset': expected key.path=value")


def test_unwritable_storage(sweeps: Sweeps, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = sweeps("run", toy_file(tmp_path), "--storage", str(tmp_path / "file" / "runs"))
    assert_refused(ran, f"storage '{tmp_path}/file/runs': cannot be written (Not a directory)")


def test_an_unknown_kind_of_storage(sweeps: Sweeps, tmp_path: Path) -> None:
    ran = sweeps("plan", toy_file(tmp_path), "--storage", "gopher://host/runs")
    assert_refused(ran, "gopher://host/runs", "expected a path or a URI")


def test_storage_with_rows_from_other_settings(sweeps: Sweeps, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    toy_rows.publish(Store(str(storage)), toy_rows.load())
    before = sorted(storage.rglob("*"))
    arguments = (toy_file(tmp_path, new="offset: 2.5"), "--storage", str(storage))
    planned = sweeps("plan", *arguments)
    assert (planned.status, planned.errors) == (0, "")
    assert "offset was 0.0, is 2.5" in planned.output
    assert_refused(sweeps("run", *arguments), "offset was 0.0, is 2.5")
    assert sorted(storage.rglob("*")) == before


@pytest.mark.parametrize("command", ["status", "failures", "results", "report"])
def test_a_sweep_that_does_not_exist(command: str, sweeps: Sweeps, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(sweeps(command, "runs/demo"), "runs/demo: found no spec.yaml there, expected the folder of a sweep")
    assert_refused(sweeps(command, str(tmp_path / "file" / "demo")), "/file': found a file, expected a folder")
    assert list(Path().iterdir()) == []


def test_rows_that_do_not_exist(sweeps: Sweeps) -> None:
    assert_refused(sweeps("analyze", "gone.csv"), "gone.csv: found nothing there")


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("plan",),
        ("run", "demo", "--max-concurrent", "0"),
        ("run", "demo", "--cpus", "0"),
        ("results", "x", "--format", "xml"),
    ],
)
def test_a_wrong_command(arguments: tuple[str, ...], sweeps: Sweeps) -> None:
    ran = sweeps(*arguments)
    assert ran.status == 2
    assert "Error: " in ran.errors
    assert "Traceback" not in ran.errors


def test_text_that_looks_like_markup_is_said_as_it_is(sweeps: Sweeps) -> None:
    assert_refused(sweeps("plan", "[bold]x[/y] :skull:.yaml"), "'[bold]x[/y] :skull:.yaml'")


# What works


def test_a_plan_counts_and_writes_nothing(sweeps: Sweeps, tmp_path: Path) -> None:
    ran = sweeps("plan", toy_file(tmp_path), "--set", "grid.seed=[0, 1, 2]", "--storage", str(tmp_path / "runs"))
    assert (ran.status, ran.errors) == (0, "")
    assert "toy: 13 trials, 37 rows" in ran.output
    assert not (tmp_path / "runs").exists()


def test_running_a_complete_sweep_again_computes_nothing_and_needs_no_ray(
    sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "runs"))
    toy_rows.publish(store, toy_rows.load())
    monkeypatch.setitem(sys.modules, "sweeps.engine", None)
    ran = sweeps("run", toy_file(tmp_path), "--storage", str(tmp_path / "runs"))
    assert (ran.status, ran.errors) == (0, "")
    assert list((tmp_path / "runs" / "toy" / "report").glob("*.html"))
    assert f"{tmp_path}/runs/toy/results" in ran.output


def test_status_is_1_until_all_rows_are_there(sweeps: Sweeps, tmp_path: Path) -> None:
    store, loaded = Store(str(tmp_path / "runs")), toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:-1])
    toy_rows.fail(store, loaded, rows[-1:], "ValueError: no")
    location = str(tmp_path / "runs" / "toy")
    status = sweeps("status", location)
    assert status.status == 1
    assert "24 of 25 rows finished, 1 failed" in status.output
    assert "ValueError: no" in sweeps("failures", location).output
    toy_rows.publish(store, loaded, rows[-1:])
    assert sweeps("status", location).status == 0
    assert len(json.loads(sweeps("results", location, "--format", "json").output)) == len(load_results(location))
    assert "p_value" in sweeps("analyze", location, "--format", "csv").output


def test_the_bundled_specs_are_listed(sweeps: Sweeps) -> None:
    assert [line.split()[0] for line in sweeps("specs").output.splitlines()] == list(spec.bundled())


@pytest.mark.parametrize("module", ["sweeps", "sweeps.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    ran = subprocess.run([sys.executable, "-m", module, "-h"], cwd=ROOT, capture_output=True, text=True, check=True)
    for command in ("run", "plan", "status", "failures", "results", "analyze", "power", "report", "specs"):
        assert f"\n  {command} " in ran.stdout


def test_a_mistake_ends_a_real_process_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "sweeps", "run", toy_file(tmp_path), "--storage", f"{tmp_path}/file/runs"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert_refused(Ran(ran.returncode, ran.stdout, ran.stderr), "cannot be written (Not a directory)")


# Detection sweeps on a data set in COCO's layout


def annotation_file(image: int, **changes: Any) -> dict[str, Any]:
    """Return a file about one image with one object, changed in its annotation."""
    name = f"{image}.png"
    box = {"id": 1, "image_id": image, "category_id": 1, "bbox": [4, 4, 16, 16], "area": 256, "iscrowd": 0}
    return {
        "images": [{"id": image, "file_name": name, "width": 32, "height": 32}],
        "annotations": [{**box, **changes}],
        "categories": [{"id": 1, "name": "lemon"}],
    }


@pytest.fixture
def detection(tmp_path: Path) -> list[str]:
    """Arguments that make `demo` a sweep on a tiny data set, which is left in the folder `coco`."""
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    for image_id, split in enumerate(("train2017", "val2017"), start=1):
        (coco / split).mkdir()
        Image.new("RGB", (32, 32)).save(coco / split / f"{image_id}.png")
        (coco / "annotations" / f"instances_{split}.json").write_text(json.dumps(annotation_file(image_id)))
    changes = [f"dataset={{name: coco, root: {coco}}}", "detector.image_size=32"]
    return ["--storage", str(tmp_path / "runs"), *(f"--set={change}" for change in changes)]


def test_a_tiny_data_set_can_be_planned(detection: list[str], sweeps: Sweeps) -> None:
    ran = sweeps("plan", "demo", *detection)
    assert (ran.status, ran.errors) == (0, "")
    assert "137 rows" in ran.output


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["expected a COCO annotation file"]),
        ("{not json", ["not valid JSON"]),
        (json.dumps(annotation_file(2, image_id=7)), ["annotations[0].image_id is 7, expected the id of one of"]),
        (json.dumps(annotation_file(2, category_id=9)), ["annotations[0].category_id is 9, expected the id of one of"]),
        (json.dumps(annotation_file(2, bbox=[1, 2, 3])), ["annotations[0].bbox"]),
        (json.dumps(annotation_file(3)), ["images[0].file_name is '3.png', expected a file in"]),
        (json.dumps({"images": []}), ["images"]),
    ],
)
def test_a_wrong_annotation_file(
    command: str, content: str | None, words: list[str], detection: list[str], sweeps: Sweeps, tmp_path: Path
) -> None:
    file = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert_refused(sweeps(command, "demo", *detection), f"demo: {file}: ", *words)
    assert not any((tmp_path / "runs").rglob("*"))


def test_what_is_odd_about_the_data_is_said(sweeps: Sweeps, tmp_path: Path) -> None:
    ran = sweeps("plan", toy_file(tmp_path, new="odd_data: true"), "--storage", str(tmp_path / "runs"))
    assert ran.output.startswith("[odd] doses were rounded\n")


def test_a_missing_data_set(detection: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "coco")
    assert_refused(sweeps("plan", "demo", *detection), "instances_train2017.json", "expected a COCO annotation file")


NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NET + "[capsule]\nsize=3\n", ["line 5, [capsule]"]),
        (NET + "[convolutional]\nfilters=3\nsize=1\n[route]\nlayers=-9\n", ["line 8, [route]", "-9"]),
        ("width=3\n", ["line 1", "width=3"]),
        (None, ["net.cfg", "yolov3"]),
    ],
)
def test_a_wrong_cfg(text: str | None, words: list[str], detection: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    file = tmp_path / "net.cfg"
    if text is not None:
        file.write_text(text)
    for command in ("plan", "run"):
        assert_refused(sweeps(command, "demo", *detection, f"--set=detector.config={file}"), str(file), *words)
        assert not any((tmp_path / "runs").rglob("*"))


def test_missing_weights(detection: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    weights = tmp_path / "gone.weights"
    changes = [f"--set=detector.weights={weights}", "--set=base=null"]
    assert_refused(sweeps("plan", "demo", *detection, *changes), str(weights))


def test_the_reference_study_can_be_planned(detection: list[str], sweeps: Sweeps, tmp_path: Path) -> None:
    weights = tmp_path / "nano.weights"
    save_weights(Detector.from_cfg("yolov3-nano", classes=1), weights)
    given = {"dataset.root": tmp_path / "coco", "dataset.train_images": 1, "detector.weights": weights}
    smaller = {"detector.config": "yolov3-nano", "detector.image_size": 32}
    changes = [f"--set={field}={value}" for field, value in (given | smaller).items()]
    ran = sweeps("plan", "liu2024", *changes, "--teraflops", "1e-9")
    assert (ran.status, ran.errors) == (0, "")
    assert "liu2024: 52 trials, 452 rows" in ran.output
    assert "pretrain checkpoints: 0 present, 20 to compute, not 50, since trials share them" in ran.output
    assert "fine-tuning: 10 epochs of 1 image, 5 attack steps" in ran.output
    assert "on GPUs that sustain 1e-09 teraflops" in ran.output

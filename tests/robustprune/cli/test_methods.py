"""What `python -m robustprune methods` lists is what a spec can name."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from robustprune.attacks import ATTACKS
from robustprune.cli.main import cli, main
from robustprune.detection.centernet.by_name import CENTERNETS
from robustprune.detection.darknet import cfg
from robustprune.methods import INITIALIZERS
from robustprune.plugins import Registry
from robustprune.structures import STRUCTURES
from robustprune.training.objectives import OBJECTIVES


def test_every_method_is_listed_with_its_package_and_what_it_is() -> None:
    listed = json.loads(CliRunner().invoke(cli, ["methods", "--format", "json"]).stdout)
    found = {(line["kind"], line["name"]) for line in listed}
    methods: dict[str, Registry[Any]] = {
        "initializer": INITIALIZERS,
        "structure": STRUCTURES,
        "attack": ATTACKS,
        "objective": OBJECTIVES,
    }
    for kind, registry in methods.items():
        assert {(kind, name) for name in registry} <= found
    assert ("structure", "N:M") in found
    assert {line["package"] for line in listed} == {"robust-pruning-sweeps"}
    named = (*methods, "network (detection)", "network (classification)")
    assert all(line["summary"] for line in listed if line["kind"] in named)


def test_detectors_that_are_files_are_listed_among_networks() -> None:
    listed = json.loads(CliRunner().invoke(cli, ["methods", "--format", "json"]).stdout)
    detectors = {line["name"]: line["summary"] for line in listed if line["kind"] == "network (detection)"}
    assert detectors.keys() == cfg.bundled().keys() | CENTERNETS.keys()
    assert detectors["yolov3-nano"].startswith("yolov3-nano: YOLOv3's ideas (")
    assert detectors["yolov3-nano"].endswith("at a size that one CPU core trains in minutes")


def test_the_table_has_a_line_for_each() -> None:
    runner = CliRunner()
    lines = runner.invoke(cli, ["methods"]).stdout.splitlines()
    assert len(lines) == len(json.loads(runner.invoke(cli, ["methods", "--format", "json"]).stdout))


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_a_locale_cannot_show_is_replaced(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors=errors)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "argv", ["robustprune", "methods"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    output.seek(0)
    assert "the L? ball" in output.read()

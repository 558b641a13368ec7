"""The files of `cluster/`: what can be known of them without a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from sweeps.cli import cli as sweeps_cli
from tests.support.processes import ROOT

CLUSTER = ROOT / "cluster"
LAUNCHER = [CLUSTER / f"{name}.yaml" for name in ("aws", "gcp", "onprem")]
KUBERAY = [CLUSTER / "kuberay" / f"{name}.yaml" for name in ("rayjob", "raycluster")]
FILES = [path for path in CLUSTER.rglob("*") if path.is_file()]

RAY_VERSION = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]
PYTHON = "py311"
"""The oldest Python that pyproject.toml allows; `constraints.txt` is made with it."""


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(CLUSTER)) for path in paths]


def cluster_spec(path: Path) -> dict[str, Any]:
    spec = yaml.safe_load(path.read_text())["spec"]
    return dict(spec.get("rayClusterSpec", spec))


@pytest.mark.parametrize("path", LAUNCHER, ids=ids(LAUNCHER))
def test_ray_up_accepts_the_file(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    validate_config(prepare_config(config))
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for target, source in config["file_mounts"].items():
        assert target.startswith("~/")
        assert source.startswith("~/") or (ROOT / source).exists(), f"{source} is not in the repository"


@pytest.mark.parametrize("path", [CLUSTER / "aws.yaml", CLUSTER / "gcp.yaml"], ids=["aws", "gcp"])
def test_only_workers_compute_and_only_workers_are_spot(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    kinds = config["available_node_types"]
    head, workers = kinds.pop(config["head_node_type"]), list(kinds.values())
    assert head["resources"] == {"CPU": 0}
    assert all(worker["resources"]["GPU"] >= 1 and worker["min_workers"] >= 1 for worker in workers)
    assert "SPOT" not in str(head).upper()
    assert all("SPOT" in str(worker["node_config"]).upper() for worker in workers)


def test_head_of_own_machines_computes_nothing() -> None:
    config = yaml.safe_load((CLUSTER / "onprem.yaml").read_text())
    (start,) = [command for command in config["head_start_ray_commands"] if command.startswith("ray start")]
    assert {"--head", "--num-cpus=0", "--num-gpus=0"} <= set(start.split())


@pytest.mark.parametrize("path", KUBERAY, ids=ids(KUBERAY))
def test_kuberay_cluster_has_tokens_and_only_workers_compute(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["apiVersion"] == "ray.io/v1"
    spec = cluster_spec(path)
    assert spec["rayVersion"] == RAY_VERSION
    assert spec["authOptions"] == {"mode": "token"}
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in str(head["template"])
    assert 1 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for group in (head, workers):
        assert group["template"]["spec"]["restartPolicy"] == "Never"


def test_rayjob_resumes_and_leaves_no_cluster_behind() -> None:
    spec = yaml.safe_load((CLUSTER / "kuberay" / "rayjob.yaml").read_text())["spec"]
    program, command, *arguments = spec["entrypoint"].split()
    assert program == "sweeps"
    sweeps_cli.commands[command].make_context(command, arguments)
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["backoffLimit"] >= 1


def test_ray_and_python_are_the_pinned_ones_everywhere() -> None:
    tags = [tag for path in FILES for tag in re.findall(r"(?:image:|FROM|-t) \S+:(\S+)", path.read_text())]
    assert len(tags) == 9
    assert set(tags) == {f"{RAY_VERSION}-{PYTHON}-gpu"}
    major, minor = re.findall(r'requires-python = ">=(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text())[0]
    assert f"py{major}{minor}" == PYTHON


@pytest.mark.parametrize("path", FILES, ids=ids(FILES))
def test_no_secret_in_a_file(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"[0-9a-f]{32}|AKIA[0-9A-Z]{16}|ami-[0-9a-f]{8}|-----BEGIN", text)
    assert not re.search(r"(?i)(token|secret|password|access_key)\w*\s*[:=]\s*['\"]?(?!token\b)[\w/+]{16}", text)


def commands(text: str) -> list[list[str]]:
    """Return the `ray …` and `sweeps …` commands of a page, as words; what follows ` -- ` is a command of its own."""
    found = re.findall(r"(?:(?<=^)|(?<=`))(?:ray|sweeps) [^`#\n|]+", text.replace(" -- ", "\n"), re.MULTILINE)
    return [match.split() for match in found]


def test_commands_of_the_page_exist() -> None:
    found = commands((CLUSTER / "README.md").read_text())
    assert len(found) >= 10
    for program, *words in found:
        group: click.Command = {"ray": ray_cli, "sweeps": sweeps_cli}[program]
        while isinstance(group, click.Group):
            assert words, f"{program}: a command is missing"
            assert words[0] in group.commands, f"{program}: there is no {words[0]}"
            group = group.commands[words.pop(0)]
        known = {name for parameter in group.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_links_of_the_page_lead_to_every_file() -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (CLUSTER / "README.md").read_text()))
    assert links == {str(path.relative_to(CLUSTER)) for path in FILES} - {"README.md"}

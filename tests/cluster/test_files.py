"""The files of `cluster/`: what can be known of them without a cluster."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from sweeps import spec as specs
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


def documents(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a file of Kubernetes creates, by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}


def cluster_spec(path: Path) -> dict[str, Any]:
    found = documents(path)
    spec = found["RayJob"]["spec"]["rayClusterSpec"] if "RayJob" in found else found["RayCluster"]["spec"]
    return dict(spec)


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
    spec = cluster_spec(path)
    assert spec["rayVersion"] == RAY_VERSION
    assert spec["authOptions"] == {"mode": "token"}
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in str(head["template"])
    assert 1 <= workers["minReplicas"] <= workers["replicas"] < workers["maxReplicas"]
    assert spec["enableInTreeAutoscaling"], "nothing would start more workers than there are at first"
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    created = documents(path)
    assert {each["apiVersion"] for kind, each in created.items() if kind.startswith("Ray")} == {"ray.io/v1"}
    for group in (head, workers):
        pod = group["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        assert pod["serviceAccountName"] == created["ServiceAccount"]["metadata"]["name"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        configs = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
        assert configs == {created[kind]["metadata"]["name"] for kind in created if kind == "ConfigMap"}


def test_rayjob_resumes_and_leaves_no_cluster_behind() -> None:
    spec = documents(CLUSTER / "kuberay" / "rayjob.yaml")["RayJob"]["spec"]
    program, command, *arguments = spec["entrypoint"].split()
    assert program == "sweeps"
    sweeps_cli.commands[command].make_context(command, arguments)
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["backoffLimit"] >= 1


def test_rayjob_runs_the_spec_of_its_config_map_where_its_data_and_studies_are(tmp_path: Path) -> None:
    created = documents(CLUSTER / "kuberay" / "rayjob.yaml")
    job = created["RayJob"]["spec"]
    _, _, location, *_ = job["entrypoint"].split()
    folder, _, name = location.rpartition("/")
    pod = cluster_spec(CLUSTER / "kuberay" / "rayjob.yaml")["workerGroupSpecs"][0]["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    variables = yaml.safe_load(job["runtimeEnvYAML"])["env_vars"]
    assert folder == variables["PYTHONPATH"]
    assert set(mounts) == set(variables.values())
    (tmp_path / name).write_text(created["ConfigMap"]["data"][name])
    loaded = specs.load(str(tmp_path / name))
    limits = pod["containers"][0]["resources"]["limits"]
    assert loaded.engine.resources.cpus <= int(limits["cpu"])
    assert loaded.engine.resources.gpus == int(limits["nvidia.com/gpu"])


@pytest.mark.parametrize("name", specs.bundled())
def test_a_trial_of_every_bundled_study_fits_on_a_worker(name: str) -> None:
    needed = specs.Resources(**yaml.safe_load(specs.bundled()[name].read_text()).get("resources", {}))
    for path in (CLUSTER / "aws.yaml", CLUSTER / "gcp.yaml"):
        workers = yaml.safe_load(path.read_text())["available_node_types"]["gpu"]["resources"]
        assert needed.cpus <= workers["CPU"]
        assert (needed.gpus or 0) <= workers["GPU"]
    for path in KUBERAY:
        (workers,) = cluster_spec(path)["workerGroupSpecs"]
        assert needed.cpus <= int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    for path in (CLUSTER / "slurm").iterdir():
        (cpus,) = re.findall(r"^#SBATCH --cpus-per-task=(\d+)$", path.read_text(), re.MULTILINE)
        assert needed.cpus <= int(cpus)


@pytest.mark.parametrize("path", [CLUSTER / "Dockerfile", CLUSTER / "README.md", *LAUNCHER], ids=lambda path: path.name)
def test_what_every_bundled_study_needs_is_installed_and_pinned(path: Path) -> None:
    text = path.read_text()
    (extras,) = re.findall(r"pip install .*\[([a-z,]+)\]'", text)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) == set(known) - {"dev"}
    # visdom, which adv-lib needs, is built with an older setuptools.
    assert {"PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"} <= set(re.findall(r"(PIP_\w+)=\S*constraints\.txt", text))


@pytest.mark.parametrize("path", FILES, ids=ids(FILES))
def test_files_and_bundled_specs_that_are_named_exist(path: Path) -> None:
    text = path.read_text()
    for named in re.findall(r"(?<![\w/])cluster/[\w./-]*\w", text):
        assert (ROOT / named).exists(), named
    for named in re.findall(r"sweeps run ([a-z]\w+)", text):
        assert named in specs.bundled()


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

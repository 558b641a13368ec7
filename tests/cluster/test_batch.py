"""The scripts of batch systems and of bare machines, run with a batch system, a Ray and a sweep that are not there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes

CLUSTER = processes.ROOT / "cluster"
SCRIPTS = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and path.read_text().startswith("#!"))

# What the launchers of batch systems do, on this machine: some hand on no environment, some end what they started. With
# others, Ray on the other nodes ends by itself, for lack of a head.
FAKES = {
    "scontrol": """
        case "$1 $2" in
            "show hostnames") printf 'node-1\\nnode-2\\nnode-3\\n' ;;
            "show node") echo "NodeName=$3 NodeAddr=$PEER NodeHostName=$3" ;;
            *) echo "scontrol $*" >>"$CALLED" ;;
        esac""",
    "srun": 'echo "srun ${*:1:$#-2}" >>"$CALLED"; echo $$ >"$CALLED.0"; exec blaunch -z "a b" "${@: -2}"',
    "scancel": '[[ $* == "--signal=TERM 7.0" ]] && kill "$(<"$CALLED.0")"',
    "pbs_tmrsh": 'exec env -i HOSTNAME="$1" CALLED="$CALLED" "${@:2}"',
    "blaunch": 'for host in $2; do setsid "${@:3}" & ids+=" -$!"; done; trap "kill -- $ids" TERM; wait; wait',
    "ssh": 'exec env -i CALLED="$CALLED" sh -c "${*:5}"',
    "ray": """
        echo "ray $*" >>"$CALLED"
        [[ -n ${RAY_AUTH_TOKEN:-} && $RAY_AUTH_MODE == token ]] || { echo "no token"; exit 1; }
        [[ -z ${DISK:-} ]] || { printf 'Traceback\nOSError: no space left\n\n'; exit 1; }
        trap 'echo "ended: $2" >>"$CALLED"; exit 0' TERM
        case "$*" in
            *--head*) [[ $* =~ --temp-dir=([^ ]+) ]] && echo 192.0.2.1:1234 >"${BASH_REMATCH[1]}/ray_current_cluster" ;;
            *) [[ -v FIREWALL ]] && { echo "$FIREWALL"; exit 1; }; echo "Ray runtime started." ;;
        esac
        until grep -q "ended: --head" "$CALLED"; do sleep 0.1; done""",
    "sweeps": 'echo "sweeps $*" >>"$CALLED"; echo "the results"; exit "$STATUS"',
    "python": f'exec {sys.executable} "$@"',
}

BATCH = {
    "slurm": (
        "slurm/sweep.sbatch",
        {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node-[1-3]", "SLURM_CPUS_PER_TASK": "8"},
    ),
    "pbs": ("pbs/sweep.pbs", {"NCPUS": "8", "PBS_NODEFILE": "hosts", "PBS_O_WORKDIR": "."}),
    "lsf": ("lsf/sweep.bsub", {"LSB_DJOB_NUMPROC": "24", "LSB_DJOB_HOSTFILE": "hosts"}),
    "bare": ("bare/sweep.sh", {"HOSTS": "127.0.0.1 me@127.0.0.1"}),
}
ARGUMENTS = ["my study.yaml", "--storage", "/mnt/my runs", "--set", "a.b=[1, 2]"]
IN_FILE = (
    "liu2024 --storage /mnt/shared/runs --set dataset.root=/mnt/shared/coco "
    "--set detector.weights=/mnt/shared/yolov3.weights"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout from which jobs are submitted, whose user has the sweep's environment at home."""
    folder = tmp_path / "my project"
    programs = folder / "sweeps-env" / "bin"
    programs.mkdir(parents=True)
    (folder / "cluster").symlink_to(CLUSTER)
    for name, script in FAKES.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (programs / name).chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    (folder / "hosts").write_text("this-one\nthis-one\n127.0.0.1\n127.0.0.2\n127.0.0.1\n")
    return folder


def start(folder: Path, batch: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    script, variables = BATCH[batch]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    plain |= {"HOME": str(folder), "CALLED": str(folder / "called"), "STATUS": "0", "PEER": "127.0.0.1"}
    plain |= {"PATH": f"{folder / 'sweeps-env' / 'bin'}:{plain['PATH']}", "HOSTNAME": "node-1"} | variables
    return subprocess.Popen(
        ["bash", f"cluster/{script}", *arguments],
        cwd=folder,
        env=plain | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, batch: str, *arguments: str, **environment: str) -> tuple[int, str, list[str]]:
    """Run a script to its end; return its exit status, what it printed, and what was called."""
    process = start(folder, batch, *arguments, **environment)
    printed, _ = process.communicate(timeout=60)
    called = folder / "called"
    return process.returncode, printed, called.read_text().splitlines() if called.exists() else []


@pytest.mark.parametrize(("batch", "status"), [("slurm", "1"), *((batch, "0") for batch in BATCH)])
def test_nodes_form_a_ray_and_end_with_the_sweep_and_its_status(folder: Path, batch: str, status: str) -> None:
    returned, printed, called = run(folder, batch, *ARGUMENTS, STATUS=status)
    assert returned == int(status), printed
    starts = [line for line in called if line.startswith("ray start")]
    assert len([line for line in starts if "--head" in line and "--node-ip-address=127.0.0.1" in line]) == 1
    joins = [line for line in starts if "--address=192.0.2.1:1234" in line]
    assert len(joins) == 2
    assert all(("--num-cpus=8" in line) == (batch != "bare") for line in starts)
    asked = " ".join(ARGUMENTS) if batch in ("slurm", "bare") else IN_FILE
    assert f"sweeps run {asked} --address 192.0.2.1:1234" in called
    assert printed.splitlines()[-1] == "the results"
    # The others of a batch system end with their launchers, at the latest with the job.
    assert called.count("ended: --head") == 1
    assert batch in ("pbs", "bare") or called.count("ended: --address=192.0.2.1:1234") == 2
    temporary = [word.partition("=")[2] for line in starts for word in line.split() if word.startswith("--temp-dir")]
    processes.wait_until(lambda: not any(Path(each).exists() for each in temporary), "folders of Ray to go")
    assert not list(folder.glob(".sweeps-join-*"))


def test_others_of_a_slurm_job_are_all_nodes_but_the_first(folder: Path) -> None:
    _, _, called = run(folder, "slurm", *ARGUMENTS)
    assert "srun --nodes=2 --ntasks=2 --relative=1 --cpus-per-task=8 --wait=0" in called


def test_what_is_wrong_is_said_last(folder: Path) -> None:
    returned, printed, called = run(folder, "slurm")
    assert (returned, called) == (2, [])
    assert printed.splitlines()[-1].startswith("Error: no arguments, expected those of `sweeps run`")

    returned, printed, called = run(folder, "slurm", *ARGUMENTS, PEER="no-such.invalid")
    assert (returned, called) == (2, [])
    assert printed.splitlines()[-1].startswith("Error: no-such.invalid: found no way to it from node-1 (")

    returned, printed, called = run(folder, "slurm", *ARGUMENTS, RAY_AUTH_TOKEN_PATH="/no/file")
    assert (returned, called) == (2, [])
    assert printed.splitlines()[-1] == "Error: RAY_AUTH_TOKEN_PATH: found no token in /no/file, expected one"

    returned, printed, called = run(folder, "slurm", *ARGUMENTS, DISK="full")
    assert returned == 2
    assert printed.splitlines()[-1] == "Error: Ray's head did not start on node-1: OSError: no space left"

    for said in ("no way to 192.0.2.1:1234", ""):
        returned, printed, called = run(folder, "slurm", *ARGUMENTS, FIREWALL=said)
        assert returned == 2
        assert printed.splitlines()[-1] == f"Error: 0 of the other 2 nodes joined Ray at 192.0.2.1:1234: {said}"
        assert not any(line.startswith("sweeps") for line in called)


def test_one_node_needs_no_others(folder: Path) -> None:
    (folder / "hosts").write_text("this-one\n")
    returned, printed, called = run(folder, "lsf")
    assert (returned, printed.splitlines()[-1]) == (0, "the results")
    assert len([line for line in called if line.startswith("ray start")]) == 1


@pytest.mark.parametrize("batch", BATCH)
def test_a_program_that_is_not_there_is_named_last(folder: Path, batch: str) -> None:
    (folder / "sweeps-env" / "bin" / "ray").unlink()
    path = f"{folder / 'sweeps-env' / 'bin'}:/usr/bin:/bin"
    returned, printed, _ = run(folder, batch, *ARGUMENTS, PATH=path)
    assert returned == 2
    assert printed.splitlines()[-1] == "Error: ray: not found on node-1, expected its environment to be active"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_sweep_first_and_only_time_that_is_up_requeues(folder: Path, number: signal.Signals) -> None:
    sweep = 'trap "echo resumes; exit 143" TERM; echo "sweeps" >>"$CALLED"; while :; do sleep 0.1; done'
    (folder / "sweeps-env" / "bin" / "sweeps").write_text(f"#!/usr/bin/env bash\n{sweep}\n")
    process = start(folder, "slurm", *ARGUMENTS)
    called = folder / "called"
    processes.wait_until(lambda: called.exists() and "sweeps" in called.read_text().splitlines(), "the sweep")
    process.send_signal(number)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    requeued = number == signal.SIGUSR1
    assert ("scontrol requeue 7" in called.read_text()) == requeued
    said = "Time is up: the job is back in the queue, and will go on from here." if requeued else "resumes"
    assert printed.splitlines()[-1] == said


def test_a_task_of_an_array_is_the_sweep_itself(folder: Path) -> None:
    environment = {"PATH": f"{folder / 'sweeps-env' / 'bin'}:/usr/bin:/bin", "CALLED": str(folder / "called")}
    script = ["bash", str(CLUSTER / "slurm" / "array.sbatch"), *ARGUMENTS]
    ended = subprocess.run(script, env=environment | {"STATUS": "1"}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "the results\n")
    assert (folder / "called").read_text() == f"sweeps run {' '.join(ARGUMENTS)}\n"


def lint(path: Path) -> list[list[str]]:
    return [["bash", "-n", str(path)], ["shellcheck", "--external-sources", str(path)]]


@pytest.mark.parametrize("path", SCRIPTS, ids=[str(path.relative_to(CLUSTER)) for path in SCRIPTS])
@pytest.mark.parametrize("which", [0, 1], ids=["bash", "shellcheck"])
def test_scripts_pass_the_shells_own_checks(path: Path, which: int) -> None:
    command = lint(path)[which]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    ended = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr

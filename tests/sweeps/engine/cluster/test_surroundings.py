"""What a private Ray needs of the machine: what is missing is got around, or told by the name of the limit."""

from __future__ import annotations

import pwd
import resource
import tempfile
from pathlib import Path

import pytest

from sweeps.engine.cluster import allotted, surroundings
from sweeps.errors import ClusterError


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python look anew where temporary files belong."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


@pytest.mark.usefixtures("temporary")
def test_a_long_path_of_temporary_files_is_for_what_is_spilled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    far = tmp_path / ("far" * 30)
    far.mkdir()
    monkeypatch.setenv("TMPDIR", str(far))
    with surroundings.folders() as options:
        own, spilled = Path(options["_temp_dir"]), Path(options["object_spilling_directory"])
        assert len(str(own)) < 43
        assert own.stat().st_mode & 0o777 == 0o700
        assert spilled.parent == far
        (own / "session").mkdir()
    assert not own.exists()
    assert not any(far.iterdir())


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize(
    ("name", "found"),
    [("far" * 30, "bytes, expected at most"), ("/dev/null", "Not a directory"), ("/nowhere", "No such")],
)
def test_a_folder_that_the_user_names_is_the_one(monkeypatch: pytest.MonkeyPatch, name: str, found: str) -> None:
    monkeypatch.setenv("RAY_TMPDIR", name)
    with pytest.raises(ClusterError, match=f"^RAY_TMPDIR: found .*{found}"), surroundings.folders():
        pass


@pytest.mark.usefixtures("temporary")
def test_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ClusterError, match=r"TMPDIR: found .*No usable .* expected a folder"), surroundings.folders():
        pass


def test_a_user_without_a_name_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(user: int) -> pwd.struct_passwd:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    monkeypatch.setenv("HOME", "/home/of/mine")
    surroundings.settle_home()
    assert Path.home() == Path("/home/of/mine")
    monkeypatch.delenv("HOME")
    surroundings.settle_home()
    assert Path.home() == Path("/")


@pytest.mark.parametrize(
    ("limit", "most", "found"),
    [
        (resource.RLIMIT_NOFILE, 256, "ulimit -n: found at most 256 open files, expected 1024 or more"),
        (resource.RLIMIT_FSIZE, 10**7, "ulimit -f: found files of at most 0.01 GB, expected"),
        (resource.RLIMIT_NPROC, 100, "ulimit -u: found room for 60 more processes and threads, expected 370 or more"),
    ],
)
def test_a_limit_of_processes(monkeypatch: pytest.MonkeyPatch, limit: int, most: int, found: str) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda which: (most, most) if which == limit else (unlimited, unlimited))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(surroundings, "_threads_of", lambda user: 40)
    monkeypatch.setattr(allotted, "groups", lambda controller: [])
    with pytest.raises(ClusterError, match=found):
        surroundings.check_limits(2)


def test_a_limit_that_this_process_may_raise_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_NPROC: (100, 10**6), resource.RLIMIT_FSIZE: (10**7, resource.RLIM_INFINITY)}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits.get(which, unlimited))
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(allotted, "groups", lambda controller: [])
    surroundings.check_limits(2)
    assert limits[resource.RLIMIT_NPROC] == (10**6, 10**6)


def test_a_limit_of_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("100\n")
    (tmp_path / "pids.current").write_text("90\n")
    monkeypatch.setattr(allotted, "groups", lambda controller: [tmp_path])
    with pytest.raises(ClusterError, match=r"pids.max: found room for 10 more processes and threads"):
        surroundings.check_limits(1)
    (tmp_path / "pids.max").write_text("max\n")
    surroundings.check_limits(1)


def test_memory_that_processes_share_is_told_once_where_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_object_store_bytes", lambda: 8 * 10**9)
    monkeypatch.setattr(surroundings, "_shared_memory", lambda: 64 * 10**6)
    (said,) = surroundings.remarks()
    assert said.startswith("/dev/shm: found 0.064 GB free, expected 8 GB")
    assert "--shm-size=9g" in said
    monkeypatch.setattr(surroundings, "_shared_memory", lambda: 9 * 10**9)
    assert surroundings.remarks() == []

"""A location that cannot be used is refused in one sentence, soon, and without repeating a secret."""

from __future__ import annotations

import os
import socket
import time
from contextvars import ContextVar
from pathlib import Path

import pytest

from sweeps.engine.job import job_of
from sweeps.errors import StorageError
from sweeps.storage import Store
from sweeps.storage.backends import retry
from sweeps.storage.backends.arrow import ArrowFileSystem
from sweeps.storage.rows import split_location
from tests.support import toy_rows
from tests.sweeps.conftest import Uri


def refusal(location: str) -> str:
    with pytest.raises(StorageError) as caught:
        Store(location)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("location", ["gopher://host/runs", "file://relative/runs", "s3:///runs", "s3://b/a b"])
def test_an_unusable_uri(location: str) -> None:
    said = refusal(location)
    assert location in said
    assert said.endswith("expected a path or a URI")


@pytest.mark.parametrize(
    ("location", "found", "expected"),
    [
        ("", "nothing", "a path or a URI"),
        ("  ", "nothing", "a path or a URI"),
        ("runs ", "spaces around it", "a path or a URI"),
        ("s3://bucket/runs\n", "spaces around it", "a path or a URI"),
        ("s3:/bucket/runs", "s3: without two slashes", "s3://bucket/runs"),
        ("s3:bucket/runs", "s3: without two slashes", "s3://bucket/runs"),
        ("gs:/bucket", "gs: without two slashes", "gs://bucket"),
        ("dbfs:/runs", "dbfs: without two slashes", "/dbfs/runs, where Databricks mounts it"),
        ("file:/tmp/runs", "file: without two slashes", "/tmp/runs"),
        ("ftp:/host/runs", "ftp: without two slashes", "ftp://host/runs"),
        ("http:host", "http: without two slashes", "a path or a URI"),
        ("s3://", "no bucket", "one, as in s3://bucket/runs"),
        ("C:\\runs", "a path of Windows", "one of this system"),
        ("C:/runs", "a path of Windows", "one of this system"),
        ("\\\\host\\runs", "a path of Windows", "one of this system"),
        ("~nobody-of-this-name/runs", "no home folder of ~nobody-of-this-name", "a path"),
        ("runs/~/toy", "~ within a path", "a path"),
        ("file:///~/runs", "~ within a path", "a path"),
        ("$NOT_SET/runs", "a variable NOT_SET, which is not set", "a path"),
        ("file://", "File URI cannot be relative: 'file://'", "a path or a URI"),
        ("file://host/runs", "Unsupported hostname", "a path or a URI"),
        ("dbfs://runs", "Unrecognized filesystem type", "a path or a URI"),
    ],
)
def test_what_was_meant_is_said(
    location: str, found: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal(location)
    assert said.startswith(f"storage {location!r}: found {found}")
    assert f", expected {expected}" in said
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("~", ""),
        ("~/a b/ü", "a b/ü"),
        ("$HOME/runs", "runs"),
        ("${HOME}/runs", "runs"),
        ("file://{}/a%20b/ü", "a b/ü"),
        ("file://{}/a b/%C3%BC", "a b/ü"),
        ("file://localhost{}/runs", "runs"),
        ("here/a$b/c: d", "here/a$b/c: d"),
        ("./runs:1", "runs:1"),
    ],
)
def test_a_path_as_people_write_it(location: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    location = location.replace("{}", str(tmp_path)) if location.startswith("file") else location
    store = Store(location)
    store.write_spec("toy", "name: toy")
    assert (tmp_path / folder / "toy" / "spec.yaml").exists()
    # Processes of a cluster have other homes, variables and working directories.
    job = job_of(toy_rows.load(), store)
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.chdir("/")
    assert job.store.read_spec("toy") == "name: toy"
    assert split_location(store.describe("toy"))[1] == "toy"


@pytest.mark.parametrize("location", ["{}/file", "file://{}/file"])
def test_one_that_is_a_file(location: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refusal(location.replace("{}", str(tmp_path)))
    assert said.endswith("found a file, expected a folder, or a path where none is yet")


@pytest.mark.parametrize("sweep", ["", "/", "/.."])
def test_a_sweep_without_a_name(sweep: str) -> None:
    with pytest.raises(StorageError, match="found no name of a sweep, expected its folder"):
        split_location(sweep)


def test_a_sweep_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "toy")
    assert split_location(".") == (str(tmp_path), "toy")
    assert split_location("results/..") == (str(tmp_path), "toy")


@pytest.mark.parametrize(
    "location",
    [
        "s3://AKIA:5E/c+Ret@bucket/runs",
        "s3://AKIA:5E/c+Ret@bucket/runs?region=x",
        "s3://AKIA:5E?c+Ret@bucket/runs",
        "s3://AKIA:5E/c+@Ret@bucket/runs",
        "s3://AKIA:12345E/c+Ret@bucket",
        "abfs://:5E/c+Ret==@account/runs",
        "s3://bucket/runs?access_key=AKIA&secret_key=5E/c+Ret",
        "s3://bucket/runs?scheme=http&endpoint_override=http://AKIA:5E/c+Ret@host:9000",
        "abfs://container@account/runs?client_secret=5E/c+Ret",
        "abfs://container@account/runs?sv=2024&sig=5E/c+Ret",
    ],
)
def test_a_secret_is_refused_and_not_repeated(location: str) -> None:
    said = refusal(location)
    assert "found credentials in the URI, expected them in the environment of every node" in said
    assert "Ret" not in said
    assert "5E" not in said


@pytest.mark.parametrize("location", ["mock:///a@b", "mock:///a:b@c", "mock://host:80/a@b"])
def test_a_path_with_an_at_sign_is_no_secret(location: str) -> None:
    Store(location).files.check_writable()


def test_a_bucket_that_does_not_exist(s3: Uri) -> None:
    location = s3(bucket="buckets")
    assert refusal(location) == f"storage '{location}': found no bucket 'buckets', expected one that exists"


def test_credentials_that_are_refused(s3: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another/secret")
    said = refusal(s3())
    assert "cannot be reached" in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["s3://", "gs://anonymous@"])
def test_an_endpoint_nobody_listens_on(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    start = time.monotonic()
    assert "cannot be reached (Connection refused)" in refusal(
        f"{scheme}bucket/runs?scheme=http&endpoint_override=127.0.0.1:{port}"
    )
    assert time.monotonic() - start < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.files.publish("toy/results/a.parquet", b"")
    (tmp_path / "toy" / "results").chmod(0)
    with pytest.raises(StorageError, match=r"toy/results: cannot be listed \(Permission denied\)$"):
        store.row_keys("toy")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "results").write_text("no folder")
    with pytest.raises(StorageError, match=r"toy/results: cannot be listed \(Not a directory\)$"):
        Store(str(tmp_path)).row_keys("toy")


def test_a_server_that_goes_away_is_said(s3: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3())
    store.write_spec("toy", "name: toy")

    def fail(*arguments: object) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation:\n curlCode: 7")

    class Broken:
        type_name = "s3"
        get_file_info = open_input_stream = open_output_stream = delete_file = delete_dir = staticmethod(fail)

    monkeypatch.setattr(store.files, "_backend", ArrowFileSystem(Broken(), "runs"))
    monkeypatch.setattr(retry, "_patience", ContextVar("patience", default=0.0))
    for action in (
        lambda: store.row_keys("toy"),
        lambda: store.has_row("toy", "a-1"),
        lambda: store.read_spec("toy"),
        lambda: store.write_spec("toy", ""),
        lambda: store.files.delete("toy/spec.yaml"),
        lambda: store.files.delete_folder("toy"),
    ):
        with pytest.raises(StorageError, match="cannot be .* NETWORK_CONNECTION") as caught:
            action()
        assert "\n" not in str(caught.value)

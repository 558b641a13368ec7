"""What tests share: the command line, a storage, a console to read from, and a real S3 server (SeaweedFS)."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.fs
import pytest
from rich.console import Console

from sweeps import cli
from sweeps.storage import Store
from tests.support.command_line import Ran, Sweeps

PATIENCE_S = 60
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "sweeps",
    "AWS_SECRET_ACCESS_KEY": "not/a+secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

PORTS = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]

Uri = Callable[..., str]


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Sweeps:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        return Ran(int(ended.value.code or 0), output, errors)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty storage, whose name is markup where it is not escaped."""
    return Store(str(tmp_path / "runs [bold]"))


@pytest.fixture
def console() -> Console:
    """Return a console that keeps what is printed."""
    return Console(file=io.StringIO(), width=120, emoji=False)


def text(console: Console) -> str:
    """Return what was printed on `console`."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, which has one bucket, `bucket`."""
    folder = tmp_path_factory.mktemp("s3")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    program = Path(sysconfig.get_path("scripts"), "weed")
    if not program.exists():
        pytest.skip("the S3 server of the development tools is there on Linux only")
    options = ["-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=50", f"-dir={folder}"]
    options += [f"-{name}={port}" for name, port in ports.items()]
    with pytest.MonkeyPatch.context() as patch, open(folder / "log", "wb") as log:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        server = subprocess.Popen([program, "server", *options], stdout=log, stderr=log)
        try:
            wait_for(ports["s3.port"], server, folder / "log")
            endpoint = f"http://127.0.0.1:{ports['s3.port']}"
            admin = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
            make_bucket(admin, deadline=time.monotonic() + PATIENCE_S)
            yield endpoint
        finally:
            # A graceful end takes half a minute.
            server.kill()
            server.wait()
            for port in ports.values():
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink()


@pytest.fixture
def s3(s3_endpoint: str) -> Uri:
    """Return a function that names a fresh place in the bucket."""

    def uri(bucket: str = "bucket", endpoint: str = s3_endpoint) -> str:
        return f"s3://{bucket}/a%200/{uuid.uuid4().hex}?endpoint_override={endpoint}&scheme=http"

    return uri


def make_bucket(admin: pyarrow.fs.S3FileSystem, *, deadline: float) -> None:
    """Make the bucket, of a server whose parts may still be finding each other though its port is open."""
    while True:
        try:
            admin.create_dir("bucket")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    pytest.fail(f"no S3 server within {PATIENCE_S} s: {log.read_text()}")

"""A real S3 server (SeaweedFS) with one bucket, `bucket`, on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs

PATIENCE_S = 60
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "sweeps",
    "AWS_SECRET_ACCESS_KEY": "not/a+secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What whoever talks to it needs in the environment."""

PROGRAM = Path(sysconfig.get_path("scripts"), "weed")
"""Among the development tools, on Linux only."""

_PORTS = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server that keeps its data in a folder; give its address. The environment has to be `ENVIRONMENT`."""
    assert os.environ.items() >= ENVIRONMENT.items()
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    options = ["-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=50", f"-dir={folder}"]
    options += [f"-{name}={port}" for name, port in ports.items()]
    # These have ports that are always the same, and would end a second server.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([PROGRAM, "server", *options], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        _wait_for(ports["s3.port"], server, folder / "log", deadline)
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        admin = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
        _make_bucket(admin, deadline)
        yield endpoint
    finally:
        # A graceful end takes half a minute.
        server.kill()
        server.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _make_bucket(admin: pyarrow.fs.S3FileSystem, deadline: float) -> None:
    """Make the bucket, of a server whose parts may still be finding each other though its port is open."""
    while True:
        try:
            admin.create_dir("bucket")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise TimeoutError(f"no S3 server within {PATIENCE_S} s: {log.read_text()}")

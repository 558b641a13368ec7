"""An address where no Ray is, or one that refuses this process, is told in a sentence, soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import ray
from ray.exceptions import AuthenticationError, RpcError

from sweeps.engine.cluster import handshake
from tests.support.command_line import Sweeps, assert_refused

Serve = Callable[[bytes | None], int]

SETTINGS = b"\0\0\0\4\0\0\0\0\0"

TOY = """
name: toy
study: tests.toy_study:ToyStudy
grid: {shape: [round], method: [quick], seed: [0], dose: [0]}
"""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(handshake, "CONNECT_TIMEOUT_S", 0.3)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that has somebody listen who says this and hangs up, or says nothing; it returns the port."""
    with ExitStack() as stack:

        def listen(says: bytes | None) -> int:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                peer, _ = server.accept()
                stack.callback(peer.close)
                peer.recv(1000)
                if says is not None:
                    peer.sendall(says)
                    peer.close()

            threading.Thread(target=answer, daemon=True).start()
            return int(server.getsockname()[1])

        yield listen


def refused(sweeps: Sweeps, address: str, *words: str) -> None:
    Path("toy.yaml").write_text(TOY)
    ran = sweeps("run", "toy.yaml", "--address", address)
    assert_refused(ran._replace(output=""), f"--address {address}", *words)
    assert not Path("runs", "toy").exists(), "no sweep has begun"


@pytest.mark.parametrize(
    ("says", "found"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "found a web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "found something else than Ray"),
        (b"", "found something else than Ray"),
        (None, "found no answer within 0.3 s"),
    ],
)
def test_who_listens_is_no_ray(sweeps: Sweeps, serve: Serve, says: bytes | None, found: str) -> None:
    refused(sweeps, f"127.0.0.1:{serve(says)}", found, "6379 by default, 8265 is that of its dashboard")


def test_nobody_listens(sweeps: Sweeps) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused(sweeps, f"127.0.0.1:{port}", "Connection refused", "expected a Ray cluster to listen there")


def test_a_name_that_no_host_has(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*address: object, **options: object) -> socket.socket:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    refused(sweeps, "hed:6379", "Name or service not known")


@pytest.mark.parametrize("address", ["head", "head:ray", "head:99999", ""])
def test_an_address_without_a_port(sweeps: Sweeps, address: str) -> None:
    refused(sweeps, address, "found no HOST:PORT, expected one such as head:6379, or auto")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ConnectionError("Could not find any."), "found no Ray that runs on this machine, expected one, or HOST:6379"),
        (PermissionError(13, "Permission denied", "/tmp/ray"), "found [Errno 13] Permission denied: '/tmp/ray'"),
    ],
)
def test_no_address_is_found(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, error: Exception, found: str) -> None:
    def find(address: str) -> str:
        raise error

    monkeypatch.setattr(handshake, "canonicalize_bootstrap_address", find)
    refused(sweeps, "auto", found)


@pytest.mark.parametrize(
    ("error", "environment", "found"),
    [
        (AuthenticationError("wrong"), "1" * 64, "the cluster refuses the token of RAY_AUTH_TOKEN"),
        (
            AuthenticationError("none"),
            "",
            "found no token that the cluster accepts in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_P",
        ),
        (RpcError("unimplemented"), "", "found a server that is no head of Ray (unimplemented)"),
    ],
)
def test_a_ray_that_does_not_admit_this_process(
    sweeps: Sweeps, serve: Serve, monkeypatch: pytest.MonkeyPatch, error: Exception, environment: str, found: str
) -> None:
    def ask(address: str) -> None:
        raise error

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", environment)
    monkeypatch.setattr(handshake, "GcsClient", ask)
    refused(sweeps, f"127.0.0.1:{serve(SETTINGS)}", found)


def test_the_size_of_a_ray_that_others_have_started(sweeps: Sweeps) -> None:
    Path("toy.yaml").write_text(TOY)
    ran = sweeps("run", "toy.yaml", "--address", "10.0.0.1:6379", "--cpus", "4")
    assert_refused(
        ran._replace(output=""), "--cpus 4: found --address 10.0.0.1:6379 beside it, expected one of the two"
    )


def test_a_cluster_that_speaks_tls_is_not_greeted_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers nobody without a certificate, and Ray's own client, which has one, is asked next."""
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        handshake.greet(host, port, timeout_s=0.5)

"""Whether a Ray answers at an address: found out within a deadline, where Ray itself would try for many minutes."""

from __future__ import annotations

import os
import socket
import time

from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import (  # type: ignore[attr-defined]
    AuthenticationMode,
    AuthenticationTokenLoader,
    GcsClient,
    get_authentication_mode,
)
from ray.exceptions import AuthenticationError, RpcError

from sweeps.errors import ClusterError

CONNECT_TIMEOUT_S = 10.0
"""Within which whatever listens at an address has to say its first word."""

ASK_TIMEOUT_S = 30.0

# Ray's head speaks gRPC, that is HTTP/2: a client sends this, and the server's first word is a frame of settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_HEADER_BYTES, _TYPE, _SETTINGS = 9, 3, 4


class NotRayError(Exception):
    """Something listens, and it is no Ray; says in a few words what it did."""


def greet(host: str, port: int, timeout_s: float) -> None:
    """Return once a server of gRPC has answered there.

    Raises:
        OSError: nobody listens, or the name of the host is none.
        NotRayError: who listens says something else, or nothing.
    """
    deadline = time.monotonic() + timeout_s
    heard = b""
    with socket.create_connection((host, port), timeout=timeout_s) as peer:
        if os.environ.get("RAY_USE_TLS") == "1":
            return  # what answers speaks to those with a certificate alone
        try:
            peer.sendall(_PREFACE)
            while len(heard) < _HEADER_BYTES:
                peer.settimeout(max(deadline - time.monotonic(), 0.001))
                more = peer.recv(_HEADER_BYTES - len(heard))
                if not more:
                    break
                heard += more
        except TimeoutError:
            raise NotRayError(f"no answer within {timeout_s:g} s") from None
        except ConnectionError:
            pass  # hung up: what it said before is judged
    if heard.startswith(b"HTTP/"):
        raise NotRayError("a web server")
    if len(heard) < _HEADER_BYTES or heard[_TYPE] != _SETTINGS:
        raise NotRayError("something else than Ray")


def check(address: str) -> None:
    """See that a Ray answers at an address, and admits this process.

    Raises:
        ClusterError: it does not, or the address is none.
    """
    _refuse_client(address)
    found, host, port = _resolved(address)
    named = address if found == address else f"{address} ({found})"
    try:
        greet(host, port, CONNECT_TIMEOUT_S)
    except (OSError, UnicodeError) as error:
        raise ClusterError(f"--address {named}: found {error}, expected a Ray cluster to listen there") from error
    except NotRayError as error:
        raise ClusterError(
            f"--address {named}: found {error}, expected Ray's head: its port is 6379 by default, 8265 is that of its "
            "dashboard"
        ) from error
    try:
        # Ray's client would end this process where it is to show a token and has none.
        shows = get_authentication_mode() == AuthenticationMode.TOKEN
        if shows and not AuthenticationTokenLoader.instance().has_token():
            raise AuthenticationError("none")
        GcsClient(address=found).check_alive([], timeout=ASK_TIMEOUT_S)
    except AuthenticationError as error:
        raise ClusterError(
            f"--address {named}: found {_token()}, expected the cluster's own token, with RAY_AUTH_MODE=token"
        ) from error
    except RpcError as error:
        raise ClusterError(
            f"--address {named}: found a server that is no head of Ray ({error}), expected one: its port is 6379 by "
            "default"
        ) from error


def _resolved(address: str) -> tuple[str, str, int]:
    """Return the address as Ray calls it, and the host and the port to greet."""
    try:
        # `auto` is what RAY_ADDRESS says, or the Ray that was started on this machine last.
        found = canonicalize_bootstrap_address(address)
        if found is None:
            raise ConnectionError
        # Ray turns `localhost` into what others reach this machine by.
        host, _, port = (found if address == "auto" else address).rpartition(":")
        if int(port) not in range(1, 65536):
            raise ValueError
    except ConnectionError:
        raise ClusterError(
            f"--address {address}: found no Ray that runs on this machine, expected one, or HOST:6379, here or in "
            "RAY_ADDRESS"
        ) from None
    except OSError as error:
        raise ClusterError(f"--address {address}: found {error}, expected HOST:6379, here or in RAY_ADDRESS") from error
    except ValueError:
        raise ClusterError(
            f"--address {address}: found no HOST:PORT, expected one such as head:6379, or auto"
        ) from None
    return found, host.strip("[]"), int(port)


def _token() -> str:
    """Say which token this process shows, by its name."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return f"that the cluster refuses the token of {name}"
    return "no token that the cluster accepts in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"


def _refuse_client(address: str) -> None:
    client = next((each for each in (address, os.environ.get("RAY_ADDRESS", "")) if "://" in each), None)
    if client is not None and (client == address or address == "auto"):
        raise ClusterError(
            f"--address {client}: found an address of Ray Client, through which a sweep cannot be driven, expected "
            "`ray job submit --address http://HEAD:8265 -- sweeps run SPEC --address auto`, or the same `sweeps run` "
            "on the head node"
        )

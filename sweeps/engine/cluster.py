"""A Ray to run on: a private one on this machine, or a cluster to join."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import worker
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.exceptions import AuthenticationError

from sweeps.errors import ClusterError

CONNECT_TIMEOUT_S = 10.0

PENDING_TRIALS = 4
"""Trials that queue at a cluster for a place; few, since those queued first are not always those best begun next."""

# Rows and failures are in the storage; Ray's own per-trial files, banners and usage reports are noise beside them.
# Ctrl-C ends the run at once and is said by the command line: nothing is lost that a graceful end would save.
_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextmanager
def connected(address: str | None, **private: Any) -> Iterator[None]:
    """Start a private Ray (`address` None), or join the cluster at `address`; leave it at the end.

    A Ray that this process has connected to before, as a notebook may, is used as it is, and stays.

    Args:
        address: as `ray.init` takes it.
        private: options of `ray.init` for a private Ray, such as `num_gpus`.

    Raises:
        ClusterError: there is no cluster at that address, or it refused this client.
    """
    if ray.is_initialized():
        if address is not None or private:
            raise ClusterError(
                f"--address {address or 'local'}: found this process connected to a Ray already, expected none "
                "(ray.shutdown()), or no address, to use that one"
            )
        _be_quiet()
        set_environment(None)
        yield
        return
    if address is not None:
        _check_reachable(address)
    set_environment(address)
    _be_quiet()
    try:
        if address is None:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **private,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"--address {address or 'local'}: Ray could not be reached ({error})") from error
    if threading.current_thread() is threading.main_thread():
        # What ends a job of Slurm, Kubernetes or `ray job stop` means the same as Ctrl-C. Ray would print its stack.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        ray.shutdown()


def _be_quiet() -> None:
    """Leave it to the live view to say in a line that a process died; Tune would print a traceback, Ray a paragraph."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    worker.print_to_stdstream = lambda *message, **options: None  # Ray has no switch for that


def set_environment(address: str | None) -> None:
    """Silence Ray and Tune, and settle how they authenticate; before they start. What the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Ray decides about tokens by itself unless told; a private one on this machine needs none.
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    else:
        # A cluster that grows on demand sees more than one trial that lacks a place, and starts several nodes at once.
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(PENDING_TRIALS))
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def has_gpus() -> bool:
    """Say whether any node of the cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0) > 0)


def slots(resources: dict[str, float]) -> int:
    """Return how many trials of these resources the cluster can run at a time."""
    total = ray.cluster_resources()
    return int(min(total.get(name, 0) // amount for name, amount in resources.items()))


def _check_reachable(address: str) -> None:
    """Refuse an address nobody listens on at once; Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"--address {address}: found {error}, expected a Ray cluster to listen there") from error

"""Connects to a Ray, a private one or somebody's cluster, and leaves it.

Whoever reaches a Ray can run code on it. A private one listens on 127.0.0.1 alone, and asks for a token that only this
process and those that it starts know: other machines do not reach it, and other users of this machine are refused.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants, worker
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from sweeps.engine.cluster import allotted, capacity, handshake, surroundings
from sweeps.engine.cluster.watch import watched
from sweeps.errors import ClusterError

_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")

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
def connected(address: str | None, *, num_cpus: int | None = None, num_gpus: int | None = None) -> Iterator[None]:
    """Start a private Ray (`address` None or `local`), or join the cluster at `address`; leave it at the end.

    A Ray that this process has connected to before, as a notebook may, is used as it is, and stays.

    Args:
        address: as `ray.init` takes it.
        num_cpus: of a private Ray; by default those that this process may use.
        num_gpus: of a private Ray; by default those that this process sees.

    Raises:
        ClusterError: there is no cluster at that address, it refused this client, or no Ray can be started here.
        StoppedError: Ray has died meanwhile.
    """
    sizes = {"--cpus": num_cpus, "--gpus": num_gpus}
    asked = " ".join(f"{option} {size}" for option, size in sizes.items() if size is not None)
    private = address in (None, "local")
    if ray.is_initialized():
        _check_ours(None if private else address, asked)
        _silence()
        with _quiet(), watched("that this process was connected to", leave=None):
            yield
        return
    if asked and not private:
        raise ClusterError(
            f"{asked}: found --address {address} beside it, expected one of the two: the nodes of a cluster say "
            "themselves what they have"
        )
    heeded = signal.getsignal(signal.SIGTERM)
    opened = _private(num_cpus, num_gpus) if address is None or private else _joined(address)
    watch = watched("of this run" if private else f"at {address}", leave=ray.shutdown)
    with opened, _ended_by(heeded), _quiet(), watch:
        yield


@contextmanager
def _ended_by(heeded: Any) -> Iterator[None]:
    """Have SIGTERM mean in this context what it meant before Ray set its own handler, or Ctrl-C where that was nothing.

    It ends a job of Slurm, Kubernetes or `ray job stop`, and Ray would print its stack.
    """
    if threading.current_thread() is not threading.main_thread() or heeded is None:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler if heeded == signal.SIG_DFL else heeded)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, heeded)


def remarks(address: str | None) -> list[str]:
    """Return what is odd about this machine, as far as it concerns a Ray that would be started on it."""
    return surroundings.remarks() if address in (None, "local") and not ray.is_initialized() else []


def _check_ours(address: str | None, asked: str) -> None:
    """See that the Ray that this process is connected to is the one that the user asks for."""
    if worker._global_node is None:
        raise ClusterError(
            "ray.init: found this process connected by Ray Client (ray://), through which a sweep cannot be driven, "
            "expected ray.shutdown() before, or a process on a node of the cluster"
        )
    if address not in (None, "auto", worker._global_node.gcs_address):
        asked = f"--address {address} {asked}".strip()
    elif not asked:
        return
    raise ClusterError(
        f"{asked}: found this process connected to a Ray already, expected none (ray.shutdown()), or no such option, "
        "to use that one"
    )


@contextmanager
def _joined(address: str) -> Iterator[None]:
    set_environment(address)
    handshake.check(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"--address {address}: Ray could not be reached ({error})") from error
    yield


@contextmanager
def _private(num_cpus: int | None, num_gpus: int | None) -> Iterator[None]:
    """Start a Ray of this process alone; its folders and its token go with this context."""
    cpus = allotted.cpus() if num_cpus is None else num_cpus
    surroundings.check_limits(cpus)
    before = {name: os.environ.get(name) for name in _AUTHENTICATION}
    with surroundings.folders() as folders:
        set_environment(None)
        try:
            try:
                start_private(num_cpus=cpus, num_gpus=num_gpus, **folders)
            except Exception as error:  # Ray has no class for a start that failed
                ray.shutdown()
                raise ClusterError(f"Ray could not be started on this machine ({error})") from error
            yield
        finally:
            # A cluster that this process joins later has another token.
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
            _reread_authentication()


def check_gpus(asked: int) -> None:
    """Refuse more GPUs for a private Ray than this machine has, and than this process may see.

    Raises:
        ClusterError: there are fewer.
    """
    manager = get_accelerator_manager_for_resource("GPU")
    assert manager is not None, "Ray has one for this resource on every machine"
    visible = manager.get_current_process_visible_accelerator_ids()
    found = manager.get_current_node_num_accelerators() if visible is None else len(visible)
    if asked > found:
        raise ClusterError(f"--gpus {asked}: found {found} on this machine for this process, expected at most so many")


def start_private(**options: Any) -> None:
    """Start a Ray of this process alone, and connect to it. `set_environment(None)` comes before.

    Args:
        options: of `ray.init`.
    """
    # Ray would replace 127.0.0.1, were it told so, by an address that others reach; where it takes machines to form no
    # clusters, all of its processes listen there.
    machines_form_clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with _hang_up_blocked():
            ray.init(
                address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **options
            )
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = machines_form_clusters


@contextmanager
def _hang_up_blocked() -> Iterator[None]:
    """Let processes that are started here outlive their terminal: the driver hears of it too, and ends them in order.

    Without them it could not: for a minute it would ask for a Ray that is gone.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # processes inherit that
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave it to the live view to say in a line that a process died; Tune would print a traceback, Ray a paragraph."""
    tune, level, printing = (
        logging.getLogger("ray.tune"),
        logging.getLogger("ray.tune").level,
        worker.print_to_stdstream,
    )
    tune.setLevel(logging.CRITICAL)
    worker.print_to_stdstream = lambda *message, **options: None  # Ray has no switch for that
    try:
        yield
    finally:
        tune.setLevel(level)
        worker.print_to_stdstream = printing


def _silence() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def set_environment(address: str | None) -> None:
    """Silence Ray and Tune, and settle how they authenticate; before they start. What the user has set stays.

    Without an address, a token of its own is made for a Ray that this process starts.
    """
    _silence()
    if address is None:
        # Ray decides about tokens by itself unless told, and would keep one in the user's home.
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        _reread_authentication()
    else:
        capacity.limit_pending(capacity.PENDING_TRIALS)
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _reread_authentication() -> None:
    """Have Ray, which has read them when it was imported, read mode and token from the environment again."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()

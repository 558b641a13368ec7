"""A Ray to run on: a private one on this machine, or a cluster to join; and how much of a sweep it holds.

Whoever reaches a Ray can run code on it. A private one listens on 127.0.0.1 alone, and asks for a token that only this
process and those that it starts know: other machines do not reach it, and other users of this machine are refused.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants, worker
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.exceptions import AuthenticationError
from ray.experimental.internal_kv import _internal_kv_get

from sweeps.errors import ClusterError

CONNECT_TIMEOUT_S = 10.0

PENDING_TRIALS = 4
"""Trials that queue for a place at a cluster that cannot grow; few, since those queued first are not always those best
begun next."""

GROWTH_TOLD_S = 6.0
"""Within which a cluster that has just started tells what its nodes are; Ray looks at them every 5 seconds."""

_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
_UNCOUNTED = ("memory", "object_store_memory")

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
    before = {name: os.environ.get(name) for name in _AUTHENTICATION}
    set_environment(address)
    _be_quiet()
    heeded = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            start_private(**private)
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"--address {address or 'local'}: Ray could not be reached ({error})") from error
    if threading.current_thread() is threading.main_thread():
        # What ends a job of Slurm, Kubernetes or `ray job stop` means the same as Ctrl-C. Ray would print its stack.
        signal.signal(signal.SIGTERM, signal.default_int_handler if heeded == signal.SIG_DFL else heeded)
    try:
        yield
    finally:
        ray.shutdown()
        if address is None:
            # A cluster that this process joins later has another token.
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
            _reread_authentication()


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


def _be_quiet() -> None:
    """Leave it to the live view to say in a line that a process died; Tune would print a traceback, Ray a paragraph."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    worker.print_to_stdstream = lambda *message, **options: None  # Ray has no switch for that


def set_environment(address: str | None) -> None:
    """Silence Ray and Tune, and settle how they authenticate; before they start. What the user has set stays.

    Without an address, a token of its own is made for a Ray that this process starts.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is None:
        # Ray decides about tokens by itself unless told, and would keep one in the user's home.
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        _reread_authentication()
    else:
        _let_pend(PENDING_TRIALS)
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _reread_authentication() -> None:
    """Have Ray, which has read them when it was imported, read mode and token from the environment again."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


# How much it holds


def has_gpus() -> bool:
    """Say whether any node of the cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0) > 0)


def slots(resources: Mapping[str, float]) -> int:
    """Return how many trials of these resources the cluster can run at a time, each of them on one node."""
    return sum(_places(node, resources) for node in _nodes())


def largest_node(resources: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return what the largest node has, of what is counted: CPUs, GPUs, kinds of accelerators; empty without nodes.

    Args:
        resources: of a trial, which the largest node comes closest to hold; by default that with the most GPUs, and of
            these with the most CPUs.
    """

    def size(node: Mapping[str, float]) -> tuple[float, ...]:
        shares = [min(1.0, node.get(name, 0) / amount) for name, amount in (resources or {}).items()]
        return (sum(shares), node.get("GPU", 0), node.get("CPU", 0))

    return max(_nodes(), key=size, default={})


def check_fits(resources: Mapping[str, float], *, may_wait: bool = True) -> str:
    """See that a node can hold a trial; return a sentence where none can now and the sweep waits for one, else nothing.

    Args:
        resources: of a trial.
        may_wait: for nodes of a cluster that can grow.

    Raises:
        ClusterError: no node can, and none will come.
    """
    if slots(resources) >= 1:
        return ""
    held, largest = _told(resources), _told(largest_node(resources)) or "nothing"
    if may_wait and can_grow():
        return (
            f"a trial holds {held}, more than any node has now, the largest {largest}: waiting for the cluster to grow"
        )
    raise ClusterError(
        f"resources: a trial holds {held}, expected what one node has at most: the largest has {largest}, "
        "and this Ray starts no others"
    )


def can_grow() -> bool:
    """Say whether an autoscaler can start nodes: of `ray up`, of KubeRay, or one that `ray start` was told of.

    Ray's monitor runs in every cluster. Where it starts no nodes, it calls each by its id, and else by a type.
    """
    if worker._global_node is None or worker._global_node.is_head():
        return False  # a Ray that this process has started
    if is_autoscaler_v2(fetch_from_server=True):
        state = get_cluster_resource_state(worker.global_worker.gcs_client)
        return any(node.ray_node_type_name for node in state.node_states)
    deadline = time.monotonic() + GROWTH_TOLD_S
    types = _types_of_nodes()
    while types is None and time.monotonic() < deadline:
        time.sleep(0.2)
        types = _types_of_nodes()
    return any(kind != f"node_{node}" for node, kind in (types or {}).items())


def let_pend(trials: int) -> None:
    """Let as many trials queue for a place as a cluster may grow for. Tune reads it when it starts to run trials.

    Args:
        trials: that there are to run; few queue where the cluster cannot grow. What the user has set stays.
    """
    if worker._global_node is not None and not worker._global_node.is_head():
        _let_pend(max(trials, 1) if can_grow() else PENDING_TRIALS)


_pending_by_us: set[str] = set()


def _let_pend(trials: int) -> None:
    value = os.environ.get(_PENDING)
    if value is None or value in _pending_by_us:
        os.environ[_PENDING] = str(trials)
        _pending_by_us.add(str(trials))


def _types_of_nodes() -> dict[str, str] | None:
    """Return the type of each node as the monitor calls it; None where it has not told yet."""
    status = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    report = json.loads(status).get("autoscaler_report") if status else None
    return None if report is None else (report.get("node_type_mapping") or None)


def _nodes() -> list[dict[str, float]]:
    """Return what each node has that is there, of what is counted."""
    return [
        {
            name: amount
            for name, amount in node["Resources"].items()
            if name not in _UNCOUNTED and not name.startswith("node:")
        }
        for node in ray.nodes()
        if node["Alive"]
    ]


def _places(node: Mapping[str, float], resources: Mapping[str, float]) -> int:
    # Fractions of a GPU do not divide evenly in binary.
    return min(int(node.get(name, 0) / amount + 1e-6) for name, amount in resources.items() if amount)


def _told(resources: Mapping[str, float]) -> str:
    """`4 CPU, 1 GPU, H100`."""
    kind = "accelerator_type:"
    return ", ".join(
        name.removeprefix(kind) if name.startswith(kind) else f"{amount:g} {name}" for name, amount in resources.items()
    )


def _check_reachable(address: str) -> None:
    """Refuse an address nobody listens on at once; Ray itself would try for many minutes."""
    client = next((each for each in (address, os.environ.get("RAY_ADDRESS", "")) if "://" in each), None)
    if client is not None and (client == address or address == "auto"):
        raise ClusterError(
            f"--address {client}: found an address of Ray Client, through which a sweep cannot be driven, expected "
            "`ray job submit --address http://HEAD:8265 -- sweeps run SPEC --address auto`, or the same `sweeps run` "
            "on the head node"
        )
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"--address {address}: found {error}, expected a Ray cluster to listen there") from error

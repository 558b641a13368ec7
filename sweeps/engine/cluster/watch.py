"""Ends a run whose Ray has died: its driver would wait for ever, or end without a word."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray._private import ray_constants, worker

from sweeps.engine.cluster.handshake import NotRayError, greet
from sweeps.errors import StoppedError, SweepError

LOOK_EVERY_S = 2.0
ANSWER_WITHIN_S = 5.0

RECONNECT_S = 60.0
"""How long Ray's processes wait for their head to come back, unless told; then each of them ends itself."""

PATIENCE, LEAVING = 0.5, 0.25
"""Of that, how long this run waits for it, and then how long it may take to leave, so that it ends before."""

SHOW_CURSOR = "\x1b[?25h"

INTERRUPT = signal.SIGUSR2
"""How the main thread is told: not as Ctrl-C, which a user would be told of."""

_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
_VITAL = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)


@contextmanager
def watched(which: str, *, leave: Callable[[], None] | None) -> Iterator[None]:
    """Interrupt what is done in this context once Ray has died, and end the process if that is no help.

    Args:
        which: words that tell the user which Ray it is.
        leave: that Ray, at the end; None for a Ray that stays, where the process stays as well.

    Raises:
        StoppedError: Ray has died.
    """
    watch = _Watch(which, may_exit=leave is not None)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:  # Python lets nobody interrupt another thread
        before = signal.signal(INTERRUPT, signal.default_int_handler) or signal.SIG_DFL
        watch.start()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        # Where Ray dies, its own errors may be faster than a look at it.
        if watch.lost or not isinstance(error, SweepError | KeyboardInterrupt):
            try:
                lost = watch.lost or watch.look()
            except KeyboardInterrupt:  # the watch has found out meanwhile, or it is the user's
                lost = watch.lost
            if lost:
                raise StoppedError(lost) from error
        raise
    finally:
        if not watch.lost and watch.is_alive():
            watch.over.set()
            watch.join(2 * ANSWER_WITHIN_S)  # it may be asking Ray
        if leave is not None:
            leave()
        watch.over.set()
        if is_main:
            signal.signal(INTERRUPT, before)


class _Watch(threading.Thread):
    """Looks at Ray from a thread of its own, until `over` is set."""

    def __init__(self, which: str, *, may_exit: bool) -> None:
        super().__init__(name="watch of Ray", daemon=True)
        self.lost = ""
        self.over = threading.Event()
        self._which, self._may_exit = which, may_exit
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._node = ray.get_runtime_context().get_node_id()
        reconnect = float(os.environ.get(_RECONNECT, RECONNECT_S))
        self._patience, self._leaving = PATIENCE * reconnect, LEAVING * reconnect

    def run(self) -> None:
        """Look again and again; interrupt the main thread where Ray is dead, and end the process if that is no help."""
        silent_since = None
        while not self.lost:
            if self.over.wait(LOOK_EVERY_S):
                return
            now = time.monotonic()
            try:
                self.lost = self._dead()
                silent_since = None
            except (OSError, NotRayError) as error:
                silent_since = now if silent_since is None else silent_since
                if now - silent_since >= self._patience:
                    self.lost = self._say(f"its head has not answered for {self._patience:g} s ({error})")
        if self.over.is_set():
            return
        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT)
        if not self.over.wait(self._leaving) and self._may_exit:
            # The live view, which has hidden the cursor of a terminal, is not left as it should be.
            print(f"{SHOW_CURSOR * sys.stderr.isatty()}Error: {self.lost}", file=sys.stderr, flush=True)
            node = worker._global_node
            if node is not None and node.is_head():
                node.kill_all_processes(check_alive=False, allow_graceful=False)
                shutil.rmtree(node.temp_dir, ignore_errors=True)
            os._exit(1)

    def look(self) -> str:
        """Return why Ray is dead; empty if it is not."""
        try:
            return self._dead()
        except (OSError, NotRayError) as error:
            return self._say(f"its head does not answer ({error})")

    def _dead(self) -> str:
        """Return which process of Ray has ended that a run cannot be without.

        Raises:
            OSError, NotRayError: the head does not answer; it may come back.
        """
        node = worker._global_node
        if node is not None and node.is_head():
            ended = [kind for kind, _ in node.dead_processes() if kind in _VITAL]
            if ended:
                return self._say(f"its process {ended[0]} has ended")
        greet(self._host, self._port, ANSWER_WITHIN_S)
        if not any(each["Alive"] for each in ray.nodes() if each["NodeID"] == self._node):
            return self._say("its node that this run is connected to has died")
        return ""

    def _say(self, what: str) -> str:
        return (
            f"the Ray {self._which} has died: {what}; the sweep was stopped, finished rows are published, and the same "
            "command resumes"
        )

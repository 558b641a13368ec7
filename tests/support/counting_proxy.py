"""A proxy in front of an object store that counts what is asked, and may answer late as a far one does."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:.*chunked", re.IGNORECASE | re.MULTILINE)


class Asked(NamedTuple):
    """A request: its method, its path with what was asked of it, and the bytes of its body."""

    method: str
    path: str
    size: int

    @property
    def kind(self) -> str:
        """What it does: the method, but for listings and the parts of large uploads."""
        if self.method == "GET" and ("list-type=" in self.path or "prefix=" in self.path):
            return "LIST"
        return "PART" if re.search(r"[?&](uploads|uploadId)\b", self.path) else self.method


class Proxy:
    """Listens on `port` of this machine; `asked` are the requests since the last `clear`."""

    def __init__(self, target: int, delay_s: float = 0.0) -> None:
        """Pass on to a port of this machine, each request after a delay."""
        self._target, self.delay_s = target, delay_s
        self._lock, self._asked, self.received = threading.Lock(), list[Asked](), 0
        self._broken: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def asked(self) -> list[Asked]:
        """Return the requests that were begun."""
        with self._lock:
            return list(self._asked)

    @property
    def counts(self) -> Counter[str]:
        """Return how many there were of each kind."""
        return Counter(each.kind for each in self.asked)

    @property
    def sent(self) -> int:
        """Return the bytes of all bodies."""
        return sum(each.size for each in self.asked)

    def break_next(self, *ways: str) -> None:
        """Let the next requests fail, one in each way: a number of HTTP's is answered; `reset`: the connection is,
        before anything is passed on; `lost`: the request is passed on, and the connection ends before the answer.
        """
        with self._lock:
            self._broken += ways

    def clear(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._asked.clear()
            self.received = 0

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                store = socket.create_connection(("127.0.0.1", self._target))
                for each in (client, store):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for work in (self._pass_on, self._pass_back):
                    threading.Thread(target=work, args=(client, store), daemon=True).start()

    def _pass_on(self, client: socket.socket, store: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client.makefile("rb") as stream:
            while head := _head(stream):
                method, path, _ = head.split(b" ", 2)
                length = _LENGTH.search(head)
                size = int(length[1]) if length else 0
                with self._lock:
                    self._asked.append(Asked(method.decode(), path.decode(), size))
                    broken = self._broken.pop(0) if self._broken else ""
                time.sleep(self.delay_s)
                if broken.isdecimal():
                    stream.read(size)
                    client.sendall(f"HTTP/1.1 {broken} Injected\r\ncontent-length: 0\r\n\r\n".encode())
                    continue
                if broken == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    break
                if broken == "lost":
                    # Another connection takes it there, and nobody hears what becomes of it.
                    _deliver(self._target, head + stream.read(size))
                    break
                store.sendall(head)
                if _CHUNKED.search(head):
                    for piece in _chunks(stream):
                        store.sendall(piece)
                while size and (piece := stream.read(min(size, 2**16))):
                    size -= len(piece)
                    store.sendall(piece)
        _shut(client, store)

    def _pass_back(self, client: socket.socket, store: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := store.recv(2**16):
                with self._lock:
                    self.received += len(piece)
                client.sendall(piece)
        _shut(client, store)


@contextlib.contextmanager
def before(endpoint: str, delay_s: float = 0.0) -> Iterator[Proxy]:
    """Count what is asked of an endpoint, `http://127.0.0.1:PORT`, by whoever asks the proxy's port instead."""
    proxy = Proxy(int(endpoint.rpartition(":")[2]), delay_s)
    try:
        yield proxy
    finally:
        proxy.close()


def _head(stream: BinaryIO) -> bytes:
    """Return a request up to its body; nothing where the client has left."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline():
        size = int(line.split(b";")[0], 16)
        yield line + stream.read(size + 2)
        if not size:
            return


def _deliver(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as store:
        store.sendall(request)
        store.recv(2**16)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)

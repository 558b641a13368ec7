"""In a bucket a name is written once, however many write it at whatever moment; and a file costs one request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import numpy as np
import obstore
import pyarrow as pa
import pytest

from sweeps.storage import Store
from sweeps.storage.backends import bucket, location, notices
from sweeps.storage.backends.arrow import ArrowFileSystem
from sweeps.storage.backends.bucket import Bucket
from sweeps.storage.files import Files
from tests.sweeps.conftest import Uri


def of_bucket(files: Files) -> Bucket:
    assert isinstance(files._backend, Bucket)
    return files._backend


def test_of_simultaneous_writers_exactly_one_publishes(s3: Uri) -> None:
    place = s3()
    stores = [Store(place) for _ in range(4)]
    with ThreadPoolExecutor(len(stores)) as pool:
        for attempt in range(10):
            start = threading.Barrier(len(stores))

            def publish(number: int, start: threading.Barrier = start, key: str = f"a-{attempt}") -> bool:
                start.wait()
                return stores[number].publish_row("toy", key, pa.table({"who": [number]}))

            won = list(pool.map(publish, range(len(stores))))
            assert sum(won) == 1
            found = stores[0].read_row("toy", f"a-{attempt}")
            assert found is not None
            assert found["who"].to_pylist() == [won.index(True)]


def test_a_writer_that_slept_between_its_look_and_its_upload_changes_nothing(s3: Uri) -> None:
    place = s3()
    quick, slow = Store(place), Store(place)
    replace, asleep = of_bucket(slow.files).replace, threading.Event()

    def sleep(name: str, data: bytes) -> None:
        # Its tensors are uploaded; what makes them count is not.
        replace(name, data)
        quick.publish_checkpoint("base-1", {"weights": np.ones(2)}, {"host": "quick"})
        asleep.set()

    of_bucket(slow.files).replace = sleep  # type: ignore[method-assign]
    winner = slow.publish_checkpoint("base-1", {"weights": np.zeros(2)}, {"host": "slow"})
    assert asleep.is_set()
    assert winner is not None
    assert winner.tensors["weights"].tolist() == [1.0, 1.0]
    assert len(slow.files.list("checkpoints/base-1")) == 2, "the tensors of the loser are removed"


def test_a_store_that_ignores_the_condition_is_found_out_and_told(s3: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    put = obstore.put

    def ignore(*arguments: Any, **options: Any) -> Any:
        return put(*arguments, **{**options, "mode": "overwrite"})

    monkeypatch.setattr(obstore, "put", ignore)
    files, said = Files(s3()), list[str]()
    with notices.listen(said.append):
        files.check_writable()
    assert not files.never_replaces
    assert len(said) == 1
    assert "cannot refuse to write over a file" in said[0]
    assert files.publish("a", b"1")
    assert not files.publish("a", b"2")
    assert files.read("a") == b"1"


def test_a_store_that_refuses_the_condition_is_found_out(s3: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    put = obstore.put

    def refuse(*arguments: Any, **options: Any) -> Any:
        if options["mode"] == "create":
            raise obstore.exceptions.GenericError("Server returned non-2xx status code: 501 Not Implemented")
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", refuse)
    files = Files(s3())
    assert files.publish("a", b"1")
    assert not files.publish("a", b"2")
    assert not files.never_replaces


def test_a_store_that_keeps_what_is_there_is_told_nothing_of(s3: Uri) -> None:
    files, said = Files(s3()), list[str]()
    with notices.listen(said.append):
        files.check_writable()
    assert files.never_replaces
    assert said == []


def test_large_files_are_sent_in_parts(s3: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "LARGEST_PUT", 6 * 2**20)
    monkeypatch.setattr(bucket, "PART", 5 * 2**20)
    files, data = Files(s3()), np.random.default_rng(0).bytes(11 * 2**20)
    files.publish("a/large", data, replace=True)
    assert files.read("a/large") == data
    assert [file[:2] for file in files.list("a")] == [("large", len(data))]


def test_folders_are_named(s3: Uri) -> None:
    files = Files(s3())
    for name in ("a/b/c", "a/d/e", "f"):
        files.publish(name, b"")
    assert sorted(files.folders()) == ["a"]
    assert sorted(files.folders("a")) == ["b", "d"]


@pytest.mark.parametrize("options", ["&region=eu-central-1", "&region=eu-central-1&allow_bucket_creation=true"])
def test_options_that_the_other_client_lacks_are_left_to_arrow(s3: Uri, options: str) -> None:
    files = Files(s3() + options)
    assert isinstance(files._backend, ArrowFileSystem if "creation" in options else Bucket)
    assert files.publish("a b/ü", b"1")
    assert not files.publish("a b/ü", b"2")
    assert [file.name for file in files.list("a b")] == ["ü"]
    assert files.read("a b/ü") == b"1"


def test_both_clients_name_objects_alike(s3: Uri) -> None:
    place = s3()
    ours, arrows = Files(place), Files(f"{place}&allow_bucket_creation=false")
    for name in ("a b/c+d=e", "ü/%20", "x/it's [1]*"):
        ours.publish(name, b"1")
        assert arrows.read(name) == b"1"
        arrows.publish(f"{name}.2", b"2")
        assert ours.read(f"{name}.2") == b"2"
    assert {file.name for file in ours.list("", recursive=True)} == {
        file.name for file in arrows.list("", recursive=True)
    }


Request = tuple[str, str, dict[str, str]]


@pytest.fixture
def google() -> Iterator[tuple[str, list[Request]]]:
    """A store that speaks as much of Google's API as a put takes, and keeps what it was asked."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, dict(self.headers)))
            taken = "x-goog-if-generation-match" in self.headers and self.path.endswith("taken")
            self.send_response(412 if taken else 200)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"1"')
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_googles_store_is_asked_by_its_own_condition(
    google: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, asked = google
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "secret")
    client = location.google_store("bucket", f"http://{endpoint}", {"allow_http": True})
    there = Bucket(client, "runs", well_known=True, deletes_many=False)
    assert not there.create("toy/taken", b"1")
    assert there.create("toy/free", b"1")
    assert [(method, unquote(path)) for method, path, _ in asked] == [
        ("PUT", "/bucket/runs/toy/taken"),
        ("PUT", "/bucket/runs/toy/free"),
    ]
    for _, _, headers in asked:
        assert {name.lower(): value for name, value in headers.items()}["x-goog-if-generation-match"] == "0"

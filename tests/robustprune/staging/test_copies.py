"""A copy holds what the place held when it was listed: brought once, checked, gone on with, and made anew on change."""

from __future__ import annotations

import hashlib
import os
import shutil
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from robustprune.core.errors import InputError
from robustprune.staging import copies, remote
from robustprune.staging.remote import Checksum, checksum
from tests.robustprune.staging.fake_store import URI, FakeStore, opened


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tag(data: bytes, *, parts: str = "") -> dict[str, bytes]:
    return {"ETag": f'"{hashlib.md5(data).hexdigest()}{parts}"'.encode()}


def test_all_is_brought_once(
    bucket: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = opened()
    monkeypatch.setattr(copies, "MENTIONED", 12)
    first.fetch(first.files)
    assert content(first.folder) == {"a.txt": b"one", "val/b 0.png": b"two!", "val/c.png": b"three"}
    assert f"{URI}: copying 3 files (12 bytes) to {first.folder}\n" == capsys.readouterr().err
    for again in (first, opened()):
        again.fetch(again.files)
        assert again.folder == first.folder
    assert sorted(bucket.read) == ["a.txt", "val/b 0.png", "val/c.png"]


def test_a_long_copy_tells_how_far_it_is(
    bucket: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(copies, "PATIENCE", 0)
    copy = opened()
    copy.fetch(["val/c.png"])
    assert capsys.readouterr().err == "".join(
        f"{URI}: 0 of 1 file copied, {came} bytes of 5 bytes\n" for came in (2, 4, 5)
    )


def test_only_what_is_asked_for_is_brought(bucket: FakeStore) -> None:
    copy = opened()
    copy.fetch(["val/c.png", "nowhere.png"])
    assert bucket.read == ["val/c.png"]


def test_who_comes_at_the_same_time_waits_and_brings_nothing(bucket: FakeStore) -> None:
    def process(_: int) -> Path:
        copy = opened()
        copy.fetch(copy.files)
        return copy.folder

    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(process, range(8))}) == 1
    assert len(bucket.read) == 3


def test_a_listing_is_shared_by_those_that_waited_for_it(bucket: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    later = iter([100.0, 105.0, 106.0, 103.0, 107.0, 110.0, 111.0])
    monkeypatch.setattr("time.time", lambda: next(later))
    opened()  # asks at 100, lists at 105
    assert bucket.listings == 1
    next(later)
    opened()  # asked at 103: the listing of 105 is as new as any
    assert bucket.listings == 1
    opened()  # asks at 110
    assert bucket.listings == 2


def test_an_interrupted_copy_goes_on_where_it_stood(bucket: FakeStore) -> None:
    bucket.put("large.bin", b"0123456789")
    came: list[bytes] = []

    def dies(name: str, block: bytes) -> bytes:
        came.append(block)
        if len(came) == 4:
            raise RuntimeError("killed")
        return block

    bucket.on_block = dies
    with pytest.raises(RuntimeError, match="killed"):
        opened().fetch(["large.bin"])
    assert not (opened().folder / "large.bin").exists()
    copy = opened()
    copy.fetch(["large.bin"])
    assert (copy.folder / "large.bin").read_bytes() == b"0123456789"
    assert came == [b"01", b"23", b"45", b"67", b"67", b"89"]


def test_an_outage_is_sat_out(bucket: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 5)
    failures = iter([OSError("AWS Error SLOW_DOWN"), OSError("AWS Error NETWORK_CONNECTION: curlCode: 7")])

    def fails(name: str, block: bytes) -> bytes:
        for error in failures:
            raise error
        return block

    bucket.on_block = fails
    copy = opened()
    copy.fetch(copy.files)
    assert len(content(copy.folder)) == 3


def test_patience_begins_anew_with_every_block(bucket: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0.2)
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.15)
    bucket.put("large.bin", b"0123456789")
    failed: set[bytes] = set()

    def fails_once(name: str, block: bytes) -> bytes:
        if block not in failed:
            failed.add(block)
            raise OSError("AWS Error SLOW_DOWN")
        return block

    bucket.on_block = fails_once
    copy = opened()
    copy.fetch(["large.bin"])
    assert (copy.folder / "large.bin").read_bytes() == b"0123456789"
    assert len(failed) == 5


def test_a_change_is_noticed_and_leaves_who_reads_alone(bucket: FakeStore) -> None:
    before = opened()
    before.fetch(before.files)
    bucket.read.clear()
    bucket.put("val/c.png", b"other")  # as long as before
    after = opened()
    after.fetch(after.files)
    assert bucket.read == ["val/c.png"]
    assert content(after.folder)["val/c.png"] == b"other"
    assert content(before.folder)["val/c.png"] == b"three"
    # What nobody reads goes.
    before._held.close()
    opened()
    assert not before.folder.exists()
    assert content(after.folder)["a.txt"] == b"one"


def test_what_was_damaged_here_is_brought_again(bucket: FakeStore) -> None:
    first = opened()
    first.fetch(first.files)
    bucket.read.clear()
    (first.folder / "a.txt").write_bytes(b"on")
    (first.folder / "val/c.png").write_bytes(b"THREE")
    os.utime(first.folder / "val/b 0.png", ns=(1, 1))  # another time stamp, the same bytes
    again = opened()
    again.fetch(again.files)
    assert sorted(bucket.read) == ["a.txt", "val/c.png"]
    assert content(again.folder)["val/c.png"] == b"three"


def test_bytes_that_are_not_those_of_the_checksum_are_refused(bucket: FakeStore) -> None:
    bucket.tags["a.txt"] = tag(b"one")
    broken = iter([b"oX", b"oY"])
    bucket.on_block = lambda name, block: next(broken, block) if block == b"on" else block
    with pytest.raises(InputError, match=rf"^dataset.root: {URI}: a.txt arrived twice as other bytes than"):
        opened().fetch(["a.txt"])
    copy = opened()
    copy.fetch(["a.txt"])
    assert (copy.folder / "a.txt").read_bytes() == b"one"


def test_bytes_broken_once_are_brought_again(bucket: FakeStore) -> None:
    bucket.tags["a.txt"] = tag(hashlib.md5(b"one").digest(), parts="-1")
    broken = iter([b"oX"])
    bucket.on_block = lambda name, block: next(broken, block) if block == b"on" else block
    copy = opened()
    copy.fetch(["a.txt"])
    assert (copy.folder / "a.txt").read_bytes() == b"one"


def test_a_tag_that_is_no_checksum_is_told_by_the_same_bytes_twice(bucket: FakeStore) -> None:
    bucket.tags["a.txt"] = tag(b"encrypted with a key")
    copy = opened()
    copy.fetch(["a.txt"])
    assert (copy.folder / "a.txt").read_bytes() == b"one"
    assert bucket.read == ["a.txt", "a.txt"]


def test_googles_checksum_is_nothing_else(bucket: FakeStore) -> None:
    bucket.tags["a.txt"] = {"md5Hash": b64encode(hashlib.md5(b"other").digest())}
    with pytest.raises(InputError, match="arrived twice"):
        opened().fetch(["a.txt"])


def test_checksums_of_stores() -> None:
    md5 = hashlib.md5(b"one").hexdigest()
    assert checksum(tag(b"one")) == Checksum(md5)
    assert checksum(tag(b"one", parts="-1")) == Checksum(md5, parts=True)
    assert checksum(tag(b"one", parts="-2")) is None
    assert checksum({}) is None


def test_what_changes_under_way_is_refused(bucket: FakeStore) -> None:
    def changes(name: str, block: bytes) -> bytes:
        bucket.put("a.txt", b"two")
        return block

    bucket.on_block = changes
    with pytest.raises(InputError, match=rf"^dataset.root: {URI}: a.txt changed while it was copied, expected"):
        opened().fetch(["a.txt"])


def test_a_disk_that_is_full_is_told_before(bucket: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(11))
    copy = opened()
    with pytest.raises(InputError) as error:
        copy.fetch(copy.files)
    home = copy.folder.parent
    expected = (
        f"found 11 bytes free for its copy in {home}, expected 12 bytes (ROBUSTPRUNE_CACHE=DIR puts it elsewhere)"
    )
    assert str(error.value) == f"dataset.root: {URI}: {expected}"
    assert bucket.read == []


@pytest.mark.parametrize("number", ["ENOSPC", "EACCES"])
def test_what_the_disk_refuses_is_told(bucket: FakeStore, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    code = getattr(__import__("errno"), number)

    def refuses(self: object, block: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("robustprune.staging.transfer._Part.take", refuses)
    with pytest.raises(InputError, match="free for its copy" if number == "ENOSPC" else "cannot be copied to"):
        opened().fetch(["a.txt"])


def test_without_an_answer_the_copy_stands(bucket: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    first = opened()
    first.fetch(["a.txt"])
    bucket.down = OSError("AWS Error NETWORK_CONNECTION: curlCode: 6, Could not resolve hostname")
    capsys.readouterr()
    again = opened()
    again.fetch(["a.txt"])
    assert again.folder == first.folder
    assert "cannot be reached (AWS Error NETWORK_CONNECTION" in (said := capsys.readouterr().err)
    assert said.endswith("; taken as it was when it was copied\n")
    with pytest.raises(InputError, match="cannot be reached"):
        again.fetch(["val/c.png"])


def test_one_file_is_a_place_too(bucket: FakeStore) -> None:
    copy = opened(f"{URI}/val/c.png?scheme=http")
    copy.fetch(copy.files)
    assert copy.path.name == "c.png"
    assert copy.path.read_bytes() == b"three"

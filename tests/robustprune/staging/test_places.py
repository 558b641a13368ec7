"""Paths are themselves, and URIs have paths that stand for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustprune import staging
from robustprune.core.errors import InputError
from tests.robustprune.staging.fake_store import URI, FakeStore


@pytest.mark.parametrize("place", ["data/coco", "/a 0/b", "s3:/bucket", ""])
def test_a_path_is_itself(place: str) -> None:
    assert staging.local(place, "dataset.root") == staging.opened(place, "dataset.root") == Path(place)


def test_files_of_this_machine_are_read_where_they_are(tmp_path: Path) -> None:
    assert staging.local(f"file://{tmp_path}/a%200", "dataset.root") == tmp_path / "a 0"


def test_what_is_elsewhere_is_told_before_it_is_brought(bucket: FakeStore) -> None:
    root = staging.opened(URI, "dataset.root")
    assert staging.listed(root) == frozenset({"a.txt"})
    assert staging.listed(root / "val") == frozenset({"b 0.png", "c.png"})
    assert staging.listed(root / "none") == frozenset()
    assert staging.listed_below(root) == ["a.txt", "val/b 0.png", "val/c.png"]
    assert staging.listed_below(root / "val" / ".." / "val") == ["b 0.png", "c.png"]
    assert staging.shown(root / "val/c.png") == f"{URI}/val/c.png"
    assert bucket.read == []
    staging.fetch([root / "val/c.png", Path("elsewhere.png")])
    assert (root / "val/c.png").read_bytes() == b"three"
    assert bucket.read == ["val/c.png"]


def test_what_is_here_is_told_by_its_path(bucket: FakeStore, tmp_path: Path) -> None:
    assert staging.listed(tmp_path) is None
    assert staging.listed_below(tmp_path) is None
    assert staging.shown(tmp_path) == str(tmp_path)
    staging.fetch([tmp_path / "nothing"])


def test_parts_of_a_place(bucket: FakeStore) -> None:
    assert (staging.local(URI, "dataset.root", parts=("val", "val.zip")) / "val/c.png").is_file()
    assert sorted(bucket.read) == ["val/b 0.png", "val/c.png"]
    with pytest.raises(InputError) as error:
        staging.local(URI, "dataset.root", parts=("va", "train.zip"))
    assert str(error.value) == f"dataset.root: {URI}: found a.txt, val, expected va or train.zip"


def test_complaints_name_what_a_user_named(bucket: FakeStore) -> None:
    root = staging.opened(f"{URI}/?scheme=http", "dataset.root")
    with pytest.raises(InputError) as error, staging.told_by_uri():
        raise InputError(f"{root}/val: found nothing")
    assert str(error.value) == f"{URI}/val: found nothing"


def test_a_process_sees_a_place_as_it_was_first(bucket: FakeStore) -> None:
    root = staging.local(URI, "dataset.root")
    bucket.put("a.txt", b"other")
    assert (staging.local(URI, "detector.weights") / "a.txt").read_bytes() == b"one"
    assert staging.opened(URI, "dataset.root") == root

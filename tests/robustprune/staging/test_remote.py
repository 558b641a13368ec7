"""What is wrong with a URI is told in one sentence."""

from __future__ import annotations

import pyarrow as pa
import pytest

from robustprune.core.errors import InputError
from robustprune.staging.remote import Remote
from tests.robustprune.staging.fake_store import URI, FakeStore


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("s3://nobody/coco", "s3://nobody/coco: found no bucket 'nobody', expected one that exists"),
        (f"{URI}/nothing", "nothing: found nothing there, expected a folder of files, or a file"),
        ("s3://", "found no bucket, expected one, as in s3://bucket/coco"),
        (
            "s3://me:secret@bucket/coco",
            "weights: s3://…: found credentials in the URI, expected credentials in the env",
        ),
        ("s3://bucket/coco?secret_key=x", "weights: s3://…: found credentials in the URI"),
    ],
)
def test_a_place_that_is_none_is_told(bucket: FakeStore, uri: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Remote(uri, "weights").files()
    assert sentence in str(error.value)
    assert str(error.value).startswith("weights: ")
    assert "secret" not in str(error.value).replace("SECRET", "")


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (
            OSError("AWS Error ACCESS_DENIED during HeadObject (Request ID: 18E)"),
            "access denied (AWS Error ACCESS_DENIED",
        ),
        (OSError("Bucket 'coco' not found"), "found no such bucket ("),
        (OSError("key 'no_such_bucket/credentials/1.jpg': SLOW_DOWN"), "cannot be reached ("),
        (pa.lib.ArrowCapacityError("RESOURCE_EXHAUSTED"), "cannot be reached (RESOURCE_EXHAUSTED)"),
        (pa.ArrowInvalid("no such option"), "found no such option, expected a path, or a URI"),
        (PermissionError(13, "google says no"), "access denied ("),
        (OSError("AWS Error NO_SUCH_BUCKET during ListObjectsV2"), "found no such bucket ("),
        (OSError("curlCode: 7, Could not connect to server"), "cannot be reached (curlCode: 7"),
        (OSError("AWS Error SLOW_DOWN"), "cannot be reached (AWS Error SLOW_DOWN)"),
    ],
)
def test_a_store_that_refuses_is_told(bucket: FakeStore, raised: Exception, sentence: str) -> None:
    bucket.down = raised
    with pytest.raises(InputError) as error:
        Remote(URI, "dataset.root").files()
    assert str(error.value).startswith(f"dataset.root: {URI}: {sentence}")
    assert "Request ID" not in str(error.value)


def test_a_uri_that_no_file_system_knows_is_told() -> None:
    with pytest.raises(InputError, match=r"^dataset.root: s4://x/y: found .*, expected a path, or a URI such as s3://"):
        Remote("s4://x/y", "dataset.root").files()

"""Uploads to S3 in parts whose writer died between them: no listing shows them, and their parts are paid for.

The client of `bucket` cannot ask for them, so that this asks by itself, with keys of the environment or of a profile.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from sweeps.storage.backends import Upload
from sweeps.storage.backends.retry import RefusedError

TIMEOUT_S = 30.0

_NOTHING = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """What signs a request."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


class Uploads:
    """The unfinished uploads of a bucket."""

    def __init__(self, endpoint: str, region: str, bucket: str, keys: Keys) -> None:
        """Take the address, such as `https://s3.eu-central-1.amazonaws.com`."""
        self._endpoint, self._region, self._bucket, self._keys = urlsplit(endpoint), region, bucket, keys

    def below(self, prefix: str) -> Iterator[Upload]:
        """Yield those whose names begin like that, by their whole names in the bucket."""
        marker: dict[str, str] = {}
        while True:
            answer = ElementTree.fromstring(self._ask("GET", "", {"uploads": "", "prefix": prefix, **marker}))
            for upload in answer.iterfind("{*}Upload"):
                began = datetime.fromisoformat(_text(upload, "Initiated").replace("Z", "+00:00"))
                yield Upload(_text(upload, "Key"), _text(upload, "UploadId"), int(began.timestamp()) * 10**9)
            if _text(answer, "IsTruncated") != "true":
                return
            marker = {
                "key-marker": _text(answer, "NextKeyMarker"),
                "upload-id-marker": _text(answer, "NextUploadIdMarker"),
            }

    def abort(self, upload: Upload) -> None:
        """Remove the parts of one; it is no error if they are gone already."""
        self._ask("DELETE", upload.name, {"uploadId": upload.upload_id}, missing_is_fine=True)

    def _ask(self, method: str, name: str, query: Mapping[str, str], *, missing_is_fine: bool = False) -> bytes:
        path = quote(f"/{self._bucket}/{name}".rstrip("/"), safe="/-_.~")
        asked = "&".join(f"{quote(key, safe='-_.~')}={quote(query[key], safe='-_.~')}" for key in sorted(query))
        secure = self._endpoint.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self._endpoint.netloc, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"{path}?{asked}", headers=self._signed(method, path, asked, datetime.now(UTC)))
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
        if answer.status >= 300 and not (missing_is_fine and answer.status == 404):
            said = f"{method} of unfinished uploads: HTTP {answer.status} {answer.reason}"
            raise OSError(said) if answer.status in (429, *range(500, 600)) else RefusedError(said)
        return body

    def _signed(self, method: str, path: str, query: str, now: datetime) -> dict[str, str]:
        """Return the headers of a request, signed by AWS's Signature Version 4.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
        """
        day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self._endpoint.netloc, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
        if self._keys.session_token:
            headers["x-amz-security-token"] = self._keys.session_token
        names = ";".join(sorted(headers))
        lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
        request = "\n".join([method, path, query, *lines, "", names, _NOTHING])
        realm = f"{day}/{self._region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", moment, realm, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self._keys.secret_access_key}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={self._keys.access_key_id}/{realm}"
        signed = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": signed}


def _text(parent: ElementTree.Element, name: str) -> str:
    return parent.findtext(f"{{*}}{name}", "")

"""The entries of a listing's page, read without botocore's XML parser.

botocore takes 60 ms to make dictionaries of a page of 1,000 objects; one regular expression over
the bytes takes less than a millisecond. So a handler of botocore's event `before-parse` takes the
entries out of the body before it is parsed, and leaves botocore the rest: the same document
without its `Contents`. Credentials, endpoints, signing, retries, errors, truncation and tokens thus
stay botocore's, and so does every page that is in any way unusual:

- Anything but a complete `ListBucketResult` of status 200 is left as it is: error documents, which
  S3 also sends with a 200, and bodies that were cut off.
- So is a page of which not every entry is matched, to the letter, by one of the expressions below.
  What they do not know (another order of the elements, entities in a key, CDATA, comments) botocore
  parses as ever.
- A client without the event does as well: its responses simply have their `Contents`.

The event exists since botocore 1.35 and is not documented. The handler acts only on requests that
are sent by `entries_taken_out`, in the same thread, so that other users of the client notice
nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timezone
from typing import TYPE_CHECKING, Any, Final

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage, Page
from dagster_s3inc.s3.raw_page import Columns, RawEntries, RawPage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["entries_taken_out", "page_of"]

# A wildcard one level up runs ahead of botocore's own handlers of `before-parse.s3.*`, one of which
# parses the whole document to look for an error in it.
_EVENT: Final = "before-parse.*.ListObjectsV2"
_ID: Final = "dagster_s3inc.take_entries"
_TAKEN: Final = "dagster_s3inc.entries"

_END: Final = b"</ListBucketResult>"
_CLOSE: Final = b"</Contents>"

# Each element as servers write it. All that has an entity is left to a real parser, and so is a
# carriage return, which XML reads as a line feed. Only the quotes around an ETag are known here.
_KEY: Final = rb"<Key>(?P<key>[^<&\r]+)</Key>\s*"
_MODIFIED: Final = (
    rb"<LastModified>(?P<modified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)</LastModified>\s*"
)
_ETAG: Final = rb"<ETag>(?:&quot;|&#34;|\")?(?P<etag>[^<&\"]*)(?:&quot;|&#34;|\")?</ETag>\s*"
_CHECKSUMS: Final = rb"(?:<Checksum(?:Algorithm|Type)>\w*</Checksum(?:Algorithm|Type)>\s*)*"
_SIZE: Final = rb"<Size>(?P<size>\d+)</Size>\s*"
_OWNER: Final = (
    rb"(?:<Owner>(?:\s*<(?:ID|DisplayName)>[^<]*</(?:ID|DisplayName)>|\s*<(?:ID|DisplayName)/>)*"
    rb"\s*</Owner>\s*)?"
)
_CLASS: Final = rb"(?:<StorageClass>(?P<storage_class>[A-Z_]+)</StorageClass>\s*)?"


def _form(*elements: bytes) -> tuple[re.Pattern[bytes], Columns]:
    """An entry of these elements in this order, and where its groups are."""
    pattern = re.compile(rb"<Contents>\s*" + b"".join(elements) + _CLOSE)
    return pattern, Columns(**{name: at - 1 for name, at in pattern.groupindex.items()})


_FORMS: Final = (
    # AWS, moto, Ceph
    _form(_KEY, _MODIFIED, _ETAG, _CHECKSUMS, _SIZE, _OWNER, _CLASS),
    # SeaweedFS
    _form(_KEY, _ETAG, _SIZE, _CLASS, _MODIFIED, _OWNER),
)

_active = threading.local()
_registering = threading.Lock()


@contextmanager
def entries_taken_out(client: S3Client) -> Iterator[None]:
    """Lets this thread's ListObjectsV2 requests leave their entries to `page_of`."""
    # Without effect but for the first time; botocore's register is not made for threads.
    with _registering:
        client.meta.events.register(_EVENT, _take_entries, unique_id=_ID)
    _active.now = True
    try:
        yield
    finally:
        _active.now = False


def page_of(response: Any) -> Page:
    """The page of a ListObjectsV2 response, whichever way it was read."""
    taken = response.get(_TAKEN)
    if taken is not None:
        return RawPage(taken, url_encoded=response.get("EncodingType") == "url")
    return ObjectsPage(
        S3Object(
            last_modified=entry["LastModified"].astimezone(timezone.utc),
            key=entry["Key"],
            etag=entry.get("ETag", "").strip('"'),
            size=entry["Size"],
            storage_class=entry.get("StorageClass") or "STANDARD",
        )
        for entry in response.get("Contents", ())
    )


def _take_entries(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Handles `before-parse`: moves the entries from the raw body to the parsed response."""
    body = response_dict["body"]
    if not getattr(_active, "now", False) or response_dict["status_code"] != 200:
        return
    if not body.rstrip().endswith(_END) or b"<!" in body:
        return
    start, end = body.find(b"<Contents>"), body.rfind(_CLOSE) + len(_CLOSE)
    if start < 0:
        return
    entries = body[start:end]
    opened, closed = entries.count(b"<Contents>"), entries.count(_CLOSE)
    if opened != closed or b"<CommonPrefixes>" in entries:
        return
    for pattern, columns in _FORMS:
        found = pattern.findall(entries)
        # Each entry has been matched, and nothing else lies among them.
        if len(found) == opened:
            customized_response_dict[_TAKEN] = RawEntries(found, columns)
            response_dict["body"] = body[:start] + body[end:]
            return

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from botocore.compat import unquote_str

from dagster_s3inc.core.objects import S3Object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["entries_of", "entries_taken_out"]

# A wildcard one level up runs ahead of botocore's own handlers of `before-parse.s3.*`, one of which
# parses the whole document to look for an error in it.
_EVENT: Final = "before-parse.*.ListObjectsV2"
_ID: Final = "dagster_s3inc.take_entries"
_TAKEN: Final = "dagster_s3inc.entries"

_END: Final = b"</ListBucketResult>"
_CLOSE: Final = b"</Contents>"

# Each element as servers write it. `[^<&]` leaves all that has an entity to a real parser, but for
# the quotes around an ETag.
_KEY: Final = rb"<Key>(?P<key>[^<&]+)</Key>\s*"
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


def _form(*elements: bytes) -> tuple[re.Pattern[bytes], Callable[[tuple[bytes, ...]], _Texts]]:
    """An entry of these elements in this order, and what puts its groups into ours."""
    pattern = re.compile(rb"<Contents>\s*" + b"".join(elements) + _CLOSE)
    return pattern, itemgetter(*(pattern.groupindex[name] - 1 for name in _GROUPS))


_GROUPS: Final = ("modified", "key", "etag", "size", "storage_class")
_Texts = tuple[bytes, bytes, bytes, bytes, bytes]

_FORMS: Final = (
    # AWS, moto, Ceph
    _form(_KEY, _MODIFIED, _ETAG, _CHECKSUMS, _SIZE, _OWNER, _CLASS),
    # SeaweedFS
    _form(_KEY, _ETAG, _SIZE, _CLASS, _MODIFIED, _OWNER),
)

_active = threading.local()


@contextmanager
def entries_taken_out(client: S3Client) -> Iterator[None]:
    """Lets this thread's ListObjectsV2 requests leave their entries to `entries_of`."""
    client.meta.events.register(_EVENT, _take_entries, unique_id=_ID)
    _active.now = True
    try:
        yield
    finally:
        _active.now = False


def entries_of(response: Any) -> list[S3Object]:
    """The objects of a ListObjectsV2 response, whichever way they were read, in its order."""
    taken = response.get(_TAKEN)
    if taken is not None:
        return _objects(taken, url_encoded=response.get("EncodingType") == "url")
    return [
        S3Object(
            last_modified=entry["LastModified"],
            key=entry["Key"],
            etag=entry.get("ETag", "").strip('"'),
            size=entry["Size"],
            storage_class=entry.get("StorageClass") or "STANDARD",
        )
        for entry in response.get("Contents", ())
    ]


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
    for pattern, in_our_order in _FORMS:
        found = pattern.findall(entries)
        # Each entry has been matched, and nothing else lies among them.
        if len(found) == opened:
            customized_response_dict[_TAKEN] = [in_our_order(groups) for groups in found]
            response_dict["body"] = body[:start] + body[end:]
            return


def _objects(found: list[_Texts], *, url_encoded: bool) -> list[S3Object]:
    objects = []
    for modified, key, etag, size, storage_class in found:
        name = key.decode()
        if url_encoded and (b"%" in key or b"+" in key):
            name = unquote_str(name)
        objects.append(
            S3Object(
                _time(modified),
                name,
                etag.decode(),
                int(size),
                storage_class.decode() if storage_class else "STANDARD",
            )
        )
    return objects


# Listings have many objects of one second, or of neighbouring ones.
@lru_cache(maxsize=4096)
def _time(text: bytes) -> datetime:
    moment = datetime.strptime(text[:19].decode(), "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007 # below
    fraction = text[20:-1].decode()
    microsecond = int(fraction.ljust(6, "0")) if fraction else 0
    return moment.replace(microsecond=microsecond, tzinfo=timezone.utc)

"""The entries of a listing's page, read without botocore's XML parser.

botocore takes 60 ms to make dictionaries of a page of 1,000 objects; `table_reader` finds what they
hold in half a millisecond. So a handler of botocore's event `before-parse` takes the entries out of
the body before it is parsed, and leaves botocore the rest, the same document without `Contents`.
Credentials, endpoints, signing, retries, errors, truncation and tokens thus stay
botocore's, and so does every page that is in any way unusual:

- Anything but a complete `ListBucketResult` of status 200 is left as it is: error documents, which
  S3 also sends with a 200, and bodies that were cut off.
- So is a page with an entry that `table_reader` does not know to the letter, or with anything
  around the entries but closed elements. Entities in a key, CDATA, comments: botocore parses them
  as ever.
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
from weakref import WeakSet

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage, Page
from dagster_s3inc.s3.raw_page import RawPage
from dagster_s3inc.s3.table_reader import CLOSE, OPEN, read_table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["entries_taken_out", "page_of"]

# A wildcard one level up runs ahead of botocore's own handlers of `before-parse.s3.*`, one of which
# parses the whole document to look for an error in it.
_EVENT: Final = "before-parse.*.ListObjectsV2"
_ID: Final = "dagster_s3inc.take_entries"
_TAKEN: Final = "dagster_s3inc.entries"

# What may stand before the entries and behind them: elements that are closed again, so that the
# entries are the root's own, and nothing in which `<Contents>` would not be a tag.
_ELEMENTS: Final = (
    rb"(?:\s*(?:<(?!Contents)(\w+)>[^<]*</\1>|<(?!Contents)\w+/>"
    rb"|<CommonPrefixes>(?:\s*<Prefix>[^<]*</Prefix>)*\s*</CommonPrefixes>))*\s*"
)
_DECLARATION: Final = (
    rb"<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?:UTF|utf)-8[\"'])?"
    rb"(?: standalone=[\"']\w+[\"'])?\s*\?>"
)
_HEAD: Final = re.compile(
    rb"(?:" + _DECLARATION + rb")?\s*<ListBucketResult(?:\s[^<>]*[^<>/])?>" + _ELEMENTS
)
_TAIL: Final = re.compile(_ELEMENTS + rb"</ListBucketResult>\s*")

_active = threading.local()

# One page at a time. numpy gives up the interpreter's lock for each of a hundred small steps, and
# threads that take it from each other a hundred times a page take twice the time.
_reading = threading.Lock()
_registering = threading.Lock()
_registered: WeakSet[S3Client] = WeakSet()


@contextmanager
def entries_taken_out(client: S3Client) -> Iterator[None]:
    """Lets this thread's ListObjectsV2 requests leave their entries to `page_of`."""
    if client not in _registered:
        # botocore's register is not made for threads, and takes a tenth of a request's time.
        with _registering:
            client.meta.events.register(_EVENT, _take_entries, unique_id=_ID)
            _registered.add(client)
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
    start, end = body.find(OPEN), body.rfind(CLOSE) + len(CLOSE)
    if start < 0 or not _HEAD.fullmatch(body, 0, start) or not _TAIL.fullmatch(body, end):
        return
    with _reading:
        table = read_table(body[start:end])
    if table is not None:
        customized_response_dict[_TAKEN] = table
        response_dict["body"] = body[:start] + body[end:]

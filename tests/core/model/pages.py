"""Pages of a listing, with and without the bytes in which they came."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from random import Random
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ColumnsPage, Page
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import BytesPage

__all__ = ["page_of"]

_HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)
_TAIL = b"</ListBucketResult>"


def page_of(objects: Iterable[S3Object], random: Random, *, with_bytes: bool) -> Page:
    """A page of these objects; now and then one that only a real parser can read."""
    listed = list(objects)
    if not with_bytes or not listed:
        return ColumnsPage(Columns.of(listed))
    url_encoded = random.random() < 0.8
    entries = [_written(each, url_encoded) for each in listed]
    if random.random() < 0.05:
        number = random.randrange(len(entries))
        entries[number] = entries[number].replace(b"<Key>", b"<Novelty>1</Novelty><Key>")
    location = S3Location("bucket", "")
    page = BytesPage(_HEAD, b"".join(entries), _TAIL, location, url_encoded=url_encoded)
    return page if page.is_familiar else ColumnsPage(page.parsed())


@lru_cache(maxsize=20_000)
def _written(entry: S3Object, url_encoded: bool) -> bytes:
    key = quote_plus(entry.key, safe="/") if url_encoded else escape(entry.key)
    text = (
        f"<Contents><Key>{key}</Key><LastModified>{entry.last_modified:%Y-%m-%dT%H:%M:%S}.000Z"
        f"</LastModified><ETag>&quot;{entry.etag}&quot;</ETag><Size>{entry.size}</Size>"
        f"<StorageClass>{entry.storage_class}</StorageClass></Contents>"
    )
    return text.encode()

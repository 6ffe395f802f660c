"""What S3 answers to ListObjectsV2, from a bucket whose entries are written beforehand."""

from __future__ import annotations

import base64
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import quote_plus

__all__ = ["Bucket", "Entry", "QueryError", "list_objects", "write_bucket"]

_BEGIN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)
_MOST_KEYS: Final = 1000
_CHECKSUM: Final = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
_CHECKSUM_TYPE: Final = "<ChecksumType>FULL_OBJECT</ChecksumType>"

# Keys that are written alike with and without percent-encoding.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.-]*")

# Further parameters change the answer in ways that are not known here.
_PLACE: Final = {"list-type", "prefix", "start-after", "continuation-token"}
_KNOWN: Final = _PLACE | {"delimiter", "max-keys", "encoding-type"}


class QueryError(Exception):
    """This server does not answer the request; `code` is what S3 calls the error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Entry(NamedTuple):
    """One object, as a listing shows it: `modified` is `2026-01-31T23:59:59`."""

    key: str
    modified: str
    etag: str
    size: int
    storage_class: str = "STANDARD"
    has_checksum: bool = False

    def written(self) -> bytes:
        """The entry as S3 writes it, with the key percent-encoded."""
        checksum = _CHECKSUM + _CHECKSUM_TYPE if self.has_checksum else ""
        return (
            f"<Contents><Key>{_encoded(self.key)}</Key>"
            f"<LastModified>{self.modified}.000Z</LastModified>"
            f"<ETag>&quot;{self.etag}&quot;</ETag>{checksum}<Size>{self.size}</Size>"
            f"<StorageClass>{self.storage_class}</StorageClass></Contents>"
        ).encode()


class Bucket(NamedTuple):
    """Keys in byte order, and their entries, in which keys are percent-encoded."""

    keys: Sequence[str]
    entries: Sequence[bytes]


def write_bucket(entries: Iterable[Entry]) -> Bucket:
    """Writes all entries, in the order of their keys."""
    ordered = sorted(entries)
    return Bucket([entry.key for entry in ordered], [entry.written() for entry in ordered])


def list_objects(name: str, bucket: Bucket, given: Mapping[str, str]) -> list[bytes]:
    """The parts of the document that answers a query, given as decoded parameters.

    Raises:
        QueryError: A parameter is unknown, or its value is not valid.
    """
    if given.get("list-type") != "2" or set(given) - _KNOWN:
        message = f"Not a ListObjectsV2 known here: {dict(given)}"
        raise QueryError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)
    prefix, token = given.get("prefix", ""), given.get("continuation-token")
    after, delimiter = given.get("start-after", ""), given.get("delimiter")
    most = min(int(given.get("max-keys", _MOST_KEYS)), _MOST_KEYS)
    if token is not None:
        try:
            after = base64.b64decode(token, validate=True).decode()
        except ValueError:
            message = "The continuation token provided is incorrect"
            raise QueryError(HTTPStatus.BAD_REQUEST, "InvalidArgument", message) from None
    end = _end_of(bucket.keys, prefix)
    first = max(bisect_left(bucket.keys, prefix), bisect_right(bucket.keys, after) if after else 0)
    folders: list[str] = []
    following = None
    if delimiter:
        at: list[int] = []
        row, last = first, ""
        while row < end:
            key = bucket.keys[row]
            cut = key.find(delimiter, len(prefix))
            folder = key[: cut + len(delimiter)] if cut >= 0 else ""
            if not folder or folder > after:
                if len(at) + len(folders) == most:
                    following = last
                    break
                last = folder or key
                if folder:
                    folders.append(folder)
                else:
                    at.append(row)
            row = _end_of(bucket.keys, folder) if folder else row + 1
        page: Sequence[bytes] = [bucket.entries[each] for each in at]
    else:
        stop = min(end, first + most)
        page = bucket.entries[first:stop]
        following = bucket.keys[stop - 1] if first < stop < end else None
    elements = {
        "Name": name,
        "Prefix": _encoded(prefix),
        "ContinuationToken": token,
        "NextContinuationToken": following and base64.b64encode(following.encode()).decode(),
        "KeyCount": len(page) + len(folders),
        "MaxKeys": most,
        "Delimiter": delimiter and _encoded(delimiter),
        "EncodingType": given.get("encoding-type"),
        "IsTruncated": str(following is not None).lower(),
    }
    head = "".join(f"<{tag}>{what}</{tag}>" for tag, what in elements.items() if what is not None)
    group = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
    rolled = (group.format(_encoded(folder)) for folder in folders)
    return [_BEGIN, head.encode(), *page, "".join(rolled).encode(), b"</ListBucketResult>"]


def _end_of(keys: Sequence[str], prefix: str) -> int:
    """Where the keys with this prefix end: before the least text that is greater than all."""
    return bisect_left(keys, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else len(keys)


def _encoded(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote_plus(text, safe="/")

"""What S3 answers to ListObjectsV2, from a bucket whose entries are written beforehand."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from benchmarks.query import Query, token_after

__all__ = ["Bucket", "Entry", "list_objects"]

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

# Texts that both encodings write as they are.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.~-]*")


class Entry(NamedTuple):
    """One object, as a listing shows it.

    Attributes:
        key: The whole key.
        modified: LastModified, to the second: `2026-01-31T23:59:59`.
        etag: Without quotes.
        size: In bytes.
        storage_class: As listed.
        has_checksum: Whether the elements about its checksum are there.
    """

    key: str
    modified: str
    etag: str
    size: int
    storage_class: str = "STANDARD"
    has_checksum: bool = False

    def written(self, *, url: bool) -> bytes:
        """The entry as S3 writes it; its key percent-encoded or only escaped."""
        checksum = (
            "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
            "<ChecksumType>FULL_OBJECT</ChecksumType>"
            if self.has_checksum
            else ""
        )
        return (
            f"<Contents><Key>{_text(self.key, url=url)}</Key>"
            f"<LastModified>{self.modified}.000Z</LastModified>"
            f"<ETag>&quot;{self.etag}&quot;</ETag>{checksum}<Size>{self.size}</Size>"
            f"<StorageClass>{self.storage_class}</StorageClass></Contents>"
        ).encode()


@dataclass(frozen=True, slots=True)
class Bucket:
    """The keys in byte order, and their entries in both encodings.

    Attributes:
        keys: In order.
        url: The entry of each, with percent-encoded keys.
        plain: The same with keys that are only escaped; the same list where that is no other.
    """

    keys: list[str]
    url: list[bytes]
    plain: list[bytes]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Bucket:
        """Writes all entries, in the order of their keys."""
        ordered = sorted(entries)
        url = [entry.written(url=True) for entry in ordered]
        plain = [
            text if _PLAIN.fullmatch(entry.key) else entry.written(url=False)
            for entry, text in zip(ordered, url, strict=True)
        ]
        keys = [entry.key for entry in ordered]
        return cls(keys, url, url if plain == url else plain)


def list_objects(name: str, bucket: Bucket, query: Query) -> list[bytes]:
    """The parts of the document that answers the query; to be joined.

    Raises:
        QueryError: The continuation token is not valid.
    """
    if query.delimiter is None:
        start, end = _span(bucket.keys, query.prefix, query.after)
        stop = min(end, start + query.max_keys)
        at: range | list[int] = range(start, stop)
        folders: list[str] = []
        last = bucket.keys[stop - 1] if stop > start else ""
        is_truncated = stop < end
    else:
        at, folders, last, is_truncated = _rolled_up(bucket.keys, query, query.delimiter)
    # As on S3, who asks for nothing gets all of it.
    is_truncated = is_truncated and query.max_keys > 0
    entries = bucket.url if query.url else bucket.plain
    head = _head(name, query, len(at) + len(folders), last if is_truncated else None)
    rolled = (
        f"<CommonPrefixes><Prefix>{_text(folder, url=query.url)}</Prefix></CommonPrefixes>"
        for folder in folders
    )
    page = entries[at.start : at.stop] if isinstance(at, range) else [entries[i] for i in at]
    return [head, *page, "".join(rolled).encode(), b"</ListBucketResult>"]


def _rolled_up(
    keys: list[str], query: Query, delimiter: str
) -> tuple[list[int], list[str], str, bool]:
    """Which keys, and which common prefixes; the last of both; whether there is more."""
    at, end = _span(keys, query.prefix, query.after)
    chosen: list[int] = []
    folders: list[str] = []
    last = ""
    while at < end:
        key = keys[at]
        cut = key.find(delimiter, len(query.prefix))
        folder = key[: cut + len(delimiter)] if cut >= 0 else None
        if folder is None or folder > query.after:
            if len(chosen) + len(folders) == query.max_keys:
                return chosen, folders, last, True
            last = folder or key
            if folder is None:
                chosen.append(at)
            else:
                folders.append(folder)
        at = at + 1 if folder is None else _end_of(keys, folder)
    return chosen, folders, last, False


def _span(keys: list[str], prefix: str, after: str) -> tuple[int, int]:
    """From where to where the keys have the prefix and are greater than `after`."""
    end = _end_of(keys, prefix)
    start = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    return min(start, end), end


def _end_of(keys: list[str], prefix: str) -> int:
    """Where the keys with this prefix end."""
    if not prefix:
        return len(keys)
    # The least text that is greater than all that starts with the prefix.
    return bisect_left(keys, prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _head(name: str, query: Query, count: int, last: str | None) -> bytes:
    def element(tag: str, text: str | None) -> str:
        return "" if text is None else f"<{tag}>{text}</{tag}>"

    def encoded(text: str | None) -> str | None:
        return None if text is None else _text(text, url=query.url)

    following = None if last is None else token_after(last)
    return "".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            f'<ListBucketResult xmlns="{_NAMESPACE}">',
            element("Name", name),
            element("Prefix", encoded(query.prefix)),
            element("StartAfter", None if query.token else encoded(query.start_after)),
            element("ContinuationToken", query.token),
            element("NextContinuationToken", following),
            element("KeyCount", str(count)),
            element("MaxKeys", str(query.max_keys)),
            element("Delimiter", encoded(query.delimiter)),
            element("EncodingType", "url" if query.url else None),
            element("IsTruncated", "false" if last is None else "true"),
        )
    ).encode()


def _text(text: str, *, url: bool) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return quote_plus(text, safe="/") if url else escape(text, {"\r": "&#13;"})

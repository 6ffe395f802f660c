"""Entries of a listing that a real XML parser has read, checked value by value.

This is for the few pages that `tag_table` does not know to the letter. What is wrong with an entry
is said with its key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from botocore.utils import parse_timestamp

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object, parse_time
from dagster_s3inc.core.words import readable
from dagster_s3inc.s3.failures import server_fault
from dagster_s3inc.s3.location import S3Location

__all__ = ["KEY_BYTES", "columns_of_document", "columns_of_entries", "require_key", "shown"]

KEY_BYTES: Final = 1024
"""S3 allows no longer keys."""

# botocore reads these from the document without its entries. So none may be among the entries.
_READ_BY_BOTOCORE: Final = ("IsTruncated", "NextContinuationToken", "EncodingType")

_SIZE: Final = re.compile(r"[0-9]{1,18}")
_CLASSES: Final = 256

_Value = TypeVar("_Value")


def columns_of_document(document: bytes, location: S3Location, *, url_encoded: bool) -> Columns:
    """The columns of a whole document, in which there are entries.

    Args:
        document: A `ListBucketResult`. It declares no entities.
        location: What was listed.
        url_encoded: Whether keys are percent-encoded.

    Raises:
        ListingError: The document is not what S3 writes, or is not of this listing.
    """
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 # there are no entities to expand
    except ElementTree.ParseError as error:
        raise server_fault(location, f"the answer is not valid XML ({error})") from error
    names = [_name(child) for child in root]
    among = names[names.index("Contents") : len(names) - names[::-1].index("Contents")]
    if any(name in among for name in _READ_BY_BOTOCORE):
        raise server_fault(location, "the answer has an element among the entries that is none")
    entries = [_entry(child) for child in root if _name(child) == "Contents"]
    if url_encoded:
        for entry in entries:
            if entry.get("Key"):
                entry["Key"] = unquote_plus(entry["Key"])
    return columns_of_entries(entries, location)


def columns_of_entries(entries: Iterable[Mapping[str, Any]], location: S3Location) -> Columns:
    """The columns of entries of which botocore or a parser has made dictionaries.

    Raises:
        ListingError: Something is missing or wrong, or not of this listing.
    """
    objects = [_object_of(entry, location) for entry in entries]
    if len({each.storage_class for each in objects}) > _CLASSES:
        raise server_fault(location, f"one page has more than {_CLASSES} storage classes")
    return Columns.of(objects)


def require_key(key: bytes, location: S3Location) -> None:
    """Refuses a key that cannot be in this listing.

    Raises:
        ListingError: It has another prefix, or is longer than S3 allows.
    """
    if not key.startswith(location.key.encode("utf-8", "surrogatepass")):
        raise server_fault(location, f"the server listed another key, {shown(key)}")
    if len(key) > KEY_BYTES:
        raise server_fault(
            location,
            f"the server listed a key of {len(key):,} bytes, and S3 allows {KEY_BYTES:,}. It "
            f"begins with {shown(key)}",
        )


def _entry(element: ElementTree.Element) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for each in element:
        name = _name(each)
        # Twice is as bad as not at all.
        entry[name] = None if name in entry else each.text or ""
    return entry


def _name(element: ElementTree.Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _object_of(entry: Mapping[str, Any], location: S3Location) -> S3Object:
    key = entry.get("Key")
    if not isinstance(key, str) or not key:
        raise server_fault(location, "an entry has no key, or several")
    in_utf8 = key.encode("utf-8", "surrogatepass")
    require_key(in_utf8, location)

    def value(name: str, read: Callable[[Any], _Value | None], default: Any = None) -> _Value:
        given = entry.get(name, default)
        found = read(given)
        if found is None:
            which = "missing, or there twice" if given is None else f"not valid: {shown(given)}"
            raise server_fault(location, f"the {name} of {shown(in_utf8)} is {which}")
        return found

    return S3Object(
        last_modified=value("LastModified", _moment),
        key=key,
        etag=value("ETag", _text, "").strip('"'),
        size=value("Size", _size),
        storage_class=value("StorageClass", _text, "") or "STANDARD",
    )


def _text(text: Any) -> str | None:
    return text if isinstance(text, str) else None


def _size(size: Any) -> int | None:
    if isinstance(size, str):
        return int(size) if _SIZE.fullmatch(size) else None
    return size if isinstance(size, int) and 0 <= size < 2**63 else None


def _moment(time: Any) -> datetime | None:
    if isinstance(time, str):
        return _moment_of(time)
    return _in_utc(time) if isinstance(time, datetime) else None


@lru_cache(maxsize=1024)
def _moment_of(text: str) -> datetime | None:
    """Reads a time in whichever form botocore reads it."""
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        pass
    try:
        return _in_utc(parse_timestamp(text))
    # What its parsers raise, and what it raises itself where none of them can read the text.
    except (ValueError, OverflowError, RuntimeError, TypeError):
        return None


def _in_utc(time: datetime) -> datetime | None:
    if time.tzinfo is None:
        return time.replace(tzinfo=timezone.utc)
    try:
        return time.astimezone(timezone.utc)
    except OverflowError:
        return None


def shown(value: object) -> str:
    """A key or another text for a message: readable, and not longer than a line."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return readable(text if len(text) <= 100 else f"{text[:97]}...")

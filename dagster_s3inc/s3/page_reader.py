"""Pages of a listing, taken from botocore before it reads them.

botocore takes 60 ms to make dictionaries of a page of 1,000 objects. `tag_table` makes columns of
it in half a millisecond, and most pages of a bucket that does not change are never read at all:
their bytes are compared with those of last time. So a handler of botocore's event `before-parse`
takes the entries out of the body, and leaves botocore the same document without them:

    <ListBucketResult>...<IsTruncated>true</IsTruncated>         </ListBucketResult>
                                                        ^
                                    <Contents>...</Contents><Contents>...

Credentials, endpoints, signing, retries, errors, truncation and tokens thus stay botocore's.

- Only a complete `ListBucketResult` of status 200 is taken: not error documents, which S3 also
  sends with a 200, nor bodies that were cut off. What stands before and after the entries must be
  closed elements, so that the entries are the root's own.
- The first and the last entry are read at once. All others are read when somebody asks; then a
  page that `tag_table` does not know to the letter is read by a real XML parser: entities in a key,
  CDATA, comments, elements that are new.
- A client without the event works as well: its responses simply have their `Contents`.

The event exists since botocore 1.35 and is not documented. The handler acts only on requests that
are sent within `entries_taken_out`, in the same thread, so that other users of the client notice
nothing.

What a parser has read is checked value by value, and what is wrong is said with the entry's key.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, quote_plus, unquote_plus
from weakref import WeakSet
from xml.etree import ElementTree

import numpy as np
from botocore.utils import parse_timestamp

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object, parse_time
from dagster_s3inc.core.page import ColumnsPage, Page, have
from dagster_s3inc.s3.failures import server_fault, shown
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.tag_table import CLOSE, OPEN, is_familiar, read_columns

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["BytesPage", "entries_taken_out", "page_of"]

# A wildcard one level up runs ahead of botocore's own handlers of `before-parse.s3.*`, one of which
# parses the whole document to look for an error in it.
_EVENT: Final = "before-parse.*.ListObjectsV2"
_ID: Final = "dagster_s3inc.take_entries"
_TAKEN: Final = "dagster_s3inc.entries"

# What may stand before the entries and after them: elements that are closed again, so that the
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

# An entry up to its key, which is plain text.
_TO_KEY: Final = re.compile(rb"<Contents>\s*<Key>")
_KEY: Final = re.compile(rb"<Key>([^<&\]\x00-\x1f]+)</Key>")
_WRITTEN_ALIKE: Final = re.compile(rb"[A-Za-z0-9/_.-]+")
_AS_IT_IS: Final = re.compile(rb"[^<>&\"'\x00-\x1f]+")

# botocore reads these from the document without its entries. So none may be among the entries.
_READ_BY_BOTOCORE: Final = ("IsTruncated", "NextContinuationToken", "EncodingType")

# S3 allows no longer keys.
_KEY_BYTES: Final = 1024
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_CLASSES: Final = 256

# The texts of an entry by their elements' names; None where there are several.
_Entry: TypeAlias = "dict[str, str | None]"

_active = threading.local()
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


def page_of(response: Any, location: S3Location) -> Page:
    """The page of a ListObjectsV2 response, whichever way it was read.

    Args:
        response: What botocore returns.
        location: What was listed.

    Raises:
        ListingError: The page is not what S3 writes, or is not of this listing.
    """
    taken = response.get(_TAKEN)
    if taken is None:
        entries = map(_as_written, response.get("Contents", ()))
        return ColumnsPage(_columns_of_entries(entries, location))
    head, entries, tail = taken
    url_encoded = response.get("EncodingType") == "url"
    page = BytesPage(head, entries, tail, location, url_encoded=url_encoded)
    return page if page.is_familiar else ColumnsPage(page.parsed())


class BytesPage:
    """A page in the bytes in which it came.

    Args:
        head: What the document has before the entries.
        entries: The bytes of the entries; at least one.
        tail: What the document has after them.
        location: What was listed.
        url_encoded: Whether keys are percent-encoded.

    Attributes:
        entries: The bytes of the entries.
        url_encoded: Whether keys are percent-encoded.
        first_key: The key of the first entry, not encoded; None if the page is not familiar.
        last_key: The key of the last entry; None if the page is not familiar.
    """

    def __init__(
        self, head: bytes, entries: bytes, tail: bytes, location: S3Location, *, url_encoded: bool
    ) -> None:
        self.entries = entries
        self.url_encoded = url_encoded
        self._head, self._tail, self._location = head, tail, location
        self._content: Columns | None = None
        first = entries[: entries.find(CLOSE) + len(CLOSE)]
        last = entries[entries.rfind(OPEN) :].rstrip()
        self.first_key, self.last_key = map(self._familiar_key, (first, last))

    @property
    def is_familiar(self) -> bool:
        """Whether the first and the last entry are; else only `parsed` may be used."""
        return self.first_key is not None and self.last_key is not None

    def __len__(self) -> int:
        if self._content is not None:
            return len(self._content)
        # So many `<K`, at even places and at odd ones: in a third of the time of bytes.count.
        size = len(self.entries)
        halves = (
            np.frombuffer(self.entries, "<u2", (size - offset) // 2, offset) for offset in (0, 1)
        )
        return sum(int(np.count_nonzero(half == 0x4B3C)) for half in halves)

    def find(self, key: bytes) -> int | None:
        """Where in `entries` the entry of this key (not encoded) begins; None if it has none.

        A key can be encoded in several ways. None also means that it is in none of the usual ones.
        """
        opening = _TO_KEY.match(self.entries)
        if opening is None:
            return None
        for written in _written(key, url_encoded=self.url_encoded):
            place = self.entries.find(b"%b%b</Key>" % (opening[0], written))
            if place >= 0:
                return place
        return None

    def columns(self, start: int = 0, end: int | None = None) -> Columns | None:
        """The entries between two places in `entries` as columns.

        Args:
            start: Where an entry begins.
            end: Where an entry ends, or the next one begins; None means the end of the page.

        Returns:
            None if the bytes are not certain to be read as a parser would read them. Then
            `parsed` must read the whole page.

        Raises:
            ListingError: An entry is not of this listing.
        """
        found = read_columns(self.entries[start:end].rstrip(), url_encoded=self.url_encoded)
        if found is not None:
            self._require_keys_of(found)
        return found

    def parsed(self) -> Columns:
        """The whole page as columns, read by a real parser if need be.

        Raises:
            ListingError: The page is not what S3 writes, or is not of this listing.
        """
        if self._content is None:
            self._content = self.columns()
        if self._content is None:
            self._content = self._parsed_as_xml()
        return self._content

    def _parsed_as_xml(self) -> Columns:
        # The document declares no entities, so there are none to expand.
        try:
            root = ElementTree.fromstring(self._head + self.entries + self._tail)  # noqa: S314
        except ElementTree.ParseError as error:
            what = f"the answer is not valid XML ({error})"
            raise server_fault(self._location, what) from error
        names = [_name(child) for child in root]
        among = names[names.index("Contents") : len(names) - names[::-1].index("Contents")]
        if any(name in among for name in _READ_BY_BOTOCORE):
            what = "the answer has an element among the entries that is none"
            raise server_fault(self._location, what)
        entries = [_entry(child) for child in root if _name(child) == "Contents"]
        if self.url_encoded:
            for entry in entries:
                if key := entry.get("Key"):
                    entry["Key"] = unquote_plus(key)
        return _columns_of_entries(entries, self._location)

    def before(self, place: int) -> BytesPage:
        """The page without the entry that begins at this place in `entries`, and all after it.

        There is an entry before it.
        """
        entries = self.entries[:place].rstrip()
        return BytesPage(
            self._head, entries, self._tail, self._location, url_encoded=self.url_encoded
        )

    def _familiar_key(self, entry: bytes) -> bytes | None:
        found = _KEY.search(entry)
        if found is None or not is_familiar(entry):
            return None
        try:
            text = found[1].decode()
        except UnicodeDecodeError:
            return None
        key = unquote_plus(text).encode() if self.url_encoded else found[1]
        _require_key(key, self._location)
        return key

    def _require_keys_of(self, columns: Columns) -> None:
        """Refuses keys that cannot be in this listing."""
        keys, prefix = columns.keys, self._location.key.encode()
        ways = _written(prefix, url_encoded=True) if columns.encoded else (prefix,)
        if any(have(keys.block, way, keys.starts) for way in ways):
            rows = np.flatnonzero(keys.ends - keys.starts > _KEY_BYTES)
        else:
            rows = np.arange(len(keys))
        if len(rows):
            for key in columns.key_bytes(rows):
                _require_key(key, self._location)


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
    head, tail = body[:start], body[end:]
    if b"<IsTruncated>" in head or b"<IsTruncated>" in tail:
        customized_response_dict[_TAKEN] = head, body[start:end], tail
        response_dict["body"] = head + tail


def _written(key: bytes, *, url_encoded: bool) -> Iterable[bytes]:
    """How servers write a key."""
    if not key or _WRITTEN_ALIKE.fullmatch(key):
        return (key,)
    if not url_encoded:
        return (key,) if _AS_IT_IS.fullmatch(key) else ()
    # As Amazon's S3 does it, and as the libraries of other servers do.
    amazon = quote_plus(key, safe="/*").replace("~", "%7E")
    ways = (amazon, quote_plus(key, safe="/"), quote(key, safe="/"), quote_plus(key))
    return [way.encode() for way in dict.fromkeys(ways)]


def _columns_of_entries(entries: Iterable[_Entry], location: S3Location) -> Columns:
    """The columns of entries that botocore or a parser has read."""
    objects = [_object_of(entry, location) for entry in entries]
    if len({each.storage_class for each in objects}) > _CLASSES:
        raise server_fault(location, f"one page has more than {_CLASSES} storage classes")
    return Columns.of(objects)


def _require_key(key: bytes, location: S3Location) -> None:
    """Refuses a key that has another prefix, or is longer than S3 allows."""
    if not key.startswith(location.key.encode("utf-8", "surrogatepass")):
        raise server_fault(location, f"the server listed another key, {shown(key)}")
    if len(key) > _KEY_BYTES:
        raise server_fault(
            location,
            f"the server listed a key of {len(key):,} bytes, and S3 allows {_KEY_BYTES:,}. It "
            f"begins with {shown(key)}",
        )


def _as_written(entry: Mapping[str, Any]) -> _Entry:
    """An entry that botocore has made values of, as text again."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in entry.items()
    }


def _entry(element: ElementTree.Element) -> _Entry:
    entry: dict[str, str | None] = {}
    for each in element:
        name = _name(each)
        # Twice is as bad as not at all.
        entry[name] = None if name in entry else each.text or ""
    return entry


def _name(element: ElementTree.Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _object_of(entry: _Entry, location: S3Location) -> S3Object:
    key = entry.get("Key")
    if not key:
        raise server_fault(location, "an entry has no key, or several")
    in_utf8 = key.encode("utf-8", "surrogatepass")
    _require_key(in_utf8, location)

    def value(name: str, read: Callable[[str], Any], default: str | None = None) -> Any:
        text = entry.get(name, default)
        found = None if text is None else read(text)
        if found is None:
            which = "missing, or there twice" if text is None else f"not valid: {shown(text)}"
            raise server_fault(location, f"the {name} of {shown(in_utf8)} is {which}")
        return found

    return S3Object(
        last_modified=value("LastModified", _moment),
        key=key,
        etag=value("ETag", str, "").strip('"'),
        size=value("Size", lambda text: int(text) if _SIZE.fullmatch(text) else None),
        storage_class=value("StorageClass", str, "") or "STANDARD",
    )


def _moment(text: str) -> datetime | None:
    """A time in UTC, in whichever form botocore reads it."""
    try:
        try:
            return parse_time(text)
        except ValueError:
            time: datetime = parse_timestamp(text)
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    # What its parsers raise, and what it raises itself where none of them can read the text.
    except (ValueError, OverflowError, RuntimeError, TypeError):
        return None

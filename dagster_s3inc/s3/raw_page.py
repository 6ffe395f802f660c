"""A page of a listing in the bytes in which it came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from itertools import compress
from operator import lt
from typing import NamedTuple

from botocore.compat import unquote_str

from dagster_s3inc.core.objects import SECONDS_LENGTH, Position, S3Object, hash_identity
from dagster_s3inc.core.page import Below, ObjectsPage, Page, PageView
from dagster_s3inc.core.selection import Selection

__all__ = ["Columns", "RawEntries", "RawPage"]

Row = tuple[bytes, ...]


class Columns(NamedTuple):
    """At which place in a row each text is."""

    key: int
    modified: int
    etag: int
    size: int
    storage_class: int


class RawEntries(NamedTuple):
    """The texts of a page's entries, a row each."""

    rows: list[Row]
    columns: Columns


class RawPage:
    """A page whose entries are made into objects only where a scan needs them.

    Args:
        entries: The entries; not empty.
        url_encoded: Whether the keys are.
    """

    def __init__(self, entries: RawEntries, *, url_encoded: bool) -> None:
        self._rows, self._at = entries
        self._url_encoded = url_encoded

    @property
    def ends(self) -> tuple[str, str] | None:
        """The first key and the last."""
        return self._key(self._rows[0]), self._key(self._rows[-1])

    @property
    def is_in_key_order(self) -> bool:
        """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""
        keys = self._plain([row[self._at.key] for row in self._rows])
        return all(map(lt, keys, keys[1:]))

    def up_to(self, key: str) -> Page:
        """The page without the entries whose key is greater."""
        rows = [row for row in self._rows if self._key(row) <= key]
        if not rows:
            return ObjectsPage(())
        return RawPage(RawEntries(rows, self._at), url_encoded=self._url_encoded)

    def __len__(self) -> int:
        return len(self._rows)

    def key_at(self, index: int) -> str:
        """The key of one entry, counted from 0."""
        return self._key(self._rows[index])

    def seen_from(
        self, floor: Position | None, selection: Selection, wanted: frozenset[int]
    ) -> PageView:
        """Looks at whole columns, and makes objects of what may lie above the floor."""
        at, rows = self._at, self._rows
        columns = list(zip(*rows, strict=True))
        moments = [text[:SECONDS_LENGTH] for text in columns[at.modified]]
        classes = {text.decode() or "STANDARD" for text in set(columns[at.storage_class])}
        keys = columns[at.key]
        has_folders = b"/\n" in b"\n".join((*keys, b""))
        if floor is None or has_folders or not selection.takes_all(classes):
            return self._as_objects(rows).seen_from(floor, selection, wanted)

        # To the second, since texts compare like times only in equal precision; objects of the
        # floor's own second are looked at one by one.
        second = floor.last_modified.astimezone(timezone.utc).isoformat()[:SECONDS_LENGTH].encode()
        near = [moment >= second for moment in moments]
        head = self._as_objects(list(compress(rows, near))).seen_from(floor, selection, wanted)
        far = [not each for each in near]
        identities = self._identities(
            list(compress(moments, far)),
            list(compress(columns[at.etag], far)),
            list(compress(keys, far)),
        )
        late = self._late(list(compress(rows, far)), identities, wanted)
        newest = head.newest
        if newest is None:
            latest = max(columns[at.modified])
            newest = max(self._object(row).position for row in rows if row[at.modified] == latest)
        return PageView(
            objects=len(rows),
            bytes=sum(map(int, columns[at.size])),
            newest=newest,
            above=head.above,
            below=Below([*head.below.matching, *identities], head.below.moved),
            wanted=[*head.wanted, *late],
        )

    def _identities(
        self, moments: Sequence[bytes], etags: Sequence[bytes], keys: Sequence[bytes]
    ) -> list[int]:
        columns = zip(moments, etags, self._plain(keys), strict=True)
        return [hash_identity(b"%b\n%b\n%b" % texts) for texts in columns]

    def _plain(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        joined = b"\n".join(keys)
        if self._url_encoded and (b"%" in joined or b"+" in joined):
            return [_decoded(key).encode() for key in keys]
        return keys

    def _late(
        self, rows: list[Row], identities: list[int], wanted: frozenset[int]
    ) -> list[S3Object]:
        if wanted.isdisjoint(identities):
            return []
        found = zip(rows, identities, strict=True)
        return [self._object(row) for row, identity in found if identity in wanted]

    def _as_objects(self, rows: list[Row]) -> ObjectsPage:
        return ObjectsPage(map(self._object, rows))

    def _key(self, row: Row) -> str:
        key = row[self._at.key]
        return _decoded(key) if self._url_encoded else key.decode()

    def _object(self, row: Row) -> S3Object:
        at = self._at
        return S3Object(
            _time(row[at.modified]),
            self._key(row),
            row[at.etag].decode(),
            int(row[at.size]),
            row[at.storage_class].decode() or "STANDARD",
        )


def _decoded(key: bytes) -> str:
    text = key.decode()
    return unquote_str(text) if "%" in text or "+" in text else text


# Listings have many objects of one second, or of neighbouring ones.
@lru_cache(maxsize=4096)
def _time(text: bytes) -> datetime:
    moment = datetime.strptime(text[:SECONDS_LENGTH].decode(), "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007 # below
    fraction = text[SECONDS_LENGTH + 1 : -1].decode()
    microsecond = int(fraction.ljust(6, "0")) if fraction else 0
    return moment.replace(microsecond=microsecond, tzinfo=timezone.utc)

"""A page of a listing in the bytes in which it came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property, partial
from operator import add, lt
from typing import Final

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.objects import (
    SECONDS_LENGTH,
    Position,
    S3Object,
    identities_of,
    identity_text,
)
from dagster_s3inc.core.page import ObjectsPage, Page, PageView
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.s3.table import Span, Table, are_rising
from dagster_s3inc.s3.url_encoding import decoded_keys

__all__ = ["RawPage"]

Rows = npt.NDArray[np.intp]

_NONE: Final = np.empty(0, np.uint64)

# Takes what `zip` gives, without the detour through a Python function that `S3Object._make` is.
_object = partial(tuple.__new__, S3Object)


class RawPage:
    """A page whose entries are made into objects only where a scan needs them.

    Args:
        table: The entries; at least one.
        url_encoded: Whether the keys are.
    """

    def __init__(self, table: Table, *, url_encoded: bool) -> None:
        self._table = table
        self._url_encoded = url_encoded
        # Codes in anything but a key do no harm here: they only cost time.
        self._has_codes = url_encoded and (b"%" in table.entries or b"+" in table.entries)

    @cached_property
    def ends(self) -> tuple[str, str] | None:
        """The first key and the last."""
        [first], [last] = self._keys_of(self._rows[:1]), self._keys_of(self._rows[-1:])
        return first.decode(), last.decode()

    @property
    def is_in_key_order(self) -> bool:
        """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""
        if self._has_codes:
            return all(map(lt, self._keys, self._keys[1:]))
        return are_rising(self._table.entries, self._table.key)

    def up_to(self, key: str) -> Page:
        """The page without the entries whose key is greater."""
        bound = key.encode("utf-8", "surrogatepass")
        kept = self._rows[[each <= bound for each in self._keys]]
        if not len(kept):
            return ObjectsPage(())
        return RawPage(self._table.only(kept), url_encoded=self._url_encoded)

    def __len__(self) -> int:
        return len(self._table.seconds)

    def key_at(self, index: int) -> str:
        """The key of one entry, counted from 0."""
        return self._keys_of(self._rows[index : index + 1])[0].decode()

    def seen_from(
        self, floor: Position | None, selection: Selection, wanted: frozenset[int]
    ) -> PageView:
        """Looks at whole columns, and makes objects of what may lie above the floor."""
        table = self._table
        if not self._counts_whole(selection):
            return ObjectsPage(self._objects(self._rows)).seen_from(floor, selection, wanted)
        # To the second, since servers differ in fractions; objects of the floor's own second are
        # looked at one by one.
        is_near = table.seconds >= (0 if floor is None else _second(floor))
        near, far = np.flatnonzero(is_near), np.flatnonzero(~is_near)
        head = ObjectsPage(self._objects(near)).seen_from(floor, selection, wanted)
        identities = self._identities()[far] if len(far) else _NONE
        newest = head.newest
        if newest is None:
            latest = np.flatnonzero(table.seconds == table.seconds.max())
            newest = max(self._objects(latest)).position
        return PageView(
            objects=len(table.seconds),
            bytes=int(table.sizes.sum()),
            newest=newest,
            above=head.above,
            below=head.below.plus(identities),
            wanted=[*head.wanted, *self._late(far, identities, wanted)],
            all_match=True,
        )

    def _counts_whole(self, selection: Selection) -> bool:
        """Whether every object of this page counts."""
        classes = {text.decode() or "STANDARD" for text in self._table.storage_classes}
        return selection.takes_all(classes) and not self._has_folders()

    def _has_folders(self) -> bool:
        if self._has_codes:
            return any(key.endswith(b"/") for key in self._keys)
        last = np.frombuffer(self._table.entries, np.uint8)[self._table.key.ends - 1]
        return bool((last == ord("/")).any())

    def _late(
        self, rows: Rows, identities: npt.NDArray[np.uint64], wanted: frozenset[int]
    ) -> list[S3Object]:
        if not wanted:
            return []
        return self._objects(rows[[each in wanted for each in identities.tolist()]])

    @cached_property
    def _rows(self) -> Rows:
        return np.arange(len(self._table.seconds))

    @cached_property
    def _keys(self) -> list[bytes]:
        return self._keys_of(self._rows)

    def _keys_of(self, rows: Rows) -> list[bytes]:
        keys = self._table.texts(self._table.key.only(rows))
        return decoded_keys(keys) if self._has_codes else keys

    def _identities(self) -> npt.NDArray[np.uint64]:
        table = self._table
        key, etag = table.key, table.etag
        if not table.is_amazon:
            starts = table.modified.starts
            seconds = table.texts(Span(starts, starts + SECONDS_LENGTH))
            return identities_of(map(identity_text, self._keys, seconds, table.texts(etag)))
        if self._has_codes:
            after_keys = table.texts(Span(key.ends, etag.ends))
            return identities_of(map(add, self._keys, after_keys))
        return identities_of(table.texts(Span(key.starts, etag.ends)))

    def _objects(self, rows: Rows) -> list[S3Object]:
        if not len(rows):
            return []
        table = self._table
        columns = (
            self._times(rows),
            _decoded(self._keys_of(rows)),
            _decoded(table.texts(table.etag.only(rows))),
            table.sizes[rows].tolist(),
            self._classes(rows),
        )
        return list(map(_object, zip(*columns, strict=True)))

    def _times(self, rows: Rows) -> Iterator[datetime]:
        starts, ends = self._table.modified.only(rows)
        # Before Python 3.11 a Z was not read.
        texts = b"+00:00\n".join(self._table.texts(Span(starts, ends - 1))) + b"+00:00"
        return map(datetime.fromisoformat, texts.decode().split("\n"))

    def _classes(self, rows: Rows) -> list[str]:
        table = self._table
        if len(table.storage_classes) == 1:
            [only] = table.storage_classes
            return [only.decode() or "STANDARD"] * len(rows)
        texts = table.texts(table.storage_class.only(rows))
        return [text.decode() or "STANDARD" for text in texts]


def _second(floor: Position) -> int:
    return int(floor.last_modified.astimezone(timezone.utc).strftime("%Y%m%d%H%M%S"))


def _decoded(texts: list[bytes]) -> list[str]:
    """The texts as such, all at once unless one of them has a line break."""
    decoded = b"\n".join(texts).decode().split("\n")
    return decoded if len(decoded) == len(texts) else [text.decode() for text in texts]

"""What one listing may know of the one before."""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import Final, NamedTuple

from dagster_s3inc.core.page import Page
from dagster_s3inc.s3.location import S3Location

__all__ = ["ListingMemory", "Marks", "Recollection"]

# Beyond, every second one is forgotten: a bucket of eight million objects has its pages marked
# one by one. A mark takes as much as its key.
MARKS: Final = 8192


class Recollection(NamedTuple):
    """What is known of a prefix.

    Attributes:
        marks: Keys with about as many objects between them as a page holds, in order.
        lanes: How many lanes the last listing would have used; None if it was too short to tell.
        in_key_order: Whether nothing spoke against the order of the keys' bytes.
    """

    marks: tuple[str, ...] = ()
    lanes: int | None = None
    in_key_order: bool = True


class ListingMemory:
    """What the listings of one prefix learn for those that follow; in memory only, thread-safe.

    All of it saves time and none of it is needed: forgotten, or wrong by now, it changes nothing
    of what a listing shows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._location: S3Location | None = None
        self._known = Recollection()

    def recall(self, location: S3Location) -> Recollection:
        """What is known of this prefix."""
        with self._lock:
            return self._known if location == self._location else Recollection()

    def note_marks(
        self, location: S3Location, marks: list[str], *, after: str | None, to: str | None
    ) -> None:
        """Replaces the marks behind one key and up to another; None means either end."""
        with self._lock:
            known = self._at(location).marks
            before = known[: bisect_right(known, after)] if after is not None else ()
            behind = known[bisect_right(known, to) :] if to is not None else ()
            kept = (*before, *marks, *behind)
            while len(kept) > MARKS:
                kept = kept[1::2]
            self._known = self._known._replace(marks=kept)

    def note_lanes(self, location: S3Location, lanes: int) -> None:
        """Keeps how many lanes are worth it."""
        with self._lock:
            self._known = self._at(location)._replace(lanes=lanes)

    def note_disorder(self, location: S3Location) -> None:
        """Keeps that the server does not list in the order of the keys' bytes."""
        with self._lock:
            self._known = self._at(location)._replace(in_key_order=False, marks=())

    def _at(self, location: S3Location) -> Recollection:
        if location != self._location:
            self._location, self._known = location, Recollection()
        return self._known


class Marks:
    """Marks after every so many objects, whatever the pages they came in.

    Args:
        unit: How many objects a full page has; 0 means that there will be no marks.
    """

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._since = 0
        self.keys: list[str] = []

    def add(self, page: Page) -> None:
        """Goes on with a page."""
        if not self._unit:
            return
        at = self._unit - self._since - 1
        while at < len(page):
            self.keys.append(page.key_at(at))
            at += self._unit
        self._since = len(page) + self._unit - 1 - at

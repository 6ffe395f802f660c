"""A page of a listing, as a scan reads it.

Of a large bucket, nearly all that is listed was handed over long ago and lies at or below the
floor. To know that it is still there takes its identity, and nothing else. So a page gives out
objects only for what lies above the floor, and may have cheaper ways to the rest than making them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.selection import Selection

__all__ = ["Below", "ObjectsPage", "Page", "PageView", "Rest"]


class Below(NamedTuple):
    """What of a page lies at or below the floor.

    Attributes:
        matching: The identities of what matches.
        moved: Those of what would match but for its storage class.
    """

    matching: npt.NDArray[np.uint64]
    moved: npt.NDArray[np.uint64]

    def plus(self, matching: npt.NDArray[np.uint64]) -> Below:
        """The same and more of what matches."""
        return self._replace(matching=np.concatenate([self.matching, matching]))


class PageView(NamedTuple):
    """A page as it is seen from a floor.

    Attributes:
        objects: How many objects it lists.
        bytes: The sum of their sizes.
        newest: The greatest position; None if it is empty.
        above: The objects above the floor.
        below: What is known of the others.
        wanted: Those of the others that match, and whose identity was asked for.
        all_match: Whether it is known of all objects that they match.
    """

    objects: int
    bytes: int
    newest: Position | None
    above: Sequence[S3Object]
    below: Below
    wanted: Sequence[S3Object]
    all_match: bool = False


class Rest(NamedTuple):
    """Stands after pages that are only the beginning of a listing in the order of its keys.

    Attributes:
        after: The last key of these pages; the listing goes on after it.
    """

    after: str


class Page(Protocol):
    """Some entries of a listing, in the order in which the server lists them."""

    @property
    def ends(self) -> tuple[str, str] | None:
        """The first key and the last; None if the page is empty."""

    @property
    def is_in_key_order(self) -> bool:
        """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""

    def up_to(self, key: str) -> Page:
        """The page without the entries whose key is greater."""

    def __len__(self) -> int: ...

    def key_at(self, index: int) -> str:
        """The key of one entry, counted from 0."""

    def seen_from(
        self, floor: Position | None, selection: Selection, wanted: frozenset[int]
    ) -> PageView:
        """Tells what is above the floor, what matches below it, and what of that is wanted."""


class ObjectsPage:
    """A page of objects that have been made already."""

    def __init__(self, objects: Iterable[S3Object]) -> None:
        self._objects = tuple(objects)

    @property
    def ends(self) -> tuple[str, str] | None:
        """The first key and the last; None if the page is empty."""
        if not self._objects:
            return None
        return self._objects[0].key, self._objects[-1].key

    @property
    def is_in_key_order(self) -> bool:
        """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""
        return all(one.key < next_.key for one, next_ in pairwise(self._objects))

    def up_to(self, key: str) -> ObjectsPage:
        """The page without the entries whose key is greater."""
        return ObjectsPage(each for each in self._objects if each.key <= key)

    def __len__(self) -> int:
        return len(self._objects)

    def key_at(self, index: int) -> str:
        """The key of one entry, counted from 0."""
        return self._objects[index].key

    def seen_from(
        self, floor: Position | None, selection: Selection, wanted: frozenset[int]
    ) -> PageView:
        """Looks at one object after the other."""
        above: list[S3Object] = []
        late: list[S3Object] = []
        matching: list[int] = []
        moved: list[int] = []
        for each in self._objects:
            if floor is None or each.position > floor:
                above.append(each)
            elif selection.matches(each):
                matching.append(each.identity)
                if each.identity in wanted:
                    late.append(each)
            elif selection.may_match(each):
                moved.append(each.identity)
        newest = max(self._objects).position if self._objects else None
        total = sum(each.size for each in self._objects)
        below = Below(np.array(matching, np.uint64), np.array(moved, np.uint64))
        return PageView(len(self._objects), total, newest, above, below, late)

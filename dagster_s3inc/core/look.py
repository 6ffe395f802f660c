"""Sorting a listing into what is new and what is known, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.page import Page, PageView, Rest
from dagster_s3inc.core.selection import Selection

__all__ = ["Done", "PageSeen", "Seen", "gather", "look", "look_at"]


class Done(NamedTuple):
    """An object above the floor that has been handed over and is still listed.

    Its first two fields are its position, as in `S3Object`.
    """

    last_modified: datetime
    key: str
    identity: int

    @property
    def position(self) -> Position:
        """The object's place in the order of processing."""
        return Position(self.last_modified, self.key)


@dataclass(slots=True, kw_only=True)
class PageSeen:
    """A page of a listing, as someone sees it who knows a checkpoint.

    Attributes:
        last_key: The last of its keys, in the order of the listing; None if it is empty.
        late: Those at or below the floor that are wanted.
        new: Those above it that match and have not been handed over.
        done: Those above it that have been handed over.
        left_out: How many above it do not match.
        matching: The identities of what matches at or below the floor.
        moved: The identities of what would match there but for its storage class.
        listed: How many objects it lists.
        listed_bytes: The sum of their sizes.
        newest: The greatest position; None if it is empty.
    """

    last_key: str | None
    late: list[S3Object]
    new: list[S3Object]
    done: list[Done]
    left_out: int
    matching: npt.NDArray[np.uint64]
    moved: npt.NDArray[np.uint64]
    listed: int
    listed_bytes: int
    newest: Position | None


@dataclass(slots=True, kw_only=True)
class Seen:
    """All that was looked at.

    Attributes:
        pages: In the order of the listing.
        first: The first page that is not empty, itself.
        rest: Where the listing goes on; None if it has been seen to its end.
    """

    pages: list[PageSeen] = field(default_factory=list)
    first: Page | None = None
    rest: Rest | None = None

    @property
    def late(self) -> list[S3Object]:
        """What is wanted at or below the floor, in position order."""
        return _in_order(chain.from_iterable(page.late for page in self.pages))

    @property
    def new(self) -> list[S3Object]:
        """What is new above the floor, in position order."""
        return _in_order(chain.from_iterable(page.new for page in self.pages))

    @property
    def done(self) -> list[Done]:
        """What has been handed over above the floor."""
        return list(chain.from_iterable(page.done for page in self.pages))

    @property
    def newest(self) -> Position | None:
        """The greatest position of all."""
        return max((page.newest for page in self.pages if page.newest), default=None)


def _in_order(objects: Iterable[S3Object]) -> list[S3Object]:
    """The objects in position order.

    By key first, in which order most listings are; then by time alone. Equal times keep the order
    of their keys. That takes a third of what it takes to compare positions.
    """
    ordered = sorted(objects, key=attrgetter("key"))
    ordered.sort(key=attrgetter("last_modified"))
    return ordered


def look(
    checkpoint: Checkpoint,
    pages: Iterable[Page | Rest],
    selection: Selection,
    *,
    enough: int | None = None,
) -> Seen:
    """Looks at the pages one after the other, and keeps little of what is known.

    Args:
        checkpoint: What has been handed over.
        pages: The listing, or its beginning and a `Rest`.
        selection: What counts.
        enough: Stop after the page with which there are more than so many late and new objects,
            in a listing that is in the order of its keys; None means never.
    """
    return gather(
        pages,
        lambda page: look_at(page, checkpoint, selection),
        may_stop=lambda found: enough is not None and found > enough,
    )


def gather(
    pages: Iterable[Page | Rest],
    look_at_page: Callable[[Page], PageSeen],
    *,
    may_stop: Callable[[int], bool],
) -> Seen:
    """Looks at the pages one after the other.

    Args:
        pages: The listing, or its beginning and a `Rest`.
        look_at_page: Looks at one of them.
        may_stop: Tells of a number of late and new objects whether they are enough. Asked behind
            each page that is not empty.
    """
    seen, found = Seen(), 0
    for page in pages:
        if isinstance(page, Rest):
            seen.rest = page
            break
        looked = look_at_page(page)
        seen.pages.append(looked)
        if looked.last_key is None:
            continue
        if seen.first is None:
            seen.first = page
        found += len(looked.late) + len(looked.new)
        if may_stop(found):
            seen.rest = Rest(looked.last_key)
            break
    return seen


def look_at(page: Page, checkpoint: Checkpoint, selection: Selection) -> PageSeen:
    """Looks at one page."""
    view = page.seen_from(checkpoint.floor, selection, checkpoint.wanted)
    ends = page.ends
    new, done, left_out = _above(view, checkpoint, selection)
    return PageSeen(
        last_key=ends and ends[1],
        late=list(view.wanted),
        new=new,
        done=done,
        left_out=left_out,
        matching=view.below.matching,
        moved=view.below.moved,
        listed=view.objects,
        listed_bytes=view.bytes,
        newest=view.newest,
    )


def _above(
    view: PageView, checkpoint: Checkpoint, selection: Selection
) -> tuple[list[S3Object], list[Done], int]:
    if not view.above:
        return [], [], 0
    known = checkpoint.recent
    if checkpoint.unfinished is not None:
        # Only a server that lists an object twice shows again what this pass has met.
        known |= checkpoint.unfinished.met
    if not known:
        new = [entry for entry in view.above if view.all_match or selection.matches(entry)]
        return new, [], len(view.above) - len(new)
    new, done, left_out = [], [], 0
    for entry in view.above:
        identity = entry.identity
        if identity in known:
            done.append(Done(*entry[:2], identity))
        elif view.all_match or selection.matches(entry):
            new.append(entry)
        else:
            left_out += 1
    return new, done, left_out

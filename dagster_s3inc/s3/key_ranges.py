"""A listing in ranges of keys that are fetched side by side and read one after the other.

What is read is always what a listing page by page would have shown: one chain of pages, each of
which the server says goes on where the one before ended. A range that is fetched ahead is only a
guess at a later piece of that chain. It is joined to the chain on proof alone. Example, with split
points d and h, and the pages that came:

    range up to d:   [a b c] [d1 e f]     its last page reaches beyond d, and shows d1 there
    range d to h:    [d1 e f] [g h]       begins with d1: so the first range is read up to c
    range after h:   [i j]                the range before it ended exactly on h

Between two ranges joined so there is nothing, in whatever order the server lists. A range that does
not fit (somebody wrote or deleted there) is dropped, and the one before goes on in its place. So
nothing that has been read is ever taken back.

The proof takes it that StartAfter begins after its key in the server's own order. A server that
shows keys in another order than that of their bytes is listed in one range (see `listing`).

These are values and decisions: no threads, no clock, and no requests but those that are passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import KeyOrderError
from dagster_s3inc.s3.failures import server_fault
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import BytesPage
from dagster_s3inc.s3.page_requests import Answer

__all__ = ["KeyRange", "KeyRanges", "discovered_split_points"]

# Pages that wait to be read, or are on the way, at most. Each takes about 0.3 MB.
_AHEAD: Final = 128

# A range that did not fit has been fetched for nothing.
_MISFITS: Final = 8

# So many pages lie from one split point to the next: fewer cost more requests, more cost memory.
_PAGES_IN_RANGE: Final = 4
_DISCOVERY_REQUESTS: Final = 24
_ENOUGH_SPLIT_POINTS: Final = 128

# Servers send a page without entries now and then, and say that there is more.
_EMPTY_PAGES: Final = 1000


@dataclass(slots=True, eq=False)
class KeyRange:
    """The keys after `start` up to `end` itself, and how far they have been fetched.

    Attributes:
        start: None means from the beginning.
        end: None means to the end of the listing.
        token: What to go on by; None as long as nothing has come.
        first: The first key that came, be it beyond the end.
        last: The last key that came.
        answers: What has come and has not been read.
        busy: A page is on the way.
        more: The server has not said that the listing ends here.
        dropped: The range does not belong to the listing any more.
        tokens: Hashes of all tokens that came.
        empty_pages: How many pages without entries came last, one after the other.
    """

    start: bytes | None
    end: bytes | None
    token: str | None = None
    first: bytes | None = None
    last: bytes | None = None
    answers: deque[Answer] = field(default_factory=deque)
    busy: bool = False
    more: bool = True
    dropped: bool = False
    tokens: set[int] = field(default_factory=set)
    empty_pages: int = 0

    @property
    def over(self) -> bool:
        """There is no page to fetch any more."""
        passed = self.last is not None and self.end is not None and self.last >= self.end
        return passed or not self.more

    @property
    def has_come(self) -> bool:
        """Its first key is known, or that it has none."""
        return self.first is not None or not self.more

    def add(self, answer: Answer) -> bool:
        """Takes the next page; says whether it is in key order, and after what came before."""
        self.answers.append(answer)
        self.busy, self.token, self.more = False, answer.token, answer.token is not None
        first, last = answer.page.first_key, answer.page.last_key
        self.empty_pages = self.empty_pages + 1 if last is None else 0
        if first is None or last is None:
            return True
        before = self.start if self.last is None else self.last
        self.first, self.last = self.first or first, last
        return first <= last and (before is None or first > before)

    def leads_on(self) -> bool:
        """Whether the last page leads to one that has not come."""
        known = hash(self.token)
        if self.empty_pages > _EMPTY_PAGES or known in self.tokens:
            return False
        self.tokens.add(known)
        return True


class KeyRanges:
    """All ranges from where the listing is being read to its end, in key order.

    Args:
        location: What is listed, for messages.
        after: Where the listing begins; None means at the beginning.
        in_key_order: Whether the server lists in the order of the keys' bytes. Else the listing is
            not split.
    """

    def __init__(
        self, location: S3Location, after: bytes | None = None, *, in_key_order: bool = True
    ) -> None:
        self._location, self._in_key_order = location, in_key_order
        self._ranges = [KeyRange(after, None)]
        self._ahead = 0
        self._misfits = 0

    @property
    def is_over(self) -> bool:
        """All has been read."""
        return not self._ranges

    def split(self, keys: Iterable[bytes]) -> None:
        """Splits what has not been fetched at these keys, which are in order.

        To be called while there is only one range.
        """
        [whole] = self._ranges
        at = whole.start if whole.last is None else whole.last
        points = [key for key in keys if at is None or key > at]
        if points and not whole.over:
            whole.end = points[0]
            self._ranges += [KeyRange(start, end) for start, end in pairwise([*points, None])]

    def take(self) -> KeyRange | None:
        """The range whose next page is to be fetched now; None if there is none for the moment.

        The earliest come first, so that little has to wait for its turn.
        """
        for at, each in enumerate(self._ranges):
            # The first two always, since reading may wait for both.
            if at > 1 and self._ahead >= _AHEAD:
                return None
            if not each.over and not each.busy:
                each.busy = True
                self._ahead += 1
                return each
        return None

    def put(self, range_: KeyRange, answer: Answer) -> None:
        """Takes the page that was fetched for a range.

        Raises:
            KeyOrderError: The listing was taken to be in key order.
            ListingError: The server leads back, or nowhere.
        """
        if range_.dropped:
            self._ahead -= 1
            return
        rises = range_.add(answer)
        if not range_.leads_on():
            raise server_fault(
                self._location,
                "the server does not come to an end (the same token came twice, or a thousand "
                "pages without entries)",
            )
        if self._in_key_order:
            if not rises:
                raise KeyOrderError(f"{self._location} is not listed in the order of the keys")
            if range_.over and range_.more and range_.last is not None:
                self._join_those_before(range_, range_.last)

    def pop(self) -> Page | None:
        """The next page that can be read; None if it has not come."""
        while self._ranges:
            head = self._ranges[0]
            if not head.answers:
                # It may have ended on its last key. Then the next one must prove to begin after it.
                if not head.over or not self._ranges[1].has_come:
                    return None
                self._drop([head])
                continue
            page, token = head.answers[0][:2]
            if page.last_key is None or head.end is None or page.last_key <= head.end:
                self._shift(head)
                if token is None:
                    self._drop(self._ranges[:])
                return page
            following = self._ranges[1]
            if not following.has_come:
                return None
            place = None if following.first is None else page.find(following.first)
            cut = page.before(place) if place and isinstance(page, BytesPage) else None
            if place is None or (cut is not None and not cut.is_familiar):
                self._go_on_in_place_of(head, following)
                continue
            self._shift(head)
            self._drop([head])
            if cut is not None:
                return cut
        return None

    def _join_those_before(self, range_: KeyRange, last: bytes) -> None:
        """Joins ranges that have not begun, as many as this one's page reaches over.

        Ranges that are so small take a request each for what few requests would show.
        """
        following = self._ranges[self._ranges.index(range_) + 1 :]
        reached = sum(each.end is not None and each.end < last for each in following)
        # Ranges begin in order, so these lie side by side.
        fresh = [each for each in following if not (each.busy or each.tokens)][: reached + 1]
        if len(fresh) > 1:
            fresh[0].end = fresh[-1].end
            self._drop(fresh[1:])

    def _go_on_in_place_of(self, range_: KeyRange, following: KeyRange) -> None:
        """Lets a range go on where the next one does not fit; after many, to the listing's end."""
        self._misfits += 1
        rest = self._ranges[1:] if self._misfits > _MISFITS else [following]
        range_.end = rest[-1].end
        self._drop(rest)

    def _drop(self, ranges: list[KeyRange]) -> None:
        for each in ranges:
            each.dropped = True
            self._ahead -= len(each.answers)
            each.answers.clear()
            self._ranges.remove(each)

    def _shift(self, range_: KeyRange) -> None:
        range_.answers.popleft()
        self._ahead -= 1


def discovered_split_points(
    folders: Callable[[bytes], list[bytes]],
    prefix: bytes,
    last: bytes,
    *,
    pages: int,
    mapped: Callable[..., Iterable[list[bytes]]] = map,
) -> list[bytes]:
    """Finds split points for a listing of which no earlier one has left any.

    Buckets are mostly laid out in folders, by date or by customer, and a request with a delimiter
    names a thousand of them. Where that names few, the folders within are asked for in turn.

    Args:
        folders: Names the folders in a folder; one request. It is called few times.
        prefix: Where to begin.
        last: The last key that has been read.
        pages: How many pages have been read. How many folders they had tells how many go between
            one split point and the next.
        mapped: Calls `folders` for each of some folders; the results may come in any order.

    Returns:
        Keys greater than `last`, in order.
    """
    points: set[bytes] = set()
    level, asked = [prefix], 0
    while level and asked < _DISCOVERY_REQUESTS and len(points) < _ENOUGH_SPLIT_POINTS:
        level = level[: _DISCOVERY_REQUESTS - asked]
        asked += len(level)
        found = sorted({name for names in mapped(folders, level) for name in names})
        # Those that have been passed tell how large a folder is.
        passed = sum(name <= last for name in found)
        step = max(1, round(_PAGES_IN_RANGE * passed / pages))
        points.update(found[passed + step - 1 :: step])
        # The folder that is being read is among those that seem to be passed.
        level = [name for name in found if name > last or last.startswith(name)]
    return sorted(points)

"""A listing in ranges that are fetched side by side and read one after the other.

What is read is always what a listing page by page would have shown: one chain of pages, each of
which the server says goes on where the one before ended. A range fetched ahead is a guess at a
later piece of that chain, and is joined to it only on proof: the range before it ended exactly on
its last key, or its last page shows, behind the end of the range, the very key with which the next
range begins. Between the two pages there is then nothing, in whatever order the server lists. A
range that does not fit (somebody wrote or deleted there, or the server has another order) is
dropped, and the one before goes on in its place. So nothing that has been read is ever taken back.

The proof takes it that StartAfter begins behind its key in the server's own order. A server that
shows keys in another order than that of their bytes is therefore listed on in one range, from the
moment on which it shows, and not in ranges again.

A class of values and decisions: no threads, no requests, no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from dagster_s3inc.core.page import Page
from dagster_s3inc.s3.cuts import cut_beyond
from dagster_s3inc.s3.source import Answer

__all__ = ["Range", "Ranges"]

# Pages that wait to be read, or are on the way, at most. Each takes about 0.4 MB.
_AHEAD = 256
_NEAR = 8

# Each guessed cut costs about half a request more than one lane. So many may be made at once, and
# then one for so many pages.
_CUTS = 32
_PAGES_FOR_A_CUT = 6

# A range that did not fit has been fetched for nothing.
_MISFITS = 8


@dataclass(slots=True, eq=False)
class Range:
    """The keys behind `start` up to `end` itself.

    Attributes:
        start: None means from the beginning.
        end: None means to the end of the listing.
        patience: So many pages are expected; with more, the range is worth a cut.
        tried: See `cut_beyond`.
        token: What to go on by; None as long as nothing has come.
        ends: The first and the last key of the last page.
        first: The first key that came, be it behind the end.
        answers: What has come and has not been read.
        busy: A page is on the way.
        more: The server has not said that the listing ends here.
        dropped: It does not belong to the listing any more.
    """

    start: str | None
    end: str | None
    patience: int = 1
    tried: int | None = None
    token: str | None = None
    ends: tuple[str, str] | None = None
    first: str | None = None
    answers: deque[Answer] = field(default_factory=deque)
    busy: bool = False
    more: bool = True
    dropped: bool = False

    @property
    def over(self) -> bool:
        """There is no page to fetch any more."""
        passed = self.ends is not None and self.end is not None and self.ends[1] >= self.end
        return passed or not self.more


class Ranges:
    """All ranges from where the listing is being read to its end, in key order.

    Args:
        after: Where the listing begins; None means at the beginning.
        prefix: What all keys begin with.
    """

    def __init__(self, after: str | None, prefix: str) -> None:
        self._ranges = [Range(after, None)]
        self._coarsest = len(prefix) + 1
        self._ahead = 0
        self._fetched = 0
        self._guessed = 0
        self._misfits = 0
        self._may_guess = False
        self.in_key_order = True
        """Nothing that has come was in another order than that of the keys' bytes."""

    @property
    def is_over(self) -> bool:
        """All has been read."""
        return not self._ranges

    def cut(self, keys: Iterable[str], *, pages: int) -> None:
        """Cuts at these keys, and from now on also where the ranges turn out to be long.

        To be called while there is only one range.

        Args:
            keys: In order; those that have been passed are not heeded.
            pages: How many pages are expected from one key to the next.
        """
        if not self.in_key_order or not self._ranges:
            return
        self._may_guess = True
        [whole] = self._ranges
        at = whole.ends[1] if whole.ends else whole.start
        cuts = [key for key in keys if at is None or key > at]
        if whole.over or not cuts:
            return
        whole.end = cuts[0]
        whole.patience = 2 * pages + 2
        bounds: list[str | None] = [*cuts, None]
        for start, end in pairwise(bounds):
            self._ranges.append(Range(start, end, patience=whole.patience))

    def take(self) -> Range | None:
        """The range whose next page is to be fetched now; None if there is none for the moment.

        The earliest come first, so that little has to wait for its turn.
        """
        room, is_first = self._room(), True
        for at, each in enumerate(self._ranges):
            if each.over:
                continue
            if room <= 0 and not is_first:
                return None
            room, is_first = room - 1, False
            chosen = each if not each.busy else self._guess(at, each)
            if chosen is not None:
                chosen.busy = True
                self._ahead += 1
                return chosen
        return None

    def put(self, range_: Range, answer: Answer) -> None:
        """Takes the page that was fetched for a range."""
        range_.busy = False
        self._fetched += 1
        ends = answer.page.ends
        if ends is not None:
            before = range_.ends[1] if range_.ends else range_.start
            if not answer.page.is_in_key_order or (before is not None and ends[0] <= before):
                self.in_key_order = False
                self._go_on_alone()
            if range_.first is None:
                range_.first = ends[0]
            range_.ends = ends
        if range_.dropped:
            self._ahead -= 1
            return
        range_.token, range_.more = answer.token, answer.token is not None
        range_.answers.append(answer)
        range_.patience -= 1
        if range_.over and range_.more and self._is_small(range_):
            self._coarsen(range_)

    def pop(self) -> Page | None:
        """The next page that can be read; None if it has not come."""
        while self._ranges:
            head = self._ranges[0]
            if not head.answers:
                return None
            page, token = head.answers[0][:2]
            ends = page.ends
            if ends is None or head.end is None or ends[1] <= head.end:
                self._shift(head)
                if token is None:
                    self._drop(self._ranges[:])
                elif ends is not None and ends[1] == head.end:
                    self._drop([head])
                return page
            following = self._ranges[1]
            if following.first is None and not following.over:
                return None
            if _first_beyond(page, head.end) != following.first:
                self._join(head, following)
                continue
            self._shift(head)
            self._drop([head])
            if ends[0] <= head.end:
                return page.up_to(head.end)
        return None

    def _room(self) -> int:
        """So many ranges may be fetched, of those that are not over.

        With little room left, only the earliest: what is far ahead waits longest to be read.
        """
        left = _AHEAD - self._ahead
        return left if left > _NEAR * 4 else min(left, _NEAR)

    def _is_small(self, range_: Range) -> bool:
        """Whether its page reaches behind the next range as well."""
        following = self._ranges[self._ranges.index(range_) + 1]
        return (
            following.end is not None
            and range_.ends is not None
            and (range_.ends[1] > following.end)
        )

    def _coarsen(self, range_: Range) -> None:
        """Joins two ranges that have not begun, since such ranges turn out to be very small."""
        at = self._ranges.index(range_) + 1
        for one, next_ in pairwise(self._ranges[at:]):
            if not (one.busy or one.ends or next_.busy or next_.ends):
                one.end = next_.end
                self._drop([next_])
                return

    def _guess(self, at: int, range_: Range) -> Range | None:
        """A new range, of the later part of a long one."""
        allowed = min(self._fetched // 2, _CUTS + self._fetched // _PAGES_FOR_A_CUT)
        may = self._may_guess and self._guessed < allowed and range_.patience <= 0
        if not may or range_.ends is None:
            return None
        first, last = range_.ends
        cut = cut_beyond(
            first,
            last,
            range_.end,
            coarsest=self._coarsest,
            tried=range_.tried,
            fine=self._ahead > _AHEAD - _NEAR * 4,
        )
        # Once for each page.
        range_.patience = 1
        if cut is None:
            return None
        self._guessed += 1
        new = Range(cut.key, range_.end, tried=cut.depth)
        range_.end = cut.key
        self._ranges.insert(at + 1, new)
        return new

    def _join(self, range_: Range, following: Range) -> None:
        """Lets a range go on in place of the one that does not fit."""
        self._misfits += 1
        if self._misfits > _MISFITS:
            self._go_on_alone()
            return
        range_.end = following.end
        self._drop([following])

    def _go_on_alone(self) -> None:
        """Lets the range that is being read go on to the end of the listing."""
        self._may_guess = False
        if self._ranges:
            self._ranges[0].end = None
            self._drop(self._ranges[1:])

    def _drop(self, ranges: list[Range]) -> None:
        for each in ranges:
            each.dropped = True
            self._ahead -= len(each.answers)
            each.answers.clear()
            self._ranges.remove(each)

    def _shift(self, range_: Range) -> None:
        range_.answers.popleft()
        self._ahead -= 1


def _first_beyond(page: Page, end: str) -> str:
    return page.key_at(bisect_right(range(len(page)), end, key=page.key_at))
